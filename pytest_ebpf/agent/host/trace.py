"""The kernel's text output: trace_pipe and the kernel log."""

from __future__ import annotations

import os
import re
import select
import time
from errno import EAGAIN, EINVAL, EPIPE

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Refused, Table
from pytest_ebpf.agent.host.switches import open_in
from pytest_ebpf.agent.ops import Data, Kmsg, KmsgSince, Made, Result, TraceDrain, TraceOpen

__all__ = ["kmsg_since", "log_end", "trace_drain", "trace_open"]

_CHUNK = 1 << 16
_RECORD = 8192  # longer than any record of /dev/kmsg (CONSOLE_EXT_LOG_MAX)
_SLICE = 0.01
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


def trace_open(op: TraceOpen, batch: Batch) -> Result:
    """Open trace_pipe; where tracefs is not mounted, through a private mount."""
    fd = open_in("tracefs", "trace_pipe", flags=os.O_RDONLY | os.O_NONBLOCK)
    entry = batch.own(fd, "trace", name="trace_pipe", site=op.site)
    _read_all(fd)
    return Made(entry.handle)


def _read_all(fd: int) -> bytes:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(fd, _CHUNK)
        except BlockingIOError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def trace_drain(op: TraceDrain, batch: Batch) -> Result:
    """What was traced since. ``timeout_ms`` is how long to wait for the first line; poll(2) on trace_pipe may wait
    until half of the buffer is full (buffer_percent), so it is read again every 10 ms."""
    entry = batch.entry(op.trace)
    if entry.kind != "trace":
        raise Refused(f"{entry.label} is not a trace pipe")
    text = _read_all(entry.fd)
    deadline = time.monotonic() + op.timeout_ms / 1000
    poll = select.poll()
    poll.register(entry.fd, select.POLLIN)
    while not text and (left := deadline - time.monotonic()) > 0:
        poll.poll(min(left, _SLICE) * 1000)
        text = _read_all(entry.fd)
    return Data(text)


class _KernelLog:
    """An open /dev/kmsg and the sequence number of the record it will read next. Kept open, so that the log is gone
    over once and not once per test."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.next = 0
        self._news = select.poll()
        self._news.register(fd, select.POLLIN)

    @property
    def end(self) -> int:
        """``next`` while there is no such record, else -1."""
        return -1 if self._news.poll(0) else self.next

    def rewind(self) -> None:
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.next = 0

    def read(self, since: int) -> list[tuple[int, str, int]]:
        """(sequence number, line, facility) of every record from ``since`` on. Position: the end."""
        found: list[tuple[int, str, int]] = []
        while True:
            try:
                record = os.read(self._fd, _RECORD)
            except OSError as error:
                if error.errno == EPIPE:  # overwritten meanwhile: the next read goes on behind the gap
                    continue
                if error.errno in (EAGAIN, EINVAL):
                    return found
                raise
            if not record:
                return found
            prefix, _, text = record.partition(b";")
            priority, number, _ = prefix.split(b",", 2)
            sequence = int(number)
            self.next = sequence + 1
            if sequence >= since:
                found.append((sequence, _line(prefix, text), int(priority) >> 3))


def _line(prefix: bytes, text: bytes) -> str:
    micros = int(prefix.split(b",")[2])
    message = text.split(b"\n", 1)[0]
    message = _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), message)
    return f"[{micros // 1_000_000:5d}.{micros % 1_000_000:06d}] {message.decode(errors='replace')}"


def _kernel_log(batch: Batch) -> _KernelLog:
    log = batch.table.cache.get("kmsg")
    if not isinstance(log, _KernelLog):
        fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        log = batch.table.cache["kmsg"] = _KernelLog(fd)
        batch.table.add(fd, "file", name="/dev/kmsg").closers.append(lambda: _forget(batch))
    return log


def log_end(table: Table) -> int:
    """The mark of the next record of the kernel's log, -1 where that is there already, or nobody reads the log."""
    log = table.cache.get("kmsg")
    return log.end if isinstance(log, _KernelLog) else -1


def _forget(batch: Batch) -> None:
    batch.table.cache.pop("kmsg", None)


def kmsg_since(op: KmsgSince, batch: Batch) -> Result:
    """Lines as dmesg shows them."""
    log = _kernel_log(batch)
    if op.mark < 0:
        log.read(1 << 62)
        return Kmsg(log.next)
    if op.mark < log.next:
        log.rewind()
    found = log.read(op.mark)
    dropped = found[-1][0] + 1 - op.mark - len(found) if found else 0
    return Kmsg(max(log.next, op.mark), tuple(line for _, line, _ in found), dropped, tuple(who for *_, who in found))
