"""What ``pytest-ebpf verify`` prints: the table with reasons, lists of figures, JSON, CSV."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from pytest_ebpf.verifier.compare.veristat_csv import CSV_COLUMNS, Row, render_csv
from pytest_ebpf.verifier.compare.veristat_filter import SortKey, keep_rows, sort_rows

if TYPE_CHECKING:
    from pytest_ebpf.cli.verify_setup import Request
    from pytest_ebpf.report.terminal import Glyphs, Line
    from pytest_ebpf.verify.verdict import ProgramVerdict
    from pytest_ebpf.verify.verdicts import Verdicts

__all__ = ["as_csv", "as_json", "show"]

_STYLES: dict[str, dict[str, Any]] = {"bold": {"bold": True}, "dim": {"dim": True}, "": {}}
_BY_NAME = (SortKey("file_name", ascending=True), SortKey("prog_name", ascending=True))


def _chosen(verdicts: Verdicts, request: Request) -> list[tuple[Row, ProgramVerdict]]:
    """What the filters leave, sorted, the first N programs of it."""
    pairs = [(verdict.row(), verdict) for verdict in verdicts]
    found = {id(row): verdict for row, verdict in pairs}
    rows = sort_rows(keep_rows([row for row, _ in pairs], request.filters), request.sort)
    chosen = [(row, found[id(row)]) for row in rows]
    if not request.most:
        return chosen
    programs = list(dict.fromkeys(_program(verdict) for _, verdict in chosen))[: request.most]
    return [(row, verdict) for row, verdict in chosen if _program(verdict) in programs]


def _program(verdict: ProgramVerdict) -> tuple[str, str]:
    return verdict.object, verdict.label


def as_json(verdicts: Verdicts, request: Request) -> dict[str, Any]:
    """``{"programs": [...], "problems": [...]}``: an entry per program, kernel and values of globals, and a text about
    each file that holds nothing to verify. What is not known is null."""
    programs = [_entry(verdict, request) for _, verdict in _chosen(verdicts, request)]
    problems = list(request.problems)
    return {"programs": programs, "problems": problems} if problems else {"programs": programs}


def _entry(verdict: ProgramVerdict, request: Request) -> dict[str, Any]:
    stats, source = verdict.stats, verdict.source_line
    entry: dict[str, Any] = {
        "object": verdict.object,
        "program": verdict.program,
        "section": verdict.section,
        "kernel": verdict.kernel,
        "verdict": verdict.verdict,
        "errno": verdict.errno or None,
        "class": verdict.class_id or None,
        "kind": verdict.kind or None,
        "insns": stats.insns,
        "states": stats.states,
        "peak_states": stats.peak_states,
        "max_states_per_insn": stats.max_states_per_insn,
        "stack": list(stats.stack),
        "time_us": stats.time_us,
        "limit": stats.limit,
        "size": verdict.size,
        "jited": verdict.jited or None,
        "type": verdict.type or None,
        "attach_type": verdict.attach_type or None,
        "release": verdict.release,
        "globals": dict(verdict.config),
        "message": verdict.message or None,
        "source_line": {"file": source.file, "line": source.line, "text": source.text} if source else None,
    }
    if request.most_lines:
        entry["lines"] = [
            {"source_line": str(cost.source or ""), "walked": cost.walked, "insns": cost.size}
            for cost in sorted(verdict.lines, key=lambda cost: -cost.walked)[: request.most_lines]
        ]
    return entry


def as_csv(verdicts: Verdicts, request: Request) -> str:
    """veristat's CSV. With several kernels the file is called ``x.bpf.o@6.1``, unless a column says the kernel; a
    program with values of globals ``prog [limit=4]``."""
    columns = request.emit or CSV_COLUMNS
    rows = _in_order([row for row, _ in _chosen(verdicts, request)], request)
    if "kernel" not in columns and len(verdicts.kernels) > 1:
        rows = [{**row, "file_name": f"{row['file_name']}@{row['kernel']}"} for row in rows]
    if "config" not in columns:
        from pytest_ebpf.report.verdicts import label_of

        rows = [{**row, "prog_name": label_of(row)} for row in rows]
    return render_csv(rows, columns=columns)


def _in_order(rows: Sequence[Row], request: Request) -> list[Row]:
    """As veristat: by file and program unless another order is given."""
    return list(rows) if request.sort else sort_rows(rows, _BY_NAME)


def show(verdicts: Verdicts, request: Request) -> None:
    """The table and the reasons, or, with ``--emit``, a line of figures per program and kernel; then costs."""
    from pytest_ebpf.report.verdicts import render_rows, render_table, render_why

    chosen = _chosen(verdicts, request)
    if not chosen:
        click.echo(f"no program is left by the filters (of {len(verdicts)} verdicts)")
        return
    glyphs, width = _glyphs(), get_terminal_size().columns
    if request.emit:
        _print(render_rows(_in_order([row for row, _ in chosen], request), columns=request.emit))
    else:
        shown = {_program(verdict) for _, verdict in chosen}
        order = list(dict.fromkeys(_program(verdict) for _, verdict in chosen))
        rows = [v.row() for program in order for v in verdicts if _program(v) == program and program in shown]
        _print(render_table(rows, kernels=verdicts.kernels, width=width, glyphs=glyphs))
        _print(render_why(rows, kernels=verdicts.oldest_first, glyphs=glyphs, width=width * sys.stdout.isatty()))
        _print_counts(verdicts)
    if request.most_lines:
        _show_lines([verdict for _, verdict in chosen], most=request.most_lines, width=width)


def _print_counts(verdicts: Verdicts) -> None:
    for kernel in verdicts.kernels:
        found = [verdict for verdict in verdicts if verdict.kernel == kernel]
        counts = [(word, sum(v.verdict == word for v in found)) for word in ("accepted", "rejected", "error")]
        words = ", ".join(f"{count} {word}" for word, count in counts if count)
        click.echo(f"{kernel}  {found[0].release if found else ''}  {words or 'no program'}")


def _show_lines(found: Iterable[ProgramVerdict], *, most: int, width: int) -> None:
    from pytest_ebpf.verifier.compare.cost import render_costs

    for verdict in found:
        click.echo()
        walked = sum(cost.walked for cost in verdict.lines)
        part = f", the last {walked} of them" if verdict.insns and walked < verdict.insns * 0.99 else ""
        click.echo(
            f"{verdict.object.rpartition('/')[2]}: {verdict.label} on {verdict.kernel}: {verdict.insns} insns{part}"
        )
        for line in render_costs(verdict.lines, most=most, width=width - 2):
            click.echo(f"  {line}")


def _print(lines: Iterable[Line]) -> None:
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in lines:
        pieces = (click.style(text, **_STYLES.get(style, {"fg": style})) if style else text for text, style in line)
        click.echo("".join(pieces if coloured else (text for text, _ in line)))


def _glyphs() -> Glyphs:
    from pytest_ebpf.report.terminal import ASCII, UNICODE

    try:
        "✓✗…".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
