"""The matrix as text: one row per test, one column per kernel.

Rendering is pure: the result is lines of (text, style) pieces for the caller to print. Each verdict has its own sign,
so the output is complete without colours.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import TypeAlias

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.outcome import Outcome
from pytest_ebpf.report.fold import differing, fold
from pytest_ebpf.report.headline import advice_of
from pytest_ebpf.report.record import EVERY_KERNEL, KernelRecord, RunRecord, merge_kernels, merge_records, most_insns

__all__ = ["ASCII", "Glyphs", "Line", "Piece", "UNICODE", "render_matrix"]

Piece: TypeAlias = tuple[str, str]
Line: TypeAlias = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The signs of the verdicts, for terminals with and without Unicode."""

    passed: str
    failed: str
    error: str
    skipped: str
    xfailed: str
    xpassed: str
    flaky: str
    quarantined: str
    absent: str
    cut: str


UNICODE = Glyphs("✓", "✗", "E", "s", "x", "X", "f", "q", "-", "…")
ASCII = Glyphs(".", "F", "E", "s", "x", "X", "f", "q", "-", "~")

_STYLES: Mapping[str, str] = MappingProxyType(
    {
        "passed": "green",
        "failed": "red",
        "error": "red",
        "skipped": "yellow",
        "xfailed": "yellow",
        "xpassed": "yellow",
        "flaky": "yellow",
        "quarantined": "yellow",
        "absent": "dim",
    }
)
_MIN_NAME = 24
_EXPLAINED = ("failed", "error", "xfailed", "xpassed", "flaky", "quarantined")
_INDENT = "  "


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    style: str


def render_matrix(
    records: Sequence[RunRecord],
    *,
    kernels: Sequence[str],
    width: int = 80,
    glyphs: Glyphs = UNICODE,
    most_rows: int = sys.maxsize,
) -> list[Line]:
    """The matrix, the legend of its signs, skip reasons and one line per kernel.

    ``kernels`` gives the columns in order (ids that no record names still get one); ``width`` in characters. With more
    tests than ``most_rows``, those with the same result on all kernels are one row per file (``report.fold``).
    """
    merged = merge_records(records)
    if not merged:
        return []
    named = (record["kernel"] for record in merged if record["kernel"] != EVERY_KERNEL)
    columns = list(dict.fromkeys((*kernels, *named))) or ["no kernel"]
    letters = _skip_letters(merged)
    shown = fold(merged, kernels=columns, most_rows=most_rows)
    cells = {(r["test"], r["kernel"]): _cell(r, glyphs=glyphs, letters=letters) for r in shown}
    marked = differing(merged, kernels=columns)
    lines: list[Line] = []
    for band in _bands(columns, cells=cells, width=width):
        lines += _table(shown, cells=cells, band=band, width=width, glyphs=glyphs, marked=marked)
        lines.append(())
    if len(shown) < len(merged):
        lines.append((("-v shows every test", "dim"),))
    lines += _legend(merged, glyphs=glyphs)
    lines += [((f"s {letter}  ", "yellow"), (reason, "")) for reason, letter in letters.items()]
    lines += _excused(merged, glyphs=glyphs, width=width)
    lines.append(())
    lines += _kernel_lines(merged, columns=columns, machines=merge_kernels(records), glyphs=glyphs)
    return lines


def _cell(record: RunRecord, *, glyphs: Glyphs, letters: Mapping[str, str]) -> _Cell:
    outcome = record["outcome"]
    sign: str = getattr(glyphs, outcome)
    insns = most_insns(record)
    if outcome == "skipped":
        sign += f" {letters[record['reason']]}" if record["reason"] in letters else ""
    elif insns is not None:
        sign += f" {insns}"
    return _Cell(sign, _STYLES[outcome])


def _skip_letters(records: Sequence[RunRecord]) -> dict[str, str]:
    """Skip reason -> a, b, ... z, aa, ab, ..."""
    reasons = dict.fromkeys(r["reason"] for r in records if r["outcome"] == "skipped")
    return {reason: _letter(number) for number, reason in enumerate(reasons)}


def _letter(number: int) -> str:
    head, tail = divmod(number, 26)
    return (_letter(head - 1) if head else "") + chr(ord("a") + tail)


def _column_width(column: str, cells: Mapping[tuple[str, str], _Cell]) -> int:
    texts = (cell.text for (_, kernel), cell in cells.items() if kernel in (column, EVERY_KERNEL))
    return max(map(len, chain((column,), texts)))


def _bands(
    columns: Sequence[str], *, cells: Mapping[tuple[str, str], _Cell], width: int
) -> list[list[tuple[str, int]]]:
    """Columns with their widths, split into several tables where one would be too wide for names to stay readable."""
    bands: list[list[tuple[str, int]]] = [[]]
    room = width - _MIN_NAME
    for column in columns:
        size = _column_width(column, cells)
        used = sum(other + 2 for _, other in bands[-1])
        if bands[-1] and used + size + 2 > room:
            bands.append([])
        bands[-1].append((column, size))
    return bands


