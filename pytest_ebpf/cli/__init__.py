"""The ``pytest-ebpf`` command: thin commands over the same layers that the plugin uses."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of the console script. Our own errors are one message on stderr and exit status 1."""
    import click

    import pytest_ebpf.cli.bindings  # noqa: F401  # a command of the group btf
    from pytest_ebpf.cli.btf import btf
    from pytest_ebpf.cli.doctor import doctor
    from pytest_ebpf.cli.exec import exec_
    from pytest_ebpf.cli.features import features
    from pytest_ebpf.cli.inspect import inspect
    from pytest_ebpf.cli.kernels import kernels
    from pytest_ebpf.cli.log import log
    from pytest_ebpf.cli.verify import verify
    from pytest_ebpf.errors import EbpfError

    group = click.Group(
        "pytest-ebpf",
        commands={
            "btf": btf,
            "doctor": doctor,
            "exec": exec_,
            "features": features,
            "inspect": inspect,
            "kernels": kernels,
            "log": log,
            "verify": verify,
        },
        help="Prove an eBPF project on every kernel it ships to.",
    )
    try:
        group.main(prog_name="pytest-ebpf", standalone_mode=True)
    except EbpfError as error:
        click.echo(f"pytest-ebpf: {error}", err=True)
        sys.exit(1)
