"""The consumer of BPF_MAP_TYPE_RINGBUF (kernel/bpf/ringbuf.c). Its mappings never leave this file.

The first page, writable, holds the consumer's position. The pages behind it are read-only: one with the producer's
position, then the data area mapped twice, so that a record that wraps can be read in one piece.

The kernel publishes a record by clearing its BUSY bit after the data. Here headers are read first and data copied
after; the interpreter's thousands of instructions between the two loads are far more than any CPU reorders.

A ring with BPF_F_RB_OVERWRITE (Linux 6.19) never refuses a record: the third word of the producer's page,
``overwrite_pos``, is where the oldest record that is left begins, whatever the consumer's position.

Records of one size lie a fixed distance apart. So a thousand headers are read at once, as a column, and only where one
differs from the first are they walked one by one. The records leave in one piece, with a description of what is where.
"""

from __future__ import annotations

import mmap
from struct import Struct

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Refused
from pytest_ebpf.agent.bpf.info import object_info
from pytest_ebpf.agent.bpf.maps import map_create, shape_of
from pytest_ebpf.agent.bpf.wait import wait_for
from pytest_ebpf.agent.ops import Made, MapCreate, Region, Result, RingDrain
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.flags import MapCreateFlag
from pytest_ebpf.uapi.layouts import MAP_INFO
from pytest_ebpf.uapi.numbers import BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT

__all__ = ["map_create_read", "ring_drain"]

_HEADER = Struct("=I")
_HEADER_SIZE = 8
_MARKS = BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT
_LENGTH_MASK = ~_MARKS & 0xFFFFFFFF
_PLACE = Struct("<QI")
_OVERWRITE_POS = 2  # words into the producer's page
_ATTEMPTS = 8  # at a ring that is overwritten while it is read
_MOST_WAITING = 64 << 20  # bytes of records read ahead of anybody who asks
_COLUMN = 4096  # headers read at once: their records stay in the CPU cache until they are copied


class _Layout:
    """Where records lie in a piece of memory: runs of (first, stride, size, count)."""

    __slots__ = ("count", "runs")

    def __init__(self) -> None:
        self.runs: list[tuple[int, int, int, int]] = []
        self.count = 0

    def state(self) -> tuple[list[tuple[int, int, int, int]], int]:
        return self.runs[:], self.count

    def restore(self, state: tuple[list[tuple[int, int, int, int]], int]) -> None:
        self.runs, self.count = state

    def add(self, start: int, stride: int, *, size: int, count: int) -> None:
        self.count += count
        if self.runs:
            first, step, each, before = self.runs[-1]
            if each == size and step == stride and first + before * step == start:
                self.runs[-1] = (first, step, each, before + count)
                return
        self.runs.append((start, stride, size, count))

    def region(self, data: bytes, *, discarded: int) -> Region:
        if len(self.runs) == 1:
            first, stride, size, count = self.runs[0]
            return Region(data, count, size, stride, first, discarded=discarded)
        pack = _PLACE.pack
        places = [
            pack(at, size)
            for first, stride, size, count in self.runs
            for at in range(first, first + count * stride, stride)
        ]
        return Region(data if places else b"", self.count, places=b"".join(places), discarded=discarded)


