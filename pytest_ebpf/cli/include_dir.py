"""``pytest-ebpf include-dir``: where the header is that a C source includes to say what the verifier should say."""

from __future__ import annotations

from pathlib import Path

import click

import pytest_ebpf

__all__ = ["include_dir"]

_HEADER = "expectations.h"


@click.command("include-dir")
def include_dir() -> None:
    """Print the directory of expectations.h, for a compiler: clang -I "$(pytest-ebpf include-dir)" ..."""
    package = Path(pytest_ebpf.__file__).parent
    for candidate in (package / "_include", package.parent / "sample_programs" / "include"):
        if (candidate / _HEADER).is_file():
            click.echo(candidate)
            return
    raise click.ClickException(f"{_HEADER} is not there: was pytest-ebpf installed whole?")
