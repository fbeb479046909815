"""Coverage beside that of cilium's coverbee: the same objects, the same packets, line by line, on this machine.

    git clone https://github.com/cilium/coverbee DIR && .venv/bin/python ci/compare_coverbee.py DIR

Needs go. Builds ci/coverbee/main.go inside the checkout. Exits with 1 when a line differs, or when more programs that
load plain do not load with our counters than with coverbee's.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pytest_ebpf import Bpf, open_kernel
from pytest_ebpf.errors import EbpfError
from support.instrumented import CORPUS, packets

CI = Path(__file__).parent
SHORTEST = 60


def theirs(checkout: Path, paths: list[str], data: list[bytes]) -> dict[str, dict[str, Any]]:
    """Object -> what coverbee says."""
    place = checkout / "cmd" / "compare"
    place.mkdir(exist_ok=True)
    shutil.copy(CI / "coverbee" / "main.go", place)
    with tempfile.TemporaryDirectory() as folder:
        program, sent = Path(folder) / "compare", Path(folder) / "packets"
        sent.write_text("\n".join(packet.hex() for packet in data))
        subprocess.run(["go", "build", "-o", program, "./cmd/compare"], cwd=checkout, check=True)
        done = subprocess.run([program, sent, *paths], check=True, capture_output=True, text=True)
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def ours(bpf: Bpf, path: str, *, only: str, data: list[bytes]) -> dict[str, int] | None:
    """Line -> hits of one program; None when it does not load with counters."""
    obj = bpf.load(path, only=only)
    with obj:
        counting = obj.instruments.count()
        if obj.instruments.notes:
            return None
        for packet in data:
            try:
                obj[only].run(packet)
            except EbpfError:
                return {}
        rows = (row for found in counting.read() for row in found.counted.lines)
        return {f"{only}:{row.file.rpartition('/')[2]}:{row.line}": row.hits or 0 for row in rows}


def compared(bpf: Bpf, path: str, *, said: dict[str, Any], data: list[bytes]) -> Iterator[tuple[str, int, int]]:
    """(line, our hits, theirs), with -1 for a program that does not load with our counters."""
    for name in sorted(said["plain"] or ()):
        try:
            lines = ours(bpf, path, only=name, data=data)
        except EbpfError:
            continue  # what only they load: other options
        if lines is None:
            yield name, -1, 0
            continue
        yield from ((line, hits, said["lines"][line]) for line, hits in lines.items() if line in said["lines"])


def main() -> int:
    warnings.simplefilter("ignore")
    data = [packet.ljust(SHORTEST, b"\0") for packet in packets(40)]
    files = (str(path) for directory in CORPUS for path in directory.rglob("*.o"))
    paths = sorted(path for path in files if not path.endswith(".bpfeb.o"))  # those are for other kernels
    said = theirs(Path(sys.argv[1]), paths, data)
    plain, loaded = (sum(len(row[part] or ()) for row in said.values()) for part in ("plain", "instrumented"))
    with open_kernel("host") as bpf:
        rows = {path: list(compared(bpf, path, said=said[path], data=data)) for path in paths}
    lines = [row for found in rows.values() for row in found if row[1] >= 0]
    wrong = [(path, row) for path, found in rows.items() for row in found if row[1] != row[2]]
    objects = sum(any(row[1] >= 0 for row in found) for found in rows.values())
    refused = sum(row[1] < 0 for found in rows.values() for row in found)
    print(f"coverbee loads {loaded} of {plain} programs with counters; {refused} do not load with ours")
    print(f"{len(lines)} lines of {objects} objects: {len(wrong)} differ", *wrong, sep="\n  ")
    return int(bool(wrong) or refused > plain - loaded)


if __name__ == "__main__":
    sys.exit(main())
