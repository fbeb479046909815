"""Figures per program as veristat, the kernel's own tool, writes them: columns, CSV in and out, two runs compared.

The columns and their names are those of veristat 6.12 and of 6.14, which added sizes, stack and types
(tools/testing/selftests/bpf/veristat.c: stat_defs). Ours come after them. A row maps column ids to text or numbers;
what is not known is missing and is written as 0, as veristat does.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.suggest import did_you_mean

__all__ = [
    "COLUMNS",
    "CSV_COLUMNS",
    "TABLE_COLUMNS",
    "Column",
    "Joined",
    "Row",
    "Value",
    "change_of",
    "costliest",
    "find_column",
    "join_rows",
    "key_of",
    "parse_csv",
    "render_csv",
    "shown",
]

Value: TypeAlias = "str | int"
Row: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Column:
    """``id`` is its name in CSV, ``names`` what else a user may type. ``text``: words, aligned to the left.
    ``ours``: veristat does not know it."""

    id: str
    header: str
    names: tuple[str, ...] = ()
    text: bool = False
    ours: bool = False


COLUMNS: tuple[Column, ...] = (
    Column("file_name", "File", ("filename", "file"), text=True),
    Column("prog_name", "Program", ("progname", "prog", "program"), text=True),
    Column("verdict", "Verdict", text=True),
    Column("duration", "Duration (us)", ("dur",)),
    Column("total_insns", "Insns", ("insns",)),
    Column("total_states", "States", ("states",)),
    Column("peak_states", "Peak states"),
    Column("max_states_per_insn", "Max states per insn"),
    Column("max_mark_read_len", "Max mark read length", ("mark_read",)),
    Column("prog_size", "Program size"),
    Column("prog_size_jited", "Jited size", ("jited",)),
    Column("stack_depth", "Stack depth", ("stack",)),
    Column("prog_type", "Program type", ("type",), text=True),
    Column("attach_type", "Attach type", text=True),
    Column("kernel", "Kernel", text=True, ours=True),
    Column("section", "Section", text=True, ours=True),
    Column("errno", "Errno", text=True, ours=True),
    Column("class", "Class", text=True, ours=True),
    Column("kind", "Kind", text=True, ours=True),
    Column("config", "Globals", ("globals",), text=True, ours=True),
    Column("message", "Message", ("error",), text=True, ours=True),
    Column("source", "Source line", ("line",), text=True, ours=True),
)
TABLE_COLUMNS = ("file_name", "prog_name", "verdict", "duration", "total_insns", "total_states", "peak_states")
CSV_COLUMNS = (*TABLE_COLUMNS, "max_states_per_insn", "max_mark_read_len")
_BY_NAME: Mapping[str, Column] = {name: column for column in COLUMNS for name in (column.id, *column.names)}
_VERDICTS = ("success", "failure", "error")


def find_column(name: str) -> Column:
    """The column that ``name`` stands for. ``BpfUsageError`` names the nearest, and all."""
    found = _BY_NAME.get(name.strip())
    if found is None:
        hint = did_you_mean(name, _BY_NAME, most=1, otherwise="")
        raise BpfUsageError(f"no column {name!r}", hint=f"{hint} Columns: {', '.join(c.id for c in COLUMNS)}.".strip())
    return found


def parse_csv(text: str, *, name: str) -> list[Row]:
    """The rows of a file that veristat or we wrote. ``BpfUsageError`` (file, line) for anything else."""
    lines = list(csv.reader(io.StringIO(text)))
    if not lines or not lines[0]:
        raise BpfUsageError(f"{name}: empty: expected the CSV of veristat, whose first line names the columns")
    try:
        columns = [find_column(field) for field in lines[0]]
    except BpfUsageError as error:
        raise BpfUsageError(f"{name}:1: {error.message}", hint=error.hint) from None
    rows: list[Row] = []
    for number, fields in enumerate(lines[1:], 2):
        if fields:
            rows.append(_row(fields, columns, where=f"{name}:{number}"))
    return rows


def _row(fields: Sequence[str], columns: Sequence[Column], *, where: str) -> Row:
    if len(fields) != len(columns):
        raise BpfUsageError(f"{where}: {len(fields)} fields, and the first line names {len(columns)} columns")
    row: dict[str, Value] = {}
    for field, column in zip(fields, columns, strict=True):
        row[column.id] = field if column.text else _number(field, column, where=where)
    if not row.get("file_name") or not row.get("prog_name"):
        raise BpfUsageError(f"{where}: no file or program is named")
    if row.get("verdict", "success") not in _VERDICTS:
        raise BpfUsageError(f"{where}: verdict {row['verdict']!r} is none of {', '.join(_VERDICTS)}")
    return row


def _number(field: str, column: Column, *, where: str) -> int:
    try:
        return int(field)
    except ValueError:
        raise BpfUsageError(f"{where}: {column.id} {field!r} is no whole number") from None


def render_csv(rows: Iterable[Row], *, columns: Sequence[str] = CSV_COLUMNS) -> str:
    """``rows`` as CSV with a line of names. With the default columns every veristat reads it: to veristat a program
    that did not load is a failure whatever the reason, so with these columns "error" is written "failure"."""
    plain = not any(find_column(name).ours for name in columns)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = {**row, "verdict": "failure"} if plain and row.get("verdict") == "error" else row
        writer.writerow([shown(values, name) for name in columns])
    return out.getvalue()


def shown(row: Row, column: str) -> str:
    """A value as text: what is not known is 0, or nothing where words stand."""
    value = row.get(column)
    if value is None:
        return "" if _BY_NAME[column].text else "0"
    return str(value)


def key_of(row: Row) -> tuple[str, str]:
    """What is the same program in two runs: veristat's key, file and program."""
    return str(row["file_name"]), str(row["prog_name"])


