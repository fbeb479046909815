"""BPF_PROG_TEST_RUN, one call per packet: what a call takes beside the kernel's work is most of the time of a short
run, so everything that can be is done for all packets at once."""

from __future__ import annotations

from array import array
from errno import EINVAL, EMSGSIZE, ENOMEM
from itertools import accumulate
from struct import Struct

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Refused
from pytest_ebpf.agent.base.syscalls import BpfRow, Memory, address_of
from pytest_ebpf.agent.bpf.test_run import ATTR, CTX_ONLY, ROOM, failed_run, run_again, type_of
from pytest_ebpf.agent.host.netns import inside
from pytest_ebpf.agent.ops import Packed, ProgRunMany, RanMany, Result
from pytest_ebpf.uapi.enums import Cmd

__all__ = ["prog_run_many"]

# Fields of the attribute, in units of their size.
_WORDS, _QUADS = ATTR.size // 4, ATTR.size // 8
_RETVAL, _SIZE_IN, _SIZE_OUT, _DURATION, _DATA_IN, _DATA_OUT = 1, 2, 3, 9, 2, 3
_LONG = 1 << 16  # bytes of a packet for which Linux 6.19 and later have no memory: it is the packet's fault
_LEAST = 320  # bytes of a place; no power of two: places that are whole pages apart share lines of the CPU's cache
_MOST, _ALL_ROOM = 256, 32 << 20  # runs in a row; bytes for what comes out of them


class _Row:
    """Attributes for one run after the other, each with ``room`` bytes of its own for the packet that comes out: memory
    is taken only where the kernel writes. What goes in is read where it is."""

    __slots__ = ("_attrs", "_out", "_places", "_words", "calls", "count", "room", "size")

    def __init__(self, size: int) -> None:
        self.size, self.room = size, size + ROOM
        self.count = max(1, min(_MOST, _ALL_ROOM // self.room))
        self._out = Memory(self.count * self.room)
        self._attrs = Memory(self.count * ATTR.size)
        self.calls = BpfRow(Cmd.PROG_TEST_RUN, self._attrs, size=ATTR.size)
        self._words = self._attrs.view.cast("I")
        begin, end = self._out.address, self._out.address + self._out.size
        self._places = memoryview(array("Q", range(begin, end, self.room)))

    def load(self, fd: int, places: memoryview, *, lengths: memoryview, ctx: bytes, flags: int) -> None:
        """Write the attributes for packets at these addresses (u64), of these lengths (u32), at most ``count``."""
        count = len(lengths)
        same = bytearray(ATTR.size)
        ATTR.pack_into(same, 0, fd, 0, 0, self.room, 0, 0, 1, 0, len(ctx), 0, address_of(ctx), 0, flags, 0, 0)
        self._attrs.view[: count * ATTR.size] = same * count
        self._words[_SIZE_IN : count * _WORDS : _WORDS] = lengths
        quads = self._attrs.view.cast("Q")
        quads[_DATA_IN : count * _QUADS : _QUADS] = places
        quads[_DATA_OUT : count * _QUADS : _QUADS] = self._places[:count]

    def answers(self, count: int, *, without: list[int]) -> tuple[list[int], list[bytes], list[int]]:
        """What the first ``count`` runs returned, what came out of them, and how many nanoseconds each took."""
        words, out = count * _WORDS, self._out.array
        for index in without:
            self._words[index * _WORDS + _SIZE_OUT] = 0
        retvals, sizes, durations = (
            self._words[field:words:_WORDS].tolist() for field in (_RETVAL, _SIZE_OUT, _DURATION)
        )
        if sizes.count(sizes[0]) == count:  # as often is: half the time
            each = Struct(f"{sizes[0]}s{self.room - sizes[0]}x")
            packets = [data for (data,) in each.iter_unpack(self._out.view[: count * self.room])]
        else:
            places = range(0, count * self.room, self.room)
            packets = [out[place : place + size] for place, size in zip(places, sizes, strict=True)]
        for index in reversed(without):
            del retvals[index], packets[index], durations[index]
        return retvals, packets, durations


def _row(batch: Batch, *, longest: int) -> _Row:
    """The row that is kept from run to run."""
    row = batch.table.cache.get("test_runs")
    if not isinstance(row, _Row) or row.size < longest:
        row = batch.table.cache["test_runs"] = _Row(_LEAST << max(0, (longest - 1) // _LEAST).bit_length())
    return row


def prog_run_many(op: ProgRunMany, batch: Batch) -> Result:
    """A run per packet with ``repeat`` 1: with more, the kernel swaps the XDP dispatcher in and out around each call
    and waits for grace periods."""
    return inside(batch, op.netns, call=lambda: _many_runs(op, batch))


def _many_runs(op: ProgRunMany, batch: Batch) -> Result:
    entry = batch.entry(op.prog)
    if type_of(entry) in CTX_ONLY:
        raise Refused(f"{entry.label} takes no data: run it once per context")
    packed = Packed.of(op.data)
    places = memoryview(array("Q", accumulate(packed.lengths, initial=address_of(packed.data))))
    lengths = memoryview(array("I", packed.lengths))
    row = _row(batch, longest=max(packed.lengths, default=0))
    retvals: list[int] = []
    data: list[bytes] = []
    durations: list[int] = []
    refused: list[int] = []
    for first in range(0, len(lengths), row.count):
        some = lengths[first : first + row.count]
        count, at = len(some), 0
        row.load(entry.fd, places[first : first + count], lengths=some, ctx=op.ctx, flags=op.flags)
        out: list[int] = []
        while (at := row.calls.run(at, count)) < count:
            call = row.calls.one(at)
            result = 0 if call() >= 0 else run_again(call)
            if result and not (op.skip and _packets_fault(result, size=some[at])):
                return failed_run("ProgRunMany", entry, result=result, where=f", packet {first + at}")
            if result:
                out.append(at)
            at += 1
        more = row.answers(count, without=out)
        retvals += more[0]
        data += more[1]
        durations += more[2]
        refused += [first + index for index in out]
    return RanMany(tuple(retvals), tuple(data), tuple(durations), tuple(refused))


def _packets_fault(result: int, *, size: int) -> bool:
    return result in (-EINVAL, -EMSGSIZE) or (result == -ENOMEM and size > _LONG)