class _Ring:
    """One mapped ring. Positions are bytes since the ring was made."""

    def __init__(self, fd: int, size: int, *, overwrites: bool = False) -> None:
        self.fds = [fd]
        self._overwrites = overwrites
        page = mmap.PAGESIZE
        self._mask = size - 1
        self._consumer_map = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._producer_map = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = memoryview(self._consumer_map).cast("Q")
        self._whole = memoryview(self._producer_map)
        self._producer = self._whole[:page].cast("Q")
        self._data = self._whole[page:]
        self._words = self._data.cast("I")
        self._clear()

    def _clear(self) -> None:
        self._layout = _Layout()
        self._parts: list[bytes] = []
        self._size = 0
        self._discarded = 0

    @property
    def count(self) -> int:
        """How many records were read and not taken yet."""
        return self._layout.count

    def close(self) -> None:
        for view in (self._consumer, self._producer, self._words, self._data, self._whole):
            view.release()
        self._consumer_map.close()
        self._producer_map.close()

    def keep_up(self) -> None:
        """Not of a ring that overwrites: it refuses nothing, and what is left in it is the point of it."""
        if not self._overwrites and self._size < _MOST_WAITING:
            self.consume(0)

    def consume(self, limit: int) -> None:
        """Take every complete record, or those that begin within the first ``limit`` bytes."""
        if not self._overwrites:
            self._consume_from(self._consumer[0], limit)
            return
        for _ in range(_ATTEMPTS):
            before = self._layout.state(), self._discarded, self._size, len(self._parts), self._consumer[0]
            begin = max(self._consumer[0], self._producer[_OVERWRITE_POS])
            try:
                self._consume_from(begin, limit)
            except IndexError:  # a header that was overwritten while it was read
                pass
            else:
                if self._producer[_OVERWRITE_POS] <= begin:
                    return
            layout, self._discarded, self._size, parts, self._consumer[0] = before
            self._layout.restore(layout)
            del self._parts[parts:]

    def _consume_from(self, begin: int, limit: int) -> None:
        position = begin
        produced = self._producer[0]
        if limit:
            produced = min(produced, begin + max(limit - self._size, 0))
        # Where a position lies in the data area, and in the region that is being put together.
        base, place = (begin & self._mask) - begin, self._size - begin
        going = True
        while position < produced and going:
            after = self._column(position + base, place=position + place, left=produced - position)
            if after:
                position += after
            else:
                position, going = self._walk(position, produced, base=base, place=place)
        if position != begin:
            self._parts.append(bytes(self._data[begin + base : position + base]))
            self._size += position - begin
            self._consumer[0] = position

    def _column(self, offset: int, *, place: int, left: int) -> int:
        """The bytes of the next records, when they are all as long as the first and complete; else 0."""
        words, at = self._words, offset // 4
        header = words[at]
        if header & _MARKS:
            return 0
        stride = (header + _HEADER_SIZE + 7) & ~7
        count = min(_COLUMN, left // stride)
        step = stride // 4
        if not count or words[at : at + count * step : step].tobytes() != _HEADER.pack(header) * count:
            return 0
        self._layout.add(place + _HEADER_SIZE, stride, size=header, count=count)
        return count * stride

    def _walk(self, position: int, produced: int, *, base: int, place: int) -> tuple[int, bool]:
        """One record after the other -> (how far it came, whether there may be more)."""
        words, layout = self._words, self._layout
        for _ in range(_COLUMN):
            if position >= produced:
                break
            header = words[(position + base) // 4]
            if header & BPF_RINGBUF_BUSY_BIT:
                return position, False
            length = header & _LENGTH_MASK
            stride = (length + _HEADER_SIZE + 7) & ~7
            if header & BPF_RINGBUF_DISCARD_BIT:
                self._discarded += 1
            else:
                layout.add(position + place + _HEADER_SIZE, stride, size=length, count=1)
            position += stride
        return position, True

    def take(self) -> Region:
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        region = self._layout.region(data, discarded=self._discarded)
        self._clear()
        return region


def _ring(batch: Batch, entry: Entry) -> _Ring:
    if isinstance(entry.state, _Ring):
        return entry.state
    shape = shape_of(batch, entry)
    if shape.type != MapType.RINGBUF:
        raise Refused(f"{entry.label} is not a ring buffer ({MapType(shape.type).name})")
    flags = MAP_INFO.get(object_info(entry.fd), name="map_flags")
    overwrites = bool(flags & MapCreateFlag.RB_OVERWRITE)
    ring = entry.state = _Ring(entry.fd, shape.max_entries, overwrites=overwrites)
    entry.closers.append(ring.close)
    return ring


def map_create_read(op: MapCreate, batch: Batch) -> Result:
    """As ``map_create``. The ring that was made is read while a command of the test runs, unless it is pinned: then it
    may be the command that reads it."""
    result = map_create(op, batch)
    if op.type == MapType.RINGBUF and isinstance(result, Made):
        entry = batch.entry(result.handle)
        entry.reader = lambda: _ring(batch, entry)
    return result


def ring_drain(op: RingDrain, batch: Batch) -> Result:
    """Read all there is, waiting for ``at_least`` records. Records that other readers left unread come as well."""
    entry = batch.entry(op.map)
    ring = _ring(batch, entry)

    def enough() -> bool:
        ring.consume(op.limit)
        return ring.count >= op.at_least

    wait_for([entry.fd], op.timeout_ms, enough=enough)
    return ring.take()