def costliest(rows: Iterable[Row]) -> list[Row]:
    """One row per program, sorted by file and program. Of a program that was loaded several times (with other values
    of its globals) the load that cost most; a failure only if it never loaded."""
    best: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = key_of(row)
        if key not in best or _rank(row) > _rank(best[key]):
            best[key] = row
    return [best[key] for key in sorted(best)]


def _rank(row: Row) -> tuple[bool, int]:
    insns = row.get("total_insns")
    return row.get("verdict") == "success", insns if isinstance(insns, int) else -1


@dataclass(frozen=True, slots=True)
class Joined:
    """A program in two runs; None where a run did not have it."""

    file: str
    program: str
    base: Row | None
    new: Row | None

    def differs(self, columns: Sequence[str]) -> bool:
        """Whether the runs differ in one of ``columns``, or one lacks the program."""
        if self.base is None or self.new is None:
            return True
        return any(shown(self.base, name) != shown(self.new, name) for name in columns)


def join_rows(base: Iterable[Row], new: Iterable[Row]) -> list[Joined]:
    """Two runs side by side, by file and program. A program twice in one run counts as in ``costliest``."""
    left = {key_of(row): row for row in costliest(base)}
    right = {key_of(row): row for row in costliest(new)}
    return [Joined(*key, left.get(key), right.get(key)) for key in sorted({*left, *right})]


def change_of(joined: Joined, column: str) -> str:
    """The DIFF of veristat's comparison: ``+6 (+1.50%)``, MATCH, MISMATCH, N/A."""
    if joined.base is None or joined.new is None:
        return "N/A"
    if _BY_NAME[column].text:
        return "MATCH" if shown(joined.base, column) == shown(joined.new, column) else "MISMATCH"
    before, after = (int(shown(row, column)) for row in (joined.base, joined.new))
    if before:
        percent = (after - before) * 100 / before
    else:
        percent = 0.0 if after == before else 100.0 if after > before else -100.0
    return f"{after - before:+d} ({percent:+.2f}%)"
