"""The consumer of BPF_MAP_TYPE_RINGBUF (kernel/bpf/ringbuf.c). Its mappings never leave this file.

The first page, writable, holds the consumer's position. The pages behind it are read-only: one with the producer's
position, then the data area mapped twice, so that a record that wraps can be read in one piece.

The kernel publishes a record by clearing its BUSY bit after the data. Here headers are walked first and data copied
after; the interpreter's thousands of instructions between the two loads are far more than any CPU reorders.
"""

from __future__ import annotations

import mmap
from struct import Struct

from pytest_ebpf.agent.batch import Batch
from pytest_ebpf.agent.consumers import wait_for
from pytest_ebpf.agent.handles import Entry, Refused
from pytest_ebpf.agent.maps import shape_of
from pytest_ebpf.agent.ops import Records, Result, RingDrain
from pytest_ebpf.agent.uapi import BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, MapType

__all__ = ["ring_drain"]

_HEADER = Struct("=I")
_HEADER_SIZE = 8
_LENGTH_MASK = ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT) & 0xFFFFFFFF


class _Ring:
    """One mapped ring. Positions are bytes since the ring was made."""

    def __init__(self, fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        self._mask = size - 1
        self._consumer_map = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._producer_map = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = memoryview(self._consumer_map).cast("Q")
        self._whole = memoryview(self._producer_map)
        self._producer = self._whole[:page].cast("Q")
        self._data = self._whole[page:]
        self.records: list[bytes] = []
        self.discarded = 0

    def close(self) -> None:
        for view in (self._consumer, self._producer, self._data, self._whole):
            view.release()
        self._consumer_map.close()
        self._producer_map.close()

    def consume(self) -> None:
        """Take every complete record."""
        begin = position = self._consumer[0]
        produced = self._producer[0]
        data, unpack = self._data, _HEADER.unpack_from
        base = begin & self._mask
        spans: list[tuple[int, int]] = []
        while position < produced:
            offset = base + position - begin
            header = unpack(data, offset)[0]
            if header & BPF_RINGBUF_BUSY_BIT:
                break
            length = header & _LENGTH_MASK
            start = position - begin + _HEADER_SIZE
            if header & BPF_RINGBUF_DISCARD_BIT:
                self.discarded += 1
            else:
                spans.append((start, start + length))
            position += (length + _HEADER_SIZE + 7) & ~7
        if position != begin:
            region = bytes(data[base : base + position - begin])
            self.records.extend([region[start:end] for start, end in spans])
            self._consumer[0] = position

    def take(self) -> Records:
        records = Records(tuple(self.records), 0, self.discarded)
        self.records, self.discarded = [], 0
        return records


def _ring(batch: Batch, entry: Entry) -> _Ring:
    if isinstance(entry.state, _Ring):
        return entry.state
    shape = shape_of(batch, entry)
    if shape.type != MapType.RINGBUF:
        raise Refused(f"{entry.label} is no ring buffer ({MapType(shape.type).name})")
    ring = entry.state = _Ring(entry.fd, shape.max_entries)
    entry.closers.append(ring.close)
    return ring


def ring_drain(op: RingDrain, batch: Batch) -> Result:
    """Read all there is, waiting for ``at_least`` records. Records that other readers left unread come as well."""
    entry = batch.entry(op.map)
    ring = _ring(batch, entry)

    def enough() -> bool:
        ring.consume()
        return len(ring.records) >= op.at_least

    wait_for([entry.fd], op.timeout_ms, enough=enough)
    return ring.take()
