"""A plugin of coverage.py that claims the sources of BPF programs, which ``--bpf-cov`` measured.

``[tool.coverage.run] plugins = ["pytest_ebpf.coverage_plugin"]``. Without it coverage.py takes every file for Python.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coverage import CoveragePlugin, FileReporter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coverage.plugin_support import Plugins
    from coverage.types import TArc, TLineNo

__all__ = ["LINES_FILE", "PLUGIN", "BpfFiles", "BpfSource", "coverage_init"]

LINES_FILE = ".bpf-coverage.json"  # beside the data file: which lines of each source can run
PLUGIN = "pytest_ebpf.coverage_plugin.BpfFiles"  # as coverage.py calls it


class BpfFiles(CoveragePlugin):
    """Reports on files whose lines ``LINES_FILE`` has."""

    def file_reporter(self, filename: str) -> BpfSource:
        """What coverage.py asks about one file."""
        return BpfSource(filename)


class BpfSource(FileReporter):
    """One source of BPF programs."""

    def __init__(self, filename: str) -> None:
        super().__init__(filename)
        self._known = _known(filename)

    def lines(self) -> set[int]:
        """Lines that can run, those that the verifier removed everywhere left out."""
        return set(self._known.get("lines", ()))

    def arcs(self) -> set[tuple[int, int]]:
        """An arc into each line; out of one with branches -1 (some way was taken) and -2 (all were)."""
        found = {(-line, line) for line in self.lines()}
        return found | {(line, way) for line in self._known.get("branches", ()) for way in (-1, -2)}

    def exit_counts(self) -> dict[int, int]:
        """Line -> how many arcs lead out of it."""
        return dict.fromkeys(self._known.get("branches", ()), 2)

    def missing_arc_description(self, start: TLineNo, end: TLineNo, executed_arcs: Iterable[TArc] | None = None) -> str:
        """What coverage.py says of a line whose branches were not all taken."""
        return f"line {start}: not all ways of its branches were taken"


def _known(filename: str) -> dict[str, list[int]]:
    for directory in (Path.cwd(), *Path(filename).parents):
        kept = directory / LINES_FILE
        if kept.is_file():
            found: dict[str, dict[str, list[int]]] = json.loads(kept.read_text())
            if filename in found:
                return found[filename]
    return {}


def coverage_init(reg: Plugins, options: dict[str, Any]) -> None:
    """What coverage.py calls."""
    reg.add_file_tracer(BpfFiles())
