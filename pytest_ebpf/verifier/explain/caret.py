"""The part of a source line that an instruction came from, to be underlined as rustc does."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from pytest_ebpf.verifier.log.values import LineInfoLike, SourceLine

__all__ = ["Span", "span_of"]

# A name with its members and indices, a number, or an operator.
_PART = re.compile(r"[A-Za-z_]\w*(?:->\w+|\.\w+|\[\w*\])*|\d\w*|[^\w\s]+")


class Span(NamedTuple):
    """Columns ``start`` (from 0) to ``end`` of ``SourceLine.text``."""

    start: int
    end: int


def span_of(source: SourceLine, *, insn: int, line_info: Sequence[LineInfoLike]) -> Span:
    """What of ``source`` instruction ``insn`` is of, by the column of its line info; the whole line where that is not
    known. ``line_info``: sorted by instruction; a row's ``col`` counts from 1, in the line with its indentation."""
    whole = Span(0, len(source.text))
    index = bisect_right(line_info, insn, key=lambda row: row.insn)
    row = line_info[index - 1] if index else None
    column = getattr(row, "col", 0)
    if row is None or not column or row.text.strip() != source.text:
        return whole
    at = column - 1 - (len(row.text) - len(row.text.lstrip()))
    return next((Span(*part.span()) for part in _PART.finditer(source.text) if part.start() <= at < part.end()), whole)
