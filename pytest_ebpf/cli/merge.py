"""``pytest-ebpf merge``: JUnit files of several runs, shards and machines into one, and one matrix."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["merge"]

_WIDE = 200  # columns of a matrix in a file or pipe


@click.command("merge")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The joined file.")
def merge(files: tuple[Path, ...], output: Path) -> None:
    """Join the files that pytest --junitxml wrote (in runs, shards, machines) into one with a suite per kernel, and
    print the matrix of all.

    Of a test that several files have, or that was run again, the last counts.
    """
    import shutil
    import sys

    from pytest_ebpf.errors import BpfUsageError
    from pytest_ebpf.report.junit import merge_junit, read_junit, render_junit
    from pytest_ebpf.report.terminal import render_matrix

    read = []
    for path in files:
        try:
            read.append(read_junit(path.read_bytes(), name=str(path)))
        except OSError as error:
            raise BpfUsageError(f"{path}: {error.strerror}") from None
    merged = merge_junit(read)
    try:
        output.write_text(render_junit(merged), encoding="utf-8")
    except OSError as error:
        raise BpfUsageError(f"{output}: {error.strerror}") from None
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE
    for line in render_matrix(merged.records, kernels=merged.kernels, width=width):
        click.echo("".join(text for text, _ in line).rstrip())
    for note in merged.notes:
        click.echo(f"note: {note}", err=True)
