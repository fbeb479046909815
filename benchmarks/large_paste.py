"""A text of 100 MB with 30 rejections among 30,000 accepted programs: are all reported, how fast, in how much memory?

    python benchmarks/large_paste.py [--programs 30000] [--rejected 30] [--wrap libbpf|plain|veristat|journal]

The programs' logs are those of tests/data. The targets are 3 seconds of CPU and 120 MB of the process ``pytest-ebpf log
explain --json``; the exit code is 1 when one is missed or a rejection is not reported. Needs no root and no kernel.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.large_paste import WRAPS, large_text  # noqa: E402

# The peak of the process itself: what wait4() reports counts the memory of the process that started it.
RUN = """
import atexit, sys
atexit.register(lambda: sys.stderr.write(next(x for x in open("/proc/self/status") if x.startswith("VmHWM"))))
from pytest_ebpf.cli import main; main()
"""
SECONDS = 3.0
MEGABYTES = 120.0


def explain(path: str) -> tuple[list[dict[str, object]], float, float]:
    """The rows, the seconds and the megabytes of one run."""
    command = [sys.executable, "-c", RUN, "log", "explain", "--json", path]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile("w+") as facts:
        process = subprocess.Popen(command, stdout=out, stderr=facts, env=os.environ | {"PYTHONPATH": str(ROOT)})
        _, _, usage = os.wait4(process.pid, 0)
        out.seek(0)
        facts.seek(0)
        return json.load(out), usage.ru_utime + usage.ru_stime, int(facts.read().split()[-2]) / 1024


def main() -> None:
    """Print one line; exit with 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=30_000)
    parser.add_argument("--rejected", type=int, default=30)
    parser.add_argument("--wrap", choices=sorted(WRAPS), default="libbpf")
    options = parser.parse_args()
    text, names = large_text(WRAPS[options.wrap], programs=options.programs, rejected=options.rejected)
    with tempfile.NamedTemporaryFile("w", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        rows, seconds, megabytes = explain(file.name)
    found = [row["program"] for row in rows if row["verdict"] == "rejected"]
    right = len(found) == len(names) if options.wrap == "plain" else found == names
    print(f"{len(text) / 1e6:.0f} MB, {len(rows)} programs, {len(found)} of {len(names)} rejections: "
          f"{seconds:.1f} s, {megabytes:.0f} MB")  # fmt: skip
    sys.exit(not right or seconds > SECONDS or megabytes > MEGABYTES)


if __name__ == "__main__":
    main()
