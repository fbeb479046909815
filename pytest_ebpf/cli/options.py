"""Options that several commands have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pytest_ebpf.live.loader import Bpf

__all__ = ["WithCommand", "command_of", "given_kernels", "guest_options", "kernels_option", "opened"]

_COMMAND = "pytest_ebpf.command"  # where the context has the words behind --
_F = TypeVar("_F", bound=Callable[..., Any])


def kernels_option(command: _F) -> _F:
    """``-k``/``--kernels``, for commands whose arguments are objects."""
    return click.option(
        "-k",
        "--kernels",
        default="",
        metavar="SPEC,…",
        help="host (the default; else what PYTEST_EBPF_KERNELS says), 6.1, newest, ./bzImage, …",
    )(command)


def guest_options(command: _F) -> _F:
    """How guests run, and where kernels are kept."""
    command = click.option("--cache", type=click.Path(path_type=Path), help="Where kernels are kept.")(command)
    choice = click.Choice(["auto", "kvm", "tcg"])
    return click.option("--accel", type=choice, default="auto", show_default=True, help="How guests run.")(command)


def given_kernels(text: str) -> dict[str, str]:
    """Id -> spec of each kernel that ``-k`` names. ``BpfUsageError`` names what there is."""
    from pytest_ebpf.cli.verify_setup import read_kernels

    return read_kernels(text or os.environ.get("PYTEST_EBPF_KERNELS", "") or "host")


@contextmanager
def opened(name: str, spec: str, *, accel: Any, cache: Path | None) -> Iterator[Bpf]:
    """A loader on the kernel ``spec``, which ``given_kernels`` calls ``name``. A terminal says that a guest boots."""
    from pytest_ebpf.live.open_kernel import open_kernel

    if spec != "host" and sys.stderr.isatty():
        click.echo(f"booting {name}", err=True)
    with open_kernel(spec, accel=accel, cache_dir=cache) as bpf:
        yield bpf


class WithCommand(click.Command):
    """Leaves what stands behind ``--`` alone: options there are those of a command to run, ``command_of(ctx)``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        marker = args.index("--") if "--" in args else len(args)
        ctx.meta[_COMMAND] = args[marker + 1 :]
        return super().parse_args(ctx, args[:marker])


def command_of(ctx: click.Context) -> list[str]:
    """The words behind ``--``."""
    found: list[str] = ctx.meta[_COMMAND]
    return found
