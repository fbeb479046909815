"""Line info of a function: which source line an instruction comes from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from pytest_ebpf.obj.object import LineInfo

__all__ = ["line_at"]


def line_at(lines: Sequence[LineInfo], insn: int) -> LineInfo | None:
    """The row that covers slot ``insn``: the last one that begins at or before it. ``lines`` are sorted."""
    index = bisect_right(lines, insn, key=lambda row: row.insn)
    return lines[index - 1] if index else None
