"""Results of comparisons in a file, one a line: a run that is cut loses nothing, and the next one goes on behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compare import Comparison, Program
from ours import Ours, Verdict

__all__ = ["Kept", "open_kept"]


class Kept:
    """Comparisons by kernel spec and path of the object; the newest line of an object counts."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._found: dict[tuple[str, str], Comparison] = {}
        self._releases: dict[str, str] = {}

    def get(self, spec: str, path: Path) -> Comparison | None:
        """What is known of an object on a kernel."""
        return self._found.get((spec, str(path)))

    def put(self, spec: str, path: Path, comparison: Comparison) -> None:
        """Keep a result, on the disk too."""
        self._found[spec, str(path)] = comparison
        self._append({"kernel": spec, "path": str(path), "comparison": asdict(comparison)})

    def release(self, spec: str, *, find: Callable[[], str]) -> str:
        """The release of a kernel; ``find`` is asked when no run has noted it yet."""
        if spec not in self._releases:
            self._releases[spec] = find()
            self._append({"kernel": spec, "release": self._releases[spec]})
        return self._releases[spec]

    def read(self, line: str) -> None:
        """Take a line of the file in; half a line, at which a run was cut, is nothing."""
        try:
            row = json.loads(line)
        except ValueError:
            return
        if "release" in row:
            self._releases[row["kernel"]] = row["release"]
        else:
            self._found[row["kernel"], row["path"]] = _comparison(row["comparison"])

    def _append(self, row: dict[str, Any]) -> None:
        if self._file is not None:
            with self._file.open("a") as file:
                file.write("\n" if _is_cut(self._file) else "")
                print(json.dumps(row, default=str), file=file, flush=True)


def open_kept(file: Path | None) -> Kept:
    """What a file has, if there is one. None: nothing is kept beyond this run."""
    kept = Kept(file)
    if file is not None and file.exists():
        for line in file.read_text().splitlines():
            kept.read(line)
    return kept


def _is_cut(file: Path) -> bool:
    """Whether the last line has no end."""
    with file.open("rb") as opened:
        size = opened.seek(0, 2)
        if not size:
            return False
        opened.seek(size - 1)
        return opened.read() != b"\n"


def _comparison(row: dict[str, Any]) -> Comparison:
    ours = row.pop("ours")
    programs = [Program(**{**program, "ours": _verdict(program["ours"])}) for program in row.pop("programs")]
    verdicts = tuple(map(_verdict, ours.pop("programs")))
    return Comparison(ours=Ours(Path(ours.pop("path")), verdicts, **ours), programs=tuple(programs), **row)


def _verdict(row: dict[str, Any]) -> Verdict:
    type_ = row.pop("type")
    return Verdict(**row, type=tuple(type_) if type_ else None)