def _table(
    records: Sequence[RunRecord],
    *,
    cells: Mapping[tuple[str, str], _Cell],
    band: Sequence[tuple[str, int]],
    width: int,
    glyphs: Glyphs,
    marked: Collection[str],
) -> list[Line]:
    """``marked``: tests whose names stand out."""
    files = _rows_by_file(records)
    longest = max(len(_INDENT + name) for rows in files.values() for name, _ in rows)
    room = width - sum(size + 2 for _, size in band)
    name_width = max(min(longest, room), min(_MIN_NAME, width))
    head = " " * name_width + "".join(f"  {column:<{size}}" for column, size in band)
    lines: list[Line] = [((head.rstrip(), "bold"),)]
    absent = _Cell(glyphs.absent, _STYLES["absent"])
    for file, rows in files.items():
        lines.append(((_cut(file, width=width, mark=glyphs.cut), "dim"),))
        for name, test in rows:
            shown = f"{_cut(_INDENT + name, width=name_width, mark=glyphs.cut):<{name_width}}"
            pieces: list[Piece] = [(shown, "bold" if test in marked else "")]
            for column, size in band:
                cell = cells.get((test, column)) or cells.get((test, EVERY_KERNEL), absent)
                pieces.append((f"  {cell.text:<{size}}", cell.style))
            lines.append(_rstrip(pieces))
    return lines


def _rows_by_file(records: Sequence[RunRecord]) -> dict[str, list[tuple[str, str]]]:
    """File -> (name shown, test id), by line in the file; parametrised tests keep the order they ran in."""
    files: dict[str, dict[str, tuple[int, int]]] = {}
    for number, record in enumerate(records):
        file = record["test"].partition("::")[0]
        files.setdefault(file, {}).setdefault(record["test"], (record["line"], number))
    return {
        file: [(test.partition("::")[2] or test, test) for test in sorted(tests, key=lambda test: tests[test])]
        for file, tests in files.items()
    }


def _cut(text: str, *, width: int, mark: str) -> str:
    """``text`` in at most ``width`` characters. The middle is cut: names differ at both ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + mark + text[len(text) - tail :]


def _rstrip(pieces: list[Piece]) -> Line:
    text, style = pieces[-1]
    return (*pieces[:-1], (text.rstrip(), style))


def _legend(records: Sequence[RunRecord], *, glyphs: Glyphs) -> list[Line]:
    """The meaning of the signs and numbers."""
    seen = {record["outcome"] for record in records}
    words = [f"{getattr(glyphs, name)} {name}" for name in _EXPLAINED if name in seen]
    if any(most_insns(record) is not None for record in records):
        words.append("numbers: instructions the verifier walked, of the test's largest program")
    return [((", ".join(words), "dim"),)] if words else []


def _excused(records: Sequence[RunRecord], *, glyphs: Glyphs, width: int) -> Iterator[Line]:
    """Why a test needed a second try; until when a failure fails nobody, and what failed; and what to do about it."""
    for outcome in (Outcome.FLAKY, Outcome.QUARANTINED):
        sign = getattr(glyphs, outcome)
        for record in records:
            if record["outcome"] == outcome:
                head = f"{sign} {record['kernel']}  "
                for line in textwrap.wrap(_excuse(record), max(width - len(head), _MIN_NAME), break_on_hyphens=False):
                    yield (head, "yellow"), (line, "")
                    head = " " * len(head)
        if any(record["outcome"] == outcome for record in records):
            yield ((f"{sign}: {advice_of(outcome)}", "dim"),)


def _name(record: RunRecord) -> str:
    return record["test"].rpartition("::")[2]


def _excuse(record: RunRecord) -> str:
    text = f"{_name(record)}: " + record["reason"].partition("\n")[0]
    if record["outcome"] == Outcome.QUARANTINED and "failure" in record:  # "quarantined: what broke -> what to do"
        text += ": " + record["failure"]["headline"].partition(": ")[2].rpartition(" -> ")[0]
    return text


def _kernel_lines(
    records: Sequence[RunRecord],
    *,
    columns: Sequence[str],
    machines: Mapping[str, KernelRecord],
    glyphs: Glyphs,
) -> list[Line]:
    rows = [_kernel_row(column, machine=machines.get(column)) for column in columns]
    sizes = [max(len(row[index]) for row in rows) for index in range(3)]
    lines: list[Line] = []
    for column, row in zip(columns, rows, strict=True):
        text = "  ".join(f"{part:<{size}}" for part, size in zip(row, sizes, strict=True))
        lines.append(((text, ""), *_counts(records, column=column, glyphs=glyphs)))
    notes = dict.fromkeys((machine["accel"], machine["note"]) for machine in machines.values() if machine["note"])
    return lines + [((f"{accel}: {note}", "dim"),) for accel, note in notes]


def _kernel_row(column: str, *, machine: KernelRecord | None) -> tuple[str, str, str]:
    if machine is None:
        return column, "not started", ""
    boots = [f"{seconds:.1f}" for seconds in machine["boots"]]
    how = machine["accel"]
    if boots:
        how += f", booted in {' + '.join(boots)} s"
    return column, machine["release"], how


def _counts(records: Sequence[RunRecord], *, column: str, glyphs: Glyphs) -> list[Piece]:
    outcomes = [record["outcome"] for record in records if record["kernel"] in (column, EVERY_KERNEL)]
    pieces: list[Piece] = []
    for name in _STYLES:
        if count := outcomes.count(name):
            pieces.append((f"  {getattr(glyphs, name)} {count}", _STYLES[name]))
    return pieces or [("  no tests", "dim")]
