"""Options that several commands have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pytest_ebpf.live.loader import Bpf

__all__ = ["given_kernels", "guest_options", "kernels_option", "on_kernels"]

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


def on_kernels(text: str, *, accel: Any, cache: Path | None) -> Iterator[tuple[str, Bpf]]:
    """A loader on each kernel in turn, with its id; it is closed when the next one is asked for."""
    from pytest_ebpf.live.open_kernel import open_kernel

    for name, spec in given_kernels(text).items():
        with open_kernel(spec, accel=accel, cache_dir=cache) as bpf:
            yield name, bpf
