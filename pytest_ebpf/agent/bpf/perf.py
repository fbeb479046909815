"""The consumer of BPF_MAP_TYPE_PERF_EVENT_ARRAY (kernel/events/ring_buffer.c): one buffer per online CPU.

Samples carry the time they were written, so records of several CPUs come in order.
"""

from __future__ import annotations

import mmap
import os
from errno import EINVAL, ENODEV
from struct import Struct

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Refused
from pytest_ebpf.agent.base.syscalls import address_of, bpf, perf_event_open, perf_ioctl
from pytest_ebpf.agent.base.sysfs import cpu_set, read_text
from pytest_ebpf.agent.bpf.maps import elem_attr, shape_of
from pytest_ebpf.agent.bpf.wait import wait_for
from pytest_ebpf.agent.ops import Done, PerfDrain, PerfOpen, Records, Result
from pytest_ebpf.uapi import numbers
from pytest_ebpf.uapi.enums import Cmd, MapType
from pytest_ebpf.uapi.layouts import PERF_EVENT_ATTR

__all__ = ["perf_drain", "perf_open"]

_ATTR_SIZE = 112
_HEAD, _TAIL, _DATA_OFFSET, _DATA_SIZE = 1024 // 8, 1032 // 8, 1040 // 8, 1048 // 8  # struct perf_event_mmap_page
_RECORD = Struct("=IHH")
_SAMPLE = Struct("=QI")
_LOST = Struct("=QQ")
_COUNTS = Struct("=QQ")  # of read(2): the value of the event, lost records
_FDS = Struct("=I")
_MOST_WAITING = 1_000_000  # records read ahead of anybody who asks


class _CpuBuffer:
    """The buffer of one CPU."""

    def __init__(self, cpu: int, pages: int) -> None:
        self.cpu = cpu
        self.fd, self.counts_lost = _open_event(cpu)
        self._told = 0  # lost records
        try:
            self._map = mmap.mmap(self.fd, (1 + pages) * mmap.PAGESIZE, mmap.MAP_SHARED)
        except OSError:
            os.close(self.fd)
            raise
        self._view = memoryview(self._map)
        self._words = self._view[: mmap.PAGESIZE].cast("Q")
        start = self._words[_DATA_OFFSET] or mmap.PAGESIZE
        self._data = self._view[start : start + (self._words[_DATA_SIZE] or pages * mmap.PAGESIZE)]

    def close(self) -> None:
        for view in (self._words, self._data, self._view):
            view.release()
        self._map.close()
        os.close(self.fd)

    def lost(self) -> int:
        """How many records the kernel lost since the last look; 0 where it does not count them."""
        if not self.counts_lost:
            return 0
        _, count = _COUNTS.unpack(os.read(self.fd, _COUNTS.size))
        fresh: int = count - self._told
        self._told = count
        return fresh

    def read(self) -> bytes:
        """Everything written since the last read, in one piece."""
        head, tail = self._words[_HEAD], self._words[_TAIL]
        if head == tail:
            return b""
        size = len(self._data)
        start, end = tail % size, head % size
        data = bytes(self._data[start:end]) if start < end else bytes(self._data[start:]) + bytes(self._data[:end])
        self._words[_TAIL] = head
        return data


def _open_event(cpu: int) -> tuple[int, bool]:
    """An event for the output of programs -> (fd, whether reading it tells of lost records: Linux 6.0)."""
    try:
        return _event(cpu, numbers.PERF_FORMAT_LOST), True
    except OSError as error:
        if error.errno != EINVAL:
            raise
    return _event(cpu, 0), False


def _event(cpu: int, read_format: int) -> int:
    attr = PERF_EVENT_ATTR.pack(
        type=numbers.PERF_TYPE_SOFTWARE,
        size=_ATTR_SIZE,
        config=numbers.PERF_COUNT_SW_BPF_OUTPUT,
        sample_period=1,
        sample_type=numbers.PERF_SAMPLE_TIME | numbers.PERF_SAMPLE_RAW,
        read_format=read_format,
        wakeup_events=1,
    ).ljust(_ATTR_SIZE, b"\0")
    return perf_event_open(attr, pid=-1, cpu=cpu, flags=numbers.PERF_FLAG_FD_CLOEXEC)


