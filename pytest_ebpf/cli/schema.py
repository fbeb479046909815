"""What ships with the package for other programs: the JSON Schema of what ``--bpf-json`` writes, and the directory of
the header that C sources include."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["include_dir", "schema"]

_HEADER = "expectations.h"


@click.command("schema")
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of the file that pytest --bpf-json=FILE writes."""
    from pytest_ebpf.report.document import schema_text

    click.echo(schema_text(), nl=False)


@click.command("include-dir")
def include_dir() -> None:
    """Print the directory of expectations.h, for a compiler: clang -I "$(pytest-ebpf include-dir)" ..."""
    package = Path(__file__).parent.parent
    for candidate in (package / "_include", package.parent / "sample_programs" / "include"):
        if (candidate / _HEADER).is_file():
            click.echo(candidate)
            return
    raise click.ClickException(f"{_HEADER} is not there: was pytest-ebpf installed whole?")
