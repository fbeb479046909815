"""Processes that run beside the test: a thread each reads what they say, so that none waits for a reader."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from errno import EAGAIN, ESRCH

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Refused
from pytest_ebpf.agent.host.spawn import READ_EVERY, Running, event_readers, launch
from pytest_ebpf.agent.ops import Done, Failed, Made, Obj, ProcessRead, ProcessSignal, ProcessWrite, Result, Said, Start

__all__ = ["process_read", "process_signal", "process_write", "start"]


class _Background:
    """A process, its output and how it ended."""

    def __init__(self, process: subprocess.Popen[bytes], *, stdin: bytes) -> None:
        self.process = process
        self.news = threading.Condition()
        self.running = Running(process, stdin=stdin, heard=self._tell)
        self.over = False
        self._reader = threading.Thread(target=self._read, name="process", daemon=True)
        self._reader.start()

    def _tell(self) -> None:
        with self.news:
            self.news.notify_all()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):  # closed under way
            self.running.finish(math.inf)
        with self.news:
            self.over = True
            self.news.notify_all()

    @property
    def returncode(self) -> int | None:
        """None while it runs. It is not reaped before the end, so that its number stays its own."""
        if self.process.returncode is not None:
            return self.process.returncode
        info = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if info is None or not self.over:
            return None
        return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status

    def end(self) -> None:
        """Kill what still runs."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._reader.join(2.0)
        self.running.kill()
        self.process.wait()


def start(op: Start, batch: Batch) -> Result:
    """A process of the scope."""
    process = launch(op.command, batch, by="Start", pipe=True)
    if isinstance(process, Failed):
        return process
    background = _Background(process, stdin=op.command.stdin)
    entry = batch.own(-1, "process", name=op.command.argv[0], site=op.site)
    entry.state = background
    entry.closers.append(background.end)
    return Made(entry.handle)


def _found(batch: Batch, process: Obj) -> _Background:
    entry = batch.entry(process)
    if not isinstance(entry.state, _Background):
        raise Refused(f"{entry.label} is not a process")
    return entry.state


def process_read(op: ProcessRead, batch: Batch) -> Result:
    """What there is, after waiting for something new or for the end."""
    background = _found(batch, op.process)
    running = background.running

    def enough() -> bool:
        news = op.until == "output" and (len(running.stdout) > op.out or len(running.stderr) > op.err)
        return news or background.over

    _wait_for(background, enough, batch=batch, seconds=op.timeout_ms / 1000)
    with background.news:
        out, err = bytes(running.stdout[op.out :]), bytes(running.stderr[op.err :])
    return Said(out, err, background.returncode, background.process.pid)


def _wait_for(background: _Background, enough: Callable[[], bool], *, batch: Batch, seconds: float) -> None:
    """Events of maps are read meanwhile: the process may cause more than fit their buffers."""
    readers, deadline = event_readers(batch), time.monotonic() + seconds
    while True:
        left = max(0.0, deadline - time.monotonic())
        with background.news:
            if background.news.wait_for(enough, min(left, READ_EVERY) if readers else left) or left <= 0:
                break
        for reader in readers:
            reader.keep_up()
    for reader in readers:
        reader.keep_up()


def process_write(op: ProcessWrite, batch: Batch) -> Result:
    """All of it, as far as the process reads."""
    background = _found(batch, op.process)
    pipe = background.process.stdin
    if pipe is None or pipe.closed:
        raise Refused("the standard input of the process was closed before")
    ready = select.poll()
    ready.register(pipe.fileno(), select.POLLOUT)
    view, deadline = memoryview(op.data), time.monotonic() + op.timeout_ms / 1000
    while view:
        ready.poll(max(0.0, deadline - time.monotonic()) * 1000)
        with contextlib.suppress(BlockingIOError):
            view = view[os.write(pipe.fileno(), view[: 1 << 16]) :]
        if view and time.monotonic() >= deadline:
            words = f"the process does not read: {len(op.data) - len(view)} of {len(op.data)} bytes went in"
            return Failed("ProcessWrite", EAGAIN, words)
    if op.end:
        pipe.close()
    return Done()


def process_signal(op: ProcessSignal, batch: Batch) -> Result:
    """To the whole group."""
    background = _found(batch, op.process)
    if background.returncode is not None:
        return Failed("ProcessSignal", ESRCH, f"the process is over; it ended with {background.returncode}")
    os.killpg(background.process.pid, op.signal)
    return Done()
