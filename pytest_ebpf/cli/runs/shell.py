"""``pytest-ebpf shell``: a shell in a guest."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import click

__all__ = ["shell"]

_LEAVE = b"\x1d"  # Ctrl-]
_QUIET = 1.0  # seconds without output after the end of the input, when that is no terminal


@click.command("shell")
@click.argument("spec", required=False)
@click.option("--enter", type=click.Path(path_type=Path), metavar="SOCKET", help="A guest that --bpf-keep-vm has left.")
@click.option("--memory", default="1G", metavar="SIZE", help="As --bpf-memory of pytest.")
@click.option("--cpus", type=click.IntRange(0, 64), default=0, help="As --bpf-cpus of pytest.")
@click.option("--cmdline", default="", metavar="WORDS", help="As --bpf-cmdline of pytest.")
@click.option("--accel", type=click.Choice(("auto", "kvm", "tcg")), default="auto", help="As --bpf-accel of pytest.")
@click.option("--cache", type=click.Path(path_type=Path), help="Where images are kept.")
def shell(spec: str | None, enter: Path | None, cache: Path | None, cmdline: str, **guest: object) -> None:
    """Boot SPEC and open a shell in it, in this directory, which is shared read-only as all files of this machine are.

    Ctrl-] leaves it and ends the guest. With --enter: the shell of a guest that runs, which is not ended.
    """
    from pytest_ebpf.errors import BpfUsageError
    from pytest_ebpf.kernels.boot import open_guest
    from pytest_ebpf.kernels.config import PoolConfig, silent_wait

    if (spec is None) == (enter is None):
        raise BpfUsageError("name a kernel (pytest-ebpf shell 6.1), or a guest that runs (--enter SOCKET)")
    with ExitStack() as stack:
        if spec is not None:
            config = PoolConfig(cache=cache, kernel_args=tuple(cmdline.split()), enter=True, **guest)  # type: ignore[arg-type]  # the options of click, by the names of the fields
            click.echo(f"booting {spec}; Ctrl-] leaves it", err=True)
            enter = open_guest(spec, config=config, wait=silent_wait, until=stack).shell_path
        assert enter is not None
        _talk(stack.enter_context(_connect(enter)))


def _connect(path: Path) -> socket.socket:
    """A connection. The path may be longer than the address of a socket."""
    from pytest_ebpf.errors import BpfUsageError

    connected = socket.socket(socket.AF_UNIX)
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            connected.connect(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
    except OSError as error:
        connected.close()
        raise BpfUsageError(f"{path}: {error.strerror}: no guest runs there") from None
    return connected


def _talk(guest: socket.socket) -> None:
    """Between terminal and guest, until one of them ends."""
    guest.sendall(b"\n")  # for a new prompt
    keys, timeout = sys.stdin.fileno(), None
    waiting: list[int | socket.socket] = [guest, keys]
    with _raw(keys):
        while ready := select.select(waiting, [], [], timeout)[0]:
            if guest in ready:
                data = guest.recv(1 << 16)
                if not data:
                    return
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            if keys in ready:
                typed = os.read(keys, 1 << 10)
                if _LEAVE in typed:
                    return
                if not typed:
                    waiting, timeout = [guest], _QUIET
                guest.sendall(typed)


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Keys as they come, if it is a terminal."""
    if not os.isatty(terminal):
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
