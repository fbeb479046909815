"""The matrix of a run that is not pytest's, on the terminal or in a file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pytest_ebpf.report.record import RunRecord

__all__ = ["echo_matrix", "has_unicode"]

_WIDE = 200  # columns of a matrix in a file or pipe
_STYLES: dict[str, dict[str, Any]] = {"": {}, "dim": {"dim": True}, "bold": {"bold": True}}  # others are colours


def has_unicode() -> bool:
    """Whether standard output takes the signs of the matrix."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def echo_matrix(records: Sequence[RunRecord], *, kernels: Sequence[str]) -> None:
    """Print it, with colours where click shows them."""
    from pytest_ebpf.report.terminal import ASCII, UNICODE, render_matrix

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE
    for line in render_matrix(records, kernels=kernels, width=width, glyphs=UNICODE if has_unicode() else ASCII):
        styled = "".join(click.style(text, **_STYLES.get(style, {"fg": style})) for text, style in line)
        click.echo(styled.rstrip())
