"""A command that runs beside the test."""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Iterator

from pytest_ebpf.agent.ops import Close, Done, Failed, Handle, ProcessRead, ProcessSignal, ProcessWrite, Said
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.handles import close_after
from pytest_ebpf.live.machine.results import CommandTimeoutError, Completed
from pytest_ebpf.live.session import Session

__all__ = ["Background"]

_STEP = 5.0  # seconds of waiting in one operation


class Background:
    """A started command. It and the processes that it started are killed by ``kill()`` or ``close()``, at the end of a
    ``with`` block, or at the end of the test.

    All of its output is kept, whether it is read or not. Timeouts are in seconds, longer where the CPU is emulated;
    ``CommandTimeoutError`` (a ``TimeoutError``) has the output so far.
    """

    def __init__(self, session: Session, *, handle: Handle, argv: tuple[str, ...]) -> None:
        self._session = session
        self.handle = handle
        self.args = argv
        self._out = bytearray()
        self._err = bytearray()
        self._read = 0  # bytes of _out that went out as lines
        self._returncode: int | None = None
        self._pid = 0
        self._open = True

    @property
    def pid(self) -> int:
        """Its pid on its machine."""
        if not self._pid:
            self._refresh(until="output", seconds=0)
        return self._pid

    @property
    def stdout(self) -> bytes:
        """All its standard output so far."""
        self._refresh(until="output", seconds=0)
        return bytes(self._out)

    @property
    def stderr(self) -> bytes:
        """All its standard error so far."""
        self._refresh(until="output", seconds=0)
        return bytes(self._err)

    def poll(self) -> int | None:
        """Its exit status, None while it runs; -N when signal N ended it."""
        self._refresh(until="output", seconds=0)
        return self._returncode

    def wait(self, *, timeout: float = 30.0) -> Completed:
        """Wait for its end and return all its output. After the timeout it keeps running."""
        deadline = self._deadline(timeout)
        while self._returncode is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._late(f"did not end within {timeout:g} s")
            self._refresh(until="exit", seconds=min(left, _STEP))
        return Completed(self.args, self._returncode, bytes(self._out), bytes(self._err))

    def read_line(self, *, timeout: float = 10.0) -> str:
        """The next line of standard output, without the newline. ``EOFError`` with its standard error when it ended
        instead."""
        deadline = self._deadline(timeout)
        while (end := self._out.find(b"\n", self._read)) < 0:
            if self._returncode is not None:
                end = len(self._out)
                if end > self._read:
                    break
                raise EOFError(f"{self._command} ended with {self._returncode}: {self._err.decode(errors='replace')}")
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._late(f"wrote no line within {timeout:g} s")
            self._refresh(until="output", seconds=min(left, _STEP))
        line = self._out[self._read : end].decode(errors="replace")
        self._read = min(end + 1, len(self._out))
        return line

    def lines(self, *, timeout: float = 10.0) -> Iterator[str]:
        """Its lines as they come, until it ends. ``timeout`` is for each line."""
        while True:
            try:
                line = self.read_line(timeout=timeout)
            except EOFError:
                return
            yield line

    def expect(self, text: str, *, timeout: float = 10.0) -> str:
        """Wait for a line that contains ``text``; lines before it are skipped."""
        deadline = self._deadline(timeout)
        while True:
            left = max(0.001, deadline - time.monotonic()) / self._session.target.time_scale
            line = self.read_line(timeout=left)
            if text in line:
                return line

    def write(self, data: bytes | str, *, timeout: float = 10.0) -> None:
        """Write to its standard input. ``KernelCallError``: EPIPE (it closed its input), EAGAIN (it does not read)."""
        self._write(data.encode() if isinstance(data, str) else bytes(data), end=False, timeout=timeout)

    def close_stdin(self) -> None:
        """Close its standard input: it reads the end of the file."""
        self._write(b"", end=True, timeout=1.0)

    def signal(self, number: int | str) -> None:
        """Send a signal to it and to the processes that it started: ``signal.SIGUSR1``, or "USR1".
        ``KernelCallError`` (ESRCH): it has ended."""
        self._session.one(ProcessSignal(self.handle, _signal(number)), Done)

    def kill(self) -> None:
        """Kill it now. Harmless if it has ended."""
        op = ProcessSignal(self.handle, signal.SIGKILL)
        sent = self._session.attempt(op, Done)
        if isinstance(sent, Failed) and sent.errno != errno.ESRCH:
            self._session.checked(op, sent, kind=Done)
        self.wait()

    def _write(self, data: bytes, *, end: bool, timeout: float) -> None:
        milliseconds = round(timeout * self._session.target.time_scale * 1000)
        self._session.one(ProcessWrite(self.handle, data, end, milliseconds), Done)

    def _refresh(self, *, until: str, seconds: float) -> None:
        op = ProcessRead(self.handle, len(self._out), len(self._err), until, round(seconds * 1000))
        read = self._session.one(op, Said)
        self._out += read.stdout
        self._err += read.stderr
        self._returncode, self._pid = read.returncode, read.pid

    def _deadline(self, timeout: float) -> float:
        return time.monotonic() + timeout * self._session.target.time_scale

    def _late(self, what: str) -> TimeoutError:
        where = f"on kernel {self._session.target.name}"
        return CommandTimeoutError(f"{self._command} {what} {where}", stdout=bytes(self._out), stderr=bytes(self._err))

    @property
    def _command(self) -> str:
        return " ".join(self.args)

    def close(self) -> None:
        """Kill it and forget what it wrote. Twice is harmless."""
        if self._open:
            self._open = False
            self._session.one(Close(self.handle), Done)

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.close)

    def __repr__(self) -> str:
        state = "running" if self._returncode is None else f"ended with {self._returncode}"
        return f"<Background {self._command} ({state})>"


def _signal(number: int | str) -> int:
    if isinstance(number, int) and 0 < number < signal.NSIG:
        return int(number)
    name = f"SIG{str(number).upper().removeprefix('SIG')}"
    if name not in signal.Signals.__members__:
        raise BpfUsageError(f"there is no signal {number!r}", hint='Give signal.SIGTERM, or "TERM".')
    return signal.Signals[name].value
