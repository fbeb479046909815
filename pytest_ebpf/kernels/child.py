"""An agent as a child process: the other end of ``serve``, for tests and for ``host`` through sudo.

Runs on the host only. The child holds no more than its end of a socket pair: whatever ends this process ends it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

__all__ = ["ChildAgent", "agent_argv"]

_PATIENCE = 1.0
_TAIL = 4000
# Without the user's site directory and environment, and without byte code files that root would own.
_PYTHON_FLAGS = ("-I", "-S", "-B")
_START = "import sys; sys.path.insert(0, {!r}); from pytest_ebpf.agent.protocol.serve import main; sys.exit(main([]))"


def agent_argv(prefix: Sequence[str] = ()) -> list[str]:
    """The command that runs the agent of this source tree, behind ``prefix`` ("sudo", "-n")."""
    root = str(Path(__file__).resolve().parents[2])
    return [*prefix, sys.executable, *_PYTHON_FLAGS, "-c", _START.format(root)]


class ChildAgent:
    """A started agent, and the stream to it (see ``kernels.remote.Stream``). ``OSError`` when it cannot be started."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the agent
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                end = theirs.fileno()
                # A process group, against Ctrl-C; no session, as sudo remembers who gave a password by terminal.
                self._process: subprocess.Popen[bytes] = subprocess.Popen(
                    list(argv), stdin=end, stdout=end, stderr=self._said.fileno(), process_group=0
                )
        except OSError:
            self._socket.close()
            self._said.close()
            raise

    @property
    def pid(self) -> int:
        """Of the command that was started: of sudo, where that is it."""
        return self._process.pid

    def read(self, n: int, timeout: float | None = None) -> bytes:
        """One to ``n`` bytes, none at end of file."""
        self._socket.settimeout(timeout)
        try:
            return self._socket.recv(n)
        except ConnectionError:
            return b""

    def write(self, data: bytes, timeout: float | None = None) -> None:
        """All of ``data``."""
        self._socket.settimeout(timeout)
        self._socket.sendall(data)

    def close(self) -> None:
        """Hang up, and wait for the end. Idempotent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(PermissionError):  # root's process behind sudo: sudo ends it
                self._process.kill()
                self._process.wait(_PATIENCE)

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        if self._said.closed:
            return ""
        size = os.fstat(self._said.fileno()).st_size
        return os.pread(self._said.fileno(), _TAIL, max(0, size - _TAIL)).decode(errors="replace").strip()
