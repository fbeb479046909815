"""The producer of BPF_MAP_TYPE_USER_RINGBUF (kernel/bpf/ringbuf.c, Linux 6.1): the roles of ``rings``, reversed.

The first page, read-only here, holds the kernel's position. The pages behind it are writable: one with ours, then the
data area mapped twice. A record is complete before the position behind it is published, which is a single store.
"""

from __future__ import annotations

import mmap
from errno import ENOSPC
from struct import Struct

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Refused
from pytest_ebpf.agent.bpf.maps import shape_of
from pytest_ebpf.agent.ops import Done, Failed, Result, RingProduce
from pytest_ebpf.uapi.enums import MapType

__all__ = ["ring_produce"]

_HEADER = Struct("=II")


class _UserRing:
    """One mapped ring. Positions are bytes since the ring was made."""

    def __init__(self, fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        self._size = size
        self._consumer_map = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ, offset=0)
        self._producer_map = mmap.mmap(
            fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=page
        )
        self._consumer = memoryview(self._consumer_map).cast("Q")
        self._whole = memoryview(self._producer_map)
        self._producer = self._whole[:page].cast("Q")
        self._data = self._whole[page:]

    def close(self) -> None:
        for view in (self._consumer, self._producer, self._data, self._whole):
            view.release()
        self._consumer_map.close()
        self._producer_map.close()

    def put(self, record: bytes) -> bool:
        """False when there is no room."""
        position = self._producer[0]
        span = (len(record) + _HEADER.size + 7) & ~7
        if position - self._consumer[0] + span > self._size:
            return False
        at = position % self._size
        _HEADER.pack_into(self._data, at, len(record), 0)
        self._data[at + _HEADER.size : at + _HEADER.size + len(record)] = record
        self._producer[0] = position + span
        return True


def _ring(batch: Batch, entry: Entry) -> _UserRing:
    if isinstance(entry.state, _UserRing):
        return entry.state
    shape = shape_of(batch, entry)
    if shape.type != MapType.USER_RINGBUF:
        raise Refused(f"{entry.label} is not a user ring buffer ({MapType(shape.type).name})")
    ring = entry.state = _UserRing(entry.fd, shape.max_entries)
    entry.closers.append(ring.close)
    return ring


def ring_produce(op: RingProduce, batch: Batch) -> Result:
    """Records for programs to drain with bpf_user_ringbuf_drain(), oldest first."""
    entry = batch.entry(op.map)
    ring = _ring(batch, entry)
    for done, record in enumerate(op.records):
        if not ring.put(record):
            text = f"{entry.label}: there was room for {done} of {len(op.records)} records"
            return Failed("RingProduce", ENOSPC, text)
    return Done()
