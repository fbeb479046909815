"""The agent: read a frame, execute, write a frame, until the other end hangs up.

Speaks over standard input and output, or over a named virtio port (``--port NAME``). What ops or libraries print goes
to standard error: the protocol keeps the real output for itself.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Protocol

from pytest_ebpf.agent.base.handles import Table
from pytest_ebpf.agent.base.ledger import Ledger, open_ledger
from pytest_ebpf.agent.host.sweep import sweep
from pytest_ebpf.agent.host.trace import log_end
from pytest_ebpf.agent.ops import Failed, NotRun
from pytest_ebpf.agent.protocol.execute import execute
from pytest_ebpf.agent.protocol.wire import Alive, BadRequest, Codec, Decoder, Hello, Reply, Request, WireError

__all__ = ["Reader", "Writer", "main", "serve"]

_CHUNK = 1 << 20
_PORTS = "/dev/virtio-ports"
_PORT_CLASS = "/sys/class/virtio-ports"
_PORT_PATIENCE = 10.0
_BEAT = 1.0  # seconds between two signs of life


class Reader(Protocol):
    """An unbuffered source of bytes."""

    def read(self, n: int, /) -> bytes | None:
        """One to ``n`` bytes; none at the end."""
        ...


class Writer(Protocol):
    """An unbuffered sink."""

    def write(self, data: memoryview, /) -> int | None:
        """How many bytes were taken."""
        ...


def serve(
    reader: Reader,
    writer: Writer,
    *,
    settings: dict[str, bytes] | None = None,
    open_ledger: Callable[[str], Ledger | None] = lambda boot: None,
) -> None:
    """Say hello, then answer every request. Returns when the input ends; everything is closed by then. ``settings``:
    the values of /proc/sys, if they were read before. ``open_ledger``: of a machine that outlives the agent."""
    codec, table = Codec(), Table(open_ledger=open_ledger)
    table.cache["setting values"] = settings
    decoder = Decoder(codec)
    pulse = _Pulse(writer, codec.encode(Alive()))
    try:
        pulse.send(codec.encode(Hello(table.boot, ".".join(map(str, sys.version_info[:3])), os.getpid())))
        while data := reader.read(min(max(decoder.missing, 1 << 16), _CHUNK)):
            try:
                messages = decoder.feed(data)
            except BadRequest as error:
                pulse.send(codec.encode(Reply(error.id, error=str(error))))
                continue
            for message in messages:
                if not isinstance(message, Request):
                    raise WireError(f"an agent takes requests, not {type(message).__name__}")
                pulse.busy.set()
                reply = _answer(message, table, codec=codec)
                pulse.busy.clear()
                pulse.send(reply)
    except (BrokenPipeError, ConnectionResetError):
        return
    finally:
        table.close_all()


def _answer(request: Request, table: Table, *, codec: Codec) -> bytes:
    """The reply. An agent that crashes reports it and continues."""
    try:
        results = execute(request.ops, table=table, scope=request.scope)
        return codec.encode(Reply(request.id, tuple(results), logged=log_end(table)))
    except (WireError, MemoryError) as error:  # the results are too large, or there is no room for them
        return codec.encode(Reply(request.id, error=f"{type(error).__name__}: {error}"))
    except Exception:
        failed = Failed("agent", 0, traceback.format_exc())
        return codec.encode(Reply(request.id, (failed, *[NotRun()] * (len(request.ops) - 1))))


class _Pulse:
    """The one way out. While a request is ``busy``, a thread says now and then that the agent is alive: bpf(2) lets
    other threads run, so only a kernel that hangs, or a machine that stands still, is silent."""

    def __init__(self, writer: Writer, beat: bytes) -> None:
        self._writer = writer
        self._beat = beat
        self._lock = threading.Lock()
        self.busy = threading.Event()
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    def send(self, data: bytes) -> None:
        """A whole frame."""
        with self._lock:
            view = memoryview(data)
            while view:
                view = view[self._writer.write(view) or 0 :]

    def _run(self) -> None:
        try:
            while self.busy.wait():
                time.sleep(_BEAT)
                if self.busy.is_set():
                    self.send(self._beat)
        except (OSError, ValueError):
            return  # nobody is there, or the writer is closed: the main thread finds out for itself


def main(argv: list[str]) -> int:
    """``[]`` or ``["--port", NAME]``. Exit status 2 for anything else."""
    if argv and (len(argv) != 2 or argv[0] != "--port"):
        print(f"usage: agent [--port NAME], not {' '.join(argv)}", file=sys.stderr)
        return 2
    if argv:
        fd_in = fd_out = os.open(_find_port(argv[1]), os.O_RDWR | os.O_CLOEXEC)
    else:
        fd_in, fd_out = os.dup(0), os.dup(1)
        os.dup2(2, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _watch(fd_in)
    with open(fd_in, "rb", buffering=0, closefd=False) as reader, open(fd_out, "wb", buffering=0) as writer:
        try:
            if argv:
                serve(reader, writer)
            else:  # a process of the host
                sweep()
                serve(reader, writer, open_ledger=open_ledger)
        except WireError as error:
            print(f"agent: {error}", file=sys.stderr)
            return 1
    return 0


def _watch(fd: int) -> None:
    """End with the parent process, also in the middle of an op that waits: a hang-up becomes SIGTERM."""
    import select
    import signal

    def leave(signum: int, frame: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    # Ctrl-C at the terminal is for pytest, which then hangs up. Not SIG_IGN: commands would inherit that.
    signal.signal(signal.SIGINT, lambda signum, frame: None)

    def watch() -> None:
        poll = select.poll()
        poll.register(fd, select.POLLRDHUP)
        poll.poll()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="hang-up", daemon=True).start()


def _find_port(name: str) -> str:
    """The device of a named port. It may come a moment after the driver, and udev's link may never come."""
    deadline = time.monotonic() + _PORT_PATIENCE
    while True:
        if os.path.exists(f"{_PORTS}/{name}"):
            return f"{_PORTS}/{name}"
        for port in os.listdir(_PORT_CLASS) if os.path.isdir(_PORT_CLASS) else ():
            with open(f"{_PORT_CLASS}/{port}/name", encoding="utf-8") as file:
                if file.read().strip() == name:
                    return f"/dev/{port}"
        if time.monotonic() > deadline:
            raise FileNotFoundError(f"no virtio port named {name}")
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
