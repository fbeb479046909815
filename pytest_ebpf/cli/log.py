"""``pytest-ebpf log explain``: verifier logs from anywhere, explained."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from pytest_ebpf.frozen import asdict

if TYPE_CHECKING:
    from pytest_ebpf.verifier.extract.verdict import Verdict
    from pytest_ebpf.verifier.verifier_log import VerifierLog

__all__ = ["explain", "log"]

_CHUNK = 1 << 20  # bytes read at once
_FIGURES = (
    *("insns", "limit", "max_states_per_insn", "states", "peak_states", "mark_read", "stack", "stack_max", "time_us"),
)
_TOGETHER = 500
_UNKNOWN = 3  # the exit status when a text has no verdict in it


@click.group("log")
def log() -> None:
    """Explain and parse verifier logs."""


@log.command("explain")
@click.argument("files", nargs=-1, required=True, metavar="FILE…|-", type=click.File("rb"))
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: verdict, class, kind, headline, place, advice, path."
)
def explain(files: tuple[BinaryIO, ...], as_json: bool) -> None:
    """Explain verifier logs from anywhere: libbpf's, bpftool's, Aya's, cilium/ebpf's, a CI's or journal's.

    FILE is text with one log or several in it; - is standard input. Timestamps and other prefixes are removed.
    Prints why a program was rejected, where, what the registers held and how that came about.

    The exit status is 0, also for rejected programs; 3 if a text holds no verdict: no verifier log, and nothing else
    that a kernel refused.
    """
    from pytest_ebpf.verifier.extract.stream import read_logs
    from pytest_ebpf.verifier.extract.verdict import judge

    if os.environ.get("NO_COLOR"):
        click.get_current_context().color = False
    written = 0
    waiting: list[str] = []  # to be written together: there may be thousands of programs
    unknown = False
    for file in files:
        name = getattr(file, "name", "<stdin>")
        name = "-" if name == "<stdin>" else name
        for found in read_logs(iter(partial(file.read, _CHUNK), b"")):
            verdict = judge(found)
            row = _row(name, verdict)
            unknown = unknown or row["verdict"] == "unknown"
            if as_json:
                waiting.append((",\n" if written else "[") + json.dumps(row, ensure_ascii=False))
            else:
                waiting.append(_shown(row, _text(verdict), several=len(files) > 1) + "\n")
            written += 1
            if len(waiting) >= _TOGETHER:
                click.echo("".join(waiting), nl=False)
                waiting.clear()
    click.echo("".join(waiting) + ("]\n" if as_json else ""), nl=False)
    if unknown:
        sys.exit(_UNKNOWN)


def _row(name: str, verdict: Verdict) -> dict[str, Any]:
    """The JSON object of one log."""
    rejection, explanation = verdict.rejection, verdict.explanation
    source = explanation.source if explanation is not None else None
    return {
        "file": name,
        "program": verdict.program,
        "verdict": verdict.verdict,
        "class": rejection.class_id if rejection else None,
        "kind": rejection.kind if rejection else None,
        "headline": verdict.headline or None,
        "source_line": str(source) if source is not None else None,
        "source": asdict(source) if source is not None else None,
        "insn": _insn(verdict),
        "message": verdict.log.error,
        "advice": verdict.advice or None,
        "errno": verdict.errno or None,
        **_how(verdict),
        "stats": _stats(verdict.log),
    }


def _insn(verdict: Verdict) -> int | None:
    """The index of the instruction at fault, None where the log does not show it."""
    explanation = verdict.explanation
    if explanation is None or explanation.rejection.class_id == "no-verdict":
        return None
    if verdict.log.error_insn is not None or explanation.insn is None:
        return verdict.log.error_insn
    return explanation.insn.index


def _how(verdict: Verdict) -> dict[str, Any]:
    """The registers before the error, and the steps to it."""
    from pytest_ebpf.verifier.explain.register_text import describe

    if verdict.explanation is None:
        return {"registers": [], "path": []}
    return {
        "registers": [
            {"name": register.name, "value": describe(register)} for register in verdict.explanation.registers
        ],
        "path": [
            {
                "insn": step.insn.index,
                "text": step.insn.text,
                "source_line": str(step.source) if step.source is not None else None,
                "what": step.what,
            }
            for step in verdict.explanation.path
        ],
    }


def _text(verdict: Verdict) -> str:
    """The paragraphs for people."""
    from pytest_ebpf.verifier.explain.text import render_explanation, wrap_text

    if verdict.explanation is not None:
        return render_explanation(verdict.explanation, width=_width())
    if not verdict.headline:
        return ""
    rejection = verdict.rejection
    head = f"{rejection.class_id} ({rejection.kind}): " if rejection is not None else ""
    advice = ["", *wrap_text(f"what to do: {verdict.advice}", width=_width(), indent="  ")] if verdict.advice else []
    return "\n".join([*wrap_text(head + verdict.headline, width=_width()), *advice]) + "\n"


def _stats(parsed: VerifierLog) -> dict[str, Any]:
    """All figures; None for those that this kernel or log level does not print."""
    return {name: getattr(parsed.stats, name) for name in _FIGURES}


def _width() -> int:
    import shutil

    return max(60, min(120, shutil.get_terminal_size((80, 24)).columns)) if sys.stdout.isatty() else 80


def _shown(row: dict[str, Any], text: str, *, several: bool) -> str:
    title = " ".join(part for part in (row["file"] if several else "", row["program"]) if part)
    shown = click.style(f"{title}:", bold=True) + "\n" if title else ""
    if row["verdict"] == "accepted":
        return shown + click.style("accepted" + _cost(row["stats"]), fg="green") + "\n"
    first, _, rest = text.partition("\n")
    shown += click.style(first, fg="red" if row["verdict"] == "rejected" else "yellow", bold=True) + "\n" + rest
    if cost := _cost(row["stats"]):
        shown += f"\n  the verifier walked{cost.removeprefix(':')}\n"
    return shown


def _cost(stats: dict[str, Any]) -> str:
    words = []
    for name, one, many in (("insns", "instruction", "instructions"), ("states", "state", "states")):
        if (count := stats[name]) is not None:
            words.append(f"{count} {one if count == 1 else many}")
    if stats["stack_max"] is not None:
        words.append(f"{stats['stack_max']} bytes of stack")
    return ": " + ", ".join(words) if words else ""
