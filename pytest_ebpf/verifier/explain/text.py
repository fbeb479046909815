"""An explanation as text, for people: what a failing test and ``pytest-ebpf log explain`` print."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from pytest_ebpf.verifier.explain.explain import Explanation, Happened
from pytest_ebpf.verifier.explain.register_text import describe
from pytest_ebpf.verifier.log.values import Diagnosis, SourceLine

__all__ = ["render_explanation", "wrap_text"]


def render_explanation(explanation: Explanation, *, width: int = 80) -> str:
    """Several lines of at most about ``width`` columns, without colours; source and register texts are cut to fit."""
    lines: list[str] = []
    rejection = explanation.rejection
    lines += wrap_text(f"{rejection.class_id} ({rejection.kind}): {rejection.headline}", width=width)
    if rejection.message:
        lines += ["", *wrap_text(f"the verifier: {rejection.message}", width=width, indent="  ")]
    for part in (_where(explanation, width), _registers(explanation, width), _path(explanation, width)):
        block = list(part)
        if block:
            lines += ["", *block]
    if explanation.report is not None:
        lines += ["", *_report(explanation.report, width)]
    if rejection.advice:
        lines += ["", *wrap_text(f"what to do: {rejection.advice}", width=width, indent="  ")]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def wrap_text(text: str, *, width: int, indent: str = "") -> list[str]:
    """A paragraph as lines of at most ``width`` columns; a long word may be longer."""
    hanging = indent + "  "
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )


def _where(explanation: Explanation, width: int) -> Iterator[str]:
    source = explanation.source
    if source is not None:
        if source.file:
            yield f"   --> {_place(source)}"
        for line in explanation.context:
            margin = f"{line.line or '':6} | "
            yield _cut(margin + line.text, width)
            if line == source:
                yield from _underline(explanation, width)
    if explanation.insn is not None:
        yield "  instruction"
        for insn in explanation.around:
            yield _cut(f"       {insn}", width)
        yield _cut(f"  >>>  {explanation.insn}", width)


def _underline(explanation: Explanation, width: int) -> Iterator[str]:
    """Carets below the part of the line at fault, with what the first register held beside them where it fits."""
    span, margin = explanation.span, " " * 7 + "| "
    if span is None or len(margin) + span.start >= width:
        return
    carets = margin + " " * span.start + "^" * max(1, min(span.end, width - len(margin)) - span.start)
    label = f" {explanation.registers[0].name}: {describe(explanation.registers[0])}" if explanation.registers else ""
    yield carets + (label if len(carets) + len(label) <= width else "")


def _place(source: SourceLine) -> str:
    return f"{source.file}:{source.line}" if source.line is not None else str(source.file)


def _registers(explanation: Explanation, width: int) -> Iterator[str]:
    if not explanation.registers:
        return
    yield "  registers before it"
    for register in explanation.registers:
        yield _cut(f"    {register.name:<5} {describe(register)}", width)


def _path(explanation: Explanation, width: int) -> Iterator[str]:
    if not explanation.path:
        return
    yield "  how it happened"
    before: SourceLine | None = None
    for happened in explanation.path:
        if happened.source is not None and happened.source != before:
            yield _cut(f"    {happened.source}", width)
        before = happened.source
        yield from _step(happened, width)
    if not explanation.path_complete:
        yield "    (the beginning of the path is not in this log)"


def _step(happened: Happened, width: int) -> Iterator[str]:
    text = f"{happened.insn.index}: {happened.insn.text}"
    line = f"      {text:<32}  {happened.what}"
    if len(line) <= width:
        yield line
        return
    yield _cut(f"      {text}", width)
    yield from wrap_text(happened.what, width=width, indent=" " * 10)


def _report(report: Diagnosis, width: int) -> Iterator[str]:
    """The kernel's own reason and suggestion; its source and path are shown above already."""
    yield from wrap_text(f"the kernel's report: {report.headline}", width=width, indent="  ")
    for name in ("Reason", "Suggestion"):
        if text := report.section(name):
            yield from wrap_text(f"{name}: {' '.join(text.split())}", width=width, indent="    ")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