class _PerfBuffers:
    """The buffers of one map, and what was read from them."""

    def __init__(self) -> None:
        self.buffers: list[_CpuBuffer] = []
        self.samples: list[tuple[int, int, bytes]] = []
        self.lost = 0

    def close(self) -> None:
        for buffer in self.buffers:
            buffer.close()
        self.buffers.clear()

    def consume(self) -> None:
        for buffer in self.buffers:
            data = buffer.read()
            self.lost += buffer.lost()
            offset = 0
            while offset + _RECORD.size <= len(data):
                kind, _, size = _RECORD.unpack_from(data, offset)
                body = offset + _RECORD.size
                if kind == numbers.PERF_RECORD_SAMPLE:
                    time, raw = _SAMPLE.unpack_from(data, body)
                    body += _SAMPLE.size
                    self.samples.append((time, len(self.samples), data[body : body + raw]))
                elif kind == numbers.PERF_RECORD_LOST and not buffer.counts_lost:
                    self.lost += _LOST.unpack_from(data, body)[1]
                offset += max(size, _RECORD.size)

    @property
    def fds(self) -> list[int]:
        return [buffer.fd for buffer in self.buffers]

    def keep_up(self) -> None:
        if len(self.samples) < _MOST_WAITING:
            self.consume()

    def take(self) -> Records:
        self.samples.sort()
        all_lost = all(buffer.counts_lost for buffer in self.buffers)
        records = Records(tuple(data for _, _, data in self.samples), self.lost, all_lost=all_lost)
        self.samples, self.lost = [], 0
        return records


def perf_open(op: PerfOpen, batch: Batch) -> Result:
    """``pages`` must be a power of two, as the kernel wants it."""
    entry = batch.entry(op.map)
    shape = shape_of(batch, entry)
    if shape.type != MapType.PERF_EVENT_ARRAY:
        raise Refused(f"{entry.label} is not a perf event array ({MapType(shape.type).name})")
    if isinstance(entry.state, _PerfBuffers):
        return Done()
    if op.pages < 1 or op.pages & (op.pages - 1):
        raise Refused(f"a perf buffer has 1, 2, 4, 8 … pages, not {op.pages}")
    opened = _PerfBuffers()
    try:
        for cpu in cpu_set(read_text("/sys/devices/system/cpu/online", default="0")):
            if cpu < shape.max_entries:
                _open_cpu(opened, entry, cpu=cpu, pages=op.pages)
    except OSError:
        opened.close()
        raise
    entry.state = opened
    entry.reader = lambda: opened
    entry.closers.append(opened.close)
    return Done()


def _open_cpu(opened: _PerfBuffers, entry: Entry, *, cpu: int, pages: int) -> None:
    try:
        buffer = _CpuBuffer(cpu, pages)
    except OSError as error:
        if error.errno == ENODEV:  # went offline since the list was read
            return
        raise
    opened.buffers.append(buffer)
    key, value = _FDS.pack(cpu), _FDS.pack(buffer.fd)
    bpf(Cmd.MAP_UPDATE_ELEM, elem_attr(entry.fd, address_of(key), value=address_of(value)))
    perf_ioctl(buffer.fd, numbers.PERF_EVENT_IOC_ENABLE)


def perf_drain(op: PerfDrain, batch: Batch) -> Result:
    """Records as the kernel frames them: what the program wrote, padded with zeroes to a multiple of 8 less 4."""
    entry = batch.entry(op.map)
    opened = entry.state
    if not isinstance(opened, _PerfBuffers):
        raise Refused(f"{entry.label} has no perf buffers: PerfOpen comes first")

    def enough() -> bool:
        opened.consume()
        return len(opened.samples) >= op.at_least

    wait_for(opened.fds, op.timeout_ms, enough=enough)
    return opened.take()
