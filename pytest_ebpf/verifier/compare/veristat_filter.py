"""veristat's small language: what to emit (``insns,states``), how to sort (``insns_``), and what to show
(``*.bpf.o/xdp_*``, ``!test_*``, ``insns>1000``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.verifier.compare.veristat_csv import Row, find_column

__all__ = ["Filter", "SortKey", "keep_rows", "parse_emit", "parse_filter", "parse_sort", "sort_rows"]

_EXPRESSION = re.compile(r"([^<>=!]+?)\s*(==|=|!=|<>|>=|<=|>|<)\s*(.*)")
_UP, _DOWN = "^", "vV.!_"
_FAR = float("-inf")
# All names for the result of a load, veristat's and ours.
_VERDICTS = {
    **dict.fromkeys(("success", "succ", "s", "true", "t", "accepted"), "success"),
    **dict.fromkeys(("failure", "fail", "f", "false", "rejected"), "failure"),
    "error": "error",
}


@dataclass(frozen=True, slots=True)
class SortKey:
    """Sort by the column ``column``; ``absolute``: by its size without the sign."""

    column: str
    ascending: bool
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """``deny``: what fits is left out. Either ``column`` is compared with ``value``, or names are: ``file`` and
    ``program`` are globs, and where ``either`` is set it is enough that one of the names fits it."""

    deny: bool
    column: str = ""
    operator: str = ""
    value: str = ""
    file: str = "*"
    program: str = "*"
    either: str = ""

    def fits(self, row: Row) -> bool:
        """Whether a row is meant."""
        if self.column:
            return _compared(row, self)
        file, program = str(row["file_name"]), str(row["prog_name"])
        if self.either:
            return fnmatchcase(file, self.either) or fnmatchcase(program, self.either)
        return fnmatchcase(file, self.file) and fnmatchcase(program, self.program)


def parse_emit(text: str) -> tuple[str, ...]:
    """``insns,states`` -> ids of columns."""
    return tuple(find_column(name).id for name in text.split(",") if name.strip())


def parse_sort(text: str) -> tuple[SortKey, ...]:
    """``file,insns_``: names sort upwards and numbers downwards unless ``^`` (up) or one of ``v . ! _`` (down) follows.
    ``|insns|``: without the sign."""
    keys = []
    for part in (part.strip() for part in text.split(",")):
        if part:
            keys.append(_sort_key(part))
    return tuple(keys)


def _sort_key(part: str) -> SortKey:
    mark = part[-1] if len(part) > 1 and part[-1] in _UP + _DOWN else ""
    name = part.removesuffix(mark) if mark else part
    absolute = len(name) > 2 and name[0] == name[-1] == "|"
    column = find_column(name.strip("|") if absolute else name)
    return SortKey(column.id, mark == _UP if mark else column.text, absolute)


def parse_filter(text: str) -> Filter:
    """A glob of names, or an expression; with ``!`` before it, what not to show. ``BpfUsageError`` when it is
    neither."""
    deny, body = text.startswith("!"), text.removeprefix("!").strip()
    found = _EXPRESSION.fullmatch(body)
    if found:
        return _expression(found, deny=deny)
    if not body:
        raise BpfUsageError(f"filter {text!r} is empty", hint="Write a glob ('xdp_*', 'x.bpf.o/*') or 'insns>1000'.")
    file, slash, program = body.partition("/")
    if slash:
        return Filter(deny, file=file or "*", program=program or "*")
    return Filter(deny, either=body)


def _expression(found: re.Match[str], *, deny: bool) -> Filter:
    name, operator, value = found.groups()
    column = find_column(name)
    operator = {"==": "=", "<>": "!="}.get(operator, operator)
    shown = f"{name}{operator}{value}"
    if column.id == "verdict":
        if value not in _VERDICTS:
            raise BpfUsageError(
                f"filter {shown!r}: expected a verdict, got {value!r}", hint="Verdicts: success, failure, error."
            )
        value = _VERDICTS[value]
    elif not column.text:
        try:
            float(value)
        except ValueError:
            raise BpfUsageError(f"filter {shown!r}: {column.id} is compared with a number") from None
    if column.text and operator not in ("=", "!="):
        raise BpfUsageError(f"filter {shown!r}: {column.id} is text, compared with = or !=")
    return Filter(deny, column.id, operator, value)


def _compared(row: Row, wanted: Filter) -> bool:
    value = row.get(wanted.column)
    if find_column(wanted.column).text:
        return fnmatchcase(str(value or ""), wanted.value) == (wanted.operator == "=")
    number, limit = float(value or 0), float(wanted.value)
    return {
        "=": number == limit,
        "!=": number != limit,
        "<": number < limit,
        "<=": number <= limit,
        ">": number > limit,
        ">=": number >= limit,
    }[wanted.operator]


def keep_rows(rows: Iterable[Row], filters: Sequence[Filter]) -> list[Row]:
    """The rows that no ``!`` filter names and, as in veristat, one of the globs and one of the expressions, if any."""
    denied = [each for each in filters if each.deny]
    named = [each for each in filters if not each.deny and not each.column]
    asked = [each for each in filters if not each.deny and each.column]
    return [
        row
        for row in rows
        if not any(each.fits(row) for each in denied)
        and (not named or any(each.fits(row) for each in named))
        and (not asked or any(each.fits(row) for each in asked))
    ]


def sort_rows(rows: Iterable[Row], keys: Sequence[SortKey]) -> list[Row]:
    """Sorted by ``keys``, the first counting most; equal rows keep their order."""
    ordered = list(rows)
    for key in reversed(keys):
        ordered.sort(key=lambda row, key=key: _sortable(row, key), reverse=not key.ascending)  # type: ignore[misc]
    return ordered


def _sortable(row: Row, key: SortKey) -> tuple[float, str]:
    value = row.get(key.column)
    if isinstance(value, int):
        return float(abs(value) if key.absolute else value), ""
    return (_FAR if value is None else 0.0), str(value or "")
