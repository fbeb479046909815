"""The byte stream to a guest's agent: a socket with deadlines."""

from __future__ import annotations

import contextlib
import select
import socket
import time

__all__ = ["Stream"]


class Stream:
    """Bytes to and from an agent. A dead guest reads as end of file, a silent one as ``TimeoutError``.

    ``timeout`` is in seconds and covers the whole call; None waits for ever.
    """

    __slots__ = ("_socket",)

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def read(self, n: int, timeout: float | None = None) -> bytes:
        """One to ``n`` bytes, as soon as there are any; none at end of file."""
        self._socket.settimeout(timeout)
        try:
            return self._socket.recv(n)
        except ConnectionError:
            return b""

    def wait_readable(self, timeout: float) -> bool:
        """Whether ``read`` would return at once, waiting up to ``timeout`` seconds for that."""
        poll = select.poll()  # select(2) knows no descriptor above 1,023
        poll.register(self._socket.fileno(), select.POLLIN)
        return bool(poll.poll(timeout * 1000))

    def read_line(self, timeout: float | None = None) -> bytes:
        """Bytes up to and with a newline, or less at end of file. Reads no byte past it."""
        deadline = None if timeout is None else time.monotonic() + timeout
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = self.read(1, None if deadline is None else max(0.001, deadline - time.monotonic()))
            if not byte:
                break
            line += byte
        return bytes(line)

    def write(self, data: bytes, timeout: float | None = None) -> None:
        """All of ``data``. ``ConnectionError`` when the other end is closed."""
        self._socket.settimeout(timeout)
        self._socket.sendall(data)

    def fail(self) -> None:
        """End of file for every reader from now on."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Idempotent."""
        self.fail()
        self._socket.close()
