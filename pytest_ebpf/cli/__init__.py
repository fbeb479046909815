"""The ``pytest-ebpf`` command: thin commands over the same layers that the plugin uses."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of the console script. Our own errors are one message on stderr and exit status 1."""
    from pytest_ebpf.cli.commands import NAME, render_help

    if sys.argv[1:] in ([], ["--help"]) and not os.environ.get("_PYTEST_EBPF_COMPLETE"):
        print(render_help())
        sys.exit(0 if sys.argv[1:] else 2)
    import click

    from pytest_ebpf.cli.group import all_commands
    from pytest_ebpf.errors import EbpfError

    try:
        all_commands().main(prog_name=NAME, standalone_mode=True)
    except EbpfError as error:
        click.echo(f"{NAME}: {error}", err=True)
        sys.exit(1)
