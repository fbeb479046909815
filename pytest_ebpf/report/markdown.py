"""A run as Markdown: the matrix, what failed, the kernels. For the summary of a CI job or a comment on a change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pytest_ebpf.report.document import Document
from pytest_ebpf.report.record import EVERY_KERNEL, most_insns
from pytest_ebpf.report.rows import Row, matrix_rows

__all__ = ["render_markdown"]

_SIGNS: Mapping[str, str] = MappingProxyType(
    {"passed": "✅", "failed": "❌", "error": "💥", "skipped": "⏭️", "xfailed": "🟡", "xpassed": "🟠"}
    | {"flaky": "🔁", "quarantined": "🚧"}
)
_SHOWN = 20  # failures with their text; the others are rows of the table only
_LONGEST = 4000  # characters of a section


def render_markdown(document: Document) -> str:
    """GitHub's flavour. Rows that passed on all kernels are folded."""
    kernels = [kernel["id"] for kernel in document["kernels"]]
    rows = matrix_rows(document)
    quiet = [row for row in rows if row.outcomes() <= {"passed"}]
    telling = [row for row in rows if row not in quiet]
    lines = ["## eBPF matrix", "", _counts(document), ""]
    if telling:
        lines += [*_table(telling, kernels), ""]
    if quiet:
        lines += _folded(f"{len(quiet)} tests passed wherever they ran", [*_table(quiet, kernels)])
    for failure in _failures(document):
        lines += failure
    lines += ["", *_kernels(document)]
    return "\n".join(lines) + "\n"


def _counts(document: Document) -> str:
    return ", ".join(f"{_SIGNS[name]} {count} {name}" for name, count in document["counts"].items()) or "no eBPF tests"


def _table(rows: Iterable[Row], kernels: list[str]) -> Iterator[str]:
    yield "| test | " + " | ".join(kernels) + " |"
    yield "|---|" + "---|" * len(kernels)
    for row in rows:
        yield f"| `{_cell_text(row.test)}` | " + " | ".join(_cell(row.results.get(name)) for name in kernels) + " |"


def _cell(result: Any) -> str:
    if result is None:
        return "–"
    insns = most_insns(result)
    kind = result["kind"] if result["kind"] not in ("", "passed", "failed") else ""
    return " ".join(filter(None, (_SIGNS[result["outcome"]], kind, f"{insns:,}" if insns is not None else "")))


def _cell_text(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")


def _folded(title: str, lines: Iterable[str]) -> list[str]:
    return [f"<details><summary>{_html(title)}</summary>", "", *lines, "", "</details>", ""]


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _failures(document: Document) -> Iterator[list[str]]:
    failed = [result for result in document["results"] if "failure" in result]
    for result in failed[:_SHOWN]:
        failure = result["failure"]
        lines = ["", f"**{_html(failure['headline'])}**", ""]
        for section in failure["sections"]:
            lines += [f"_{section['title']}_", "", *_fenced(section["text"][-_LONGEST:]), ""]
        lines += [*_fenced(failure["repeat"])]
        kernel = "" if result["kernel"] == EVERY_KERNEL else f" on {result['kernel']}"
        yield _folded(f"{result['test']}{kernel}: {failure['headline']}", lines)
    if len(failed) > _SHOWN:
        yield [f"and {len(failed) - _SHOWN} more failures", ""]


def _fenced(text: str) -> list[str]:
    fence = "```"
    while fence in text:
        fence += "`"
    return [fence, text.rstrip("\n"), fence]


def _kernels(document: Document) -> Iterator[str]:
    yield "| kernel | release | how | boots |"
    yield "|---|---|---|---|"
    for kernel in document["kernels"]:
        boots = " + ".join(f"{seconds:.1f} s" for seconds in kernel["boots"])
        yield f"| {kernel['id']} | {kernel['release'] or 'not started'} | {kernel['accel']} | {boots} |"
