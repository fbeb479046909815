"""``pytest-ebpf log explain``: verifier logs from anywhere, explained."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

import click

if TYPE_CHECKING:
    from pytest_ebpf.verifier.explain.explain import Explanation
    from pytest_ebpf.verifier.log.extract import Found
    from pytest_ebpf.verifier.verifier_log import VerifierLog

__all__ = ["explain", "log"]

_WINDOW = 8 << 20  # bytes; of a longer file the end is read, where the error is
_CHUNK = 1 << 20


@click.group("log")
def log() -> None:
    """Verifier logs: what they say, in words."""


@log.command("explain")
@click.argument("files", nargs=-1, required=True, metavar="FILE…|-", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON: verdict, class, kind, headline, place, statistics.")
def explain(files: tuple[BinaryIO, ...], as_json: bool) -> None:
    """Explain verifier logs from anywhere: libbpf's, bpftool's, Aya's, cilium/ebpf's, a CI's or journal's.

    FILE is text with one log or several in it; - is standard input. Timestamps and other prefixes are taken off.
    Says why a program was rejected, where, what the registers held and how that came about.
    """
    from pytest_ebpf.verifier.log.extract import unwrap

    if os.environ.get("NO_COLOR"):
        click.get_current_context().color = False
    rows: list[dict[str, Any]] = []
    for file in files:
        name = getattr(file, "name", "<stdin>")
        name = "-" if name == "<stdin>" else name
        text = _read_end(file)
        for found in unwrap(text):
            row, words = _explained(name, found)
            if text.strip() and not found.text and not found.refused:
                row["headline"] = words = "no verifier log is in this text"
            rows.append(row)
            if not as_json:
                _print(row, words, several=len(files) > 1)
    if as_json:
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))


def _read_end(file: BinaryIO) -> str:
    """The text, of a huge one its last megabytes, from the start of a line on."""
    kept: deque[bytes] = deque()
    size = 0
    cut = False
    while chunk := file.read(_CHUNK):
        kept.append(chunk)
        size += len(chunk)
        while size - len(kept[0]) >= _WINDOW:
            size -= len(kept.popleft())
            cut = True
    data = b"".join(kept)
    if cut:
        data = data[data.find(b"\n") + 1 :]
    return data.decode(errors="replace")


def _explained(name: str, found: Found) -> tuple[dict[str, Any], str]:
    """The JSON row and the text of one log."""
    from pytest_ebpf.verifier.explain.text import render_explanation
    from pytest_ebpf.verifier.verifier_log import parse_log

    parsed = parse_log(found.text)
    explanation = parsed.explanation
    row: dict[str, Any] = {
        "file": name,
        "program": found.program,
        "verdict": "rejected" if explanation is not None or found.refused else "accepted",
        **_reason(explanation, at=parsed.error_insn),
        "message": parsed.error,
        "stats": _stats(parsed),
    }
    if row["verdict"] == "rejected" and explanation is None:
        row |= {
            "class": "no-verdict",
            "kind": "environment",
            "headline": f"refused after verification: {found.refused}",
        }
        return row, row["headline"] + "\n"
    return row, render_explanation(explanation, width=_width()) if explanation is not None else ""


def _reason(explanation: Explanation | None, *, at: int | None) -> dict[str, Any]:
    if explanation is None:
        return dict.fromkeys(("class", "kind", "headline", "source_line", "insn"))
    rejection = explanation.rejection
    return {
        "class": rejection.class_id,
        "kind": rejection.kind,
        "headline": rejection.headline,
        "source_line": str(explanation.source) if explanation.source is not None else None,
        "insn": explanation.insn.index if explanation.insn is not None else at,
    }


def _stats(parsed: VerifierLog) -> dict[str, Any]:
    """All figures; None for those that this kernel or log level does not print."""
    return asdict(parsed.stats)


def _width() -> int:
    import shutil

    return max(60, min(120, shutil.get_terminal_size((80, 24)).columns)) if sys.stdout.isatty() else 80


def _print(row: dict[str, Any], text: str, *, several: bool) -> None:
    title = " ".join(part for part in (row["file"] if several else "", row["program"]) if part)
    if title:
        click.secho(f"{title}:", bold=True)
    if row["verdict"] == "accepted":
        click.secho("accepted" + _cost(row["stats"]), fg="green")
    else:
        first, _, rest = text.partition("\n")
        click.secho(first, fg="red", bold=True)
        click.echo(rest, nl=False)
        if cost := _cost(row["stats"]):
            click.echo(f"\n  the verifier walked{cost.removeprefix(':')}")
    click.echo()


def _cost(stats: dict[str, Any]) -> str:
    words = []
    if stats["insns"] is not None:
        words.append(f"{stats['insns']} instructions")
    if stats["states"] is not None:
        words.append(f"{stats['states']} states")
    if stats["stack_max"] is not None:
        words.append(f"{stats['stack_max']} bytes of stack")
    return ": " + ", ".join(words) if words else ""
