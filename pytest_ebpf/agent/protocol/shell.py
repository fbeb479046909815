"""A guest that people can enter (``pytest-ebpf shell``, ``--bpf-keep-vm``): a shell on a console of its own, and an
agent that leaves everything as it is when the host has gone."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

__all__ = ["Patient", "start_shells"]

_CONSOLE = "/dev/hvc1"  # the second: the first is virtme-ng's own
_SHELLS = ("/bin/bash", "/bin/sh")
_SET_CONTROLLING = 0x540E  # TIOCSCTTY


class Patient:
    """A reader without an end: what tests have loaded and attached stays to be looked at."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, n: int, /) -> bytes | None:
        """As the stream's, but for its end."""
        data: bytes | None = self._stream.read(n)
        while not data:
            time.sleep(3600)
        return data


def start_shells(folder: str) -> None:
    """Have a shell in ``folder`` on the console from now on, and another after each end."""
    if os.fork() == 0:
        while True:
            with suppress(BaseException):
                shell = os.fork()
                if shell == 0:
                    _become_shell(folder)
                os.waitpid(shell, 0)
            time.sleep(0.2)


def _become_shell(folder: str) -> None:
    import fcntl

    try:
        os.setsid()
        console = os.open(_CONSOLE, os.O_RDWR)
        fcntl.ioctl(console, _SET_CONTROLLING, 0)
        for fd in range(3):
            os.dup2(console, fd)
        with suppress(OSError):
            os.chdir(folder)
        shell = next(path for path in _SHELLS if os.path.exists(path))
        os.execv(shell, [shell, "-i"])
    finally:
        os._exit(127)
