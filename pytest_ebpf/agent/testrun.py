"""BPF_PROG_TEST_RUN: one call, or one per packet."""

from __future__ import annotations

from errno import EINTR, ENOSPC
from struct import Struct

from pytest_ebpf.agent.batch import Batch
from pytest_ebpf.agent.handles import Entry, Refused
from pytest_ebpf.agent.info import object_info
from pytest_ebpf.agent.ops import Failed, ProgRun, ProgRunMany, Ran, RanMany, Result
from pytest_ebpf.agent.syscalls import Memory, address_of, bpf_at, error_text, signals_held_back
from pytest_ebpf.agent.uapi import BPF_F_TEST_XDP_LIVE_FRAMES, PROG_INFO, Cmd, ProgType

__all__ = ["prog_run", "prog_run_many"]

# prog_fd, retval, data_size_in, data_size_out, data_in, data_out, repeat, duration, ctx_size_in, ctx_size_out, ctx_in,
# ctx_out, flags, cpu, batch_size
_ATTR = Struct("=IIIIQQIIIIQQIII4x")
_TEST_RUN = int(Cmd.PROG_TEST_RUN)
# A program may add as much as fits a page to an XDP frame, more to an skb. The room costs nothing: the kernel writes
# what there is, and the buffer is kept.
_ROOM = 64 << 10
_CTX_ROOM = 1024
_RETRIES = 3
# Their context is all they have: no data, no context out, no repeat (net/bpf/test_run.c, bpf_prog_test_run_syscall and
# bpf_prog_test_run_raw_tp refuse them).
_CTX_ONLY = frozenset({ProgType.SYSCALL, ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE})


class _Scratch:
    """Buffers kept from run to run."""

    __slots__ = ("attr", "ctx", "data", "source")

    def __init__(self) -> None:
        self.attr = Memory(_ATTR.size)
        self.ctx = Memory(_CTX_ROOM)
        self.data = Memory(2 * _ROOM)
        self.source = Memory(_ROOM)

    def input(self, data: bytes) -> int:
        """The address of ``data``, copied in; 0 for none."""
        size = len(data)
        if not size:
            return 0
        if self.source.size < size:
            self.source = Memory(size)
        self.source.view[:size] = data
        return self.source.address

    def data_room(self, size: int) -> Memory:
        if self.data.size < size:
            self.data = Memory(size)
        return self.data

    def ctx_room(self, size: int) -> Memory:
        if self.ctx.size < size:
            self.ctx = Memory(size)
        return self.ctx


def _scratch(batch: Batch) -> _Scratch:
    scratch = batch.table.cache.get("test_run")
    if not isinstance(scratch, _Scratch):
        scratch = batch.table.cache["test_run"] = _Scratch()
    return scratch


def _type(entry: Entry) -> int:
    if isinstance(entry.state, int):
        return entry.state
    if entry.kind != "prog":
        raise Refused(f"{entry.label} is not a program")
    entry.state = kind = PROG_INFO.get(object_info(entry.fd), name="type")
    return kind


def _call(attr: Memory) -> int:
    """The call, again when a signal interrupted it, at last with signals held back. Older kernels look for signals
    only after the run, so there an interrupted program has run once more than asked for."""
    for _ in range(_RETRIES):
        result = bpf_at(_TEST_RUN, attr.address, size=_ATTR.size)
        if result != -EINTR:
            return result
    with signals_held_back():
        return bpf_at(_TEST_RUN, attr.address, size=_ATTR.size)


def prog_run(op: ProgRun, batch: Batch) -> Result:
    """One call."""
    entry = batch.entry(op.prog)
    type = _type(entry)
    scratch = _scratch(batch)
    if type in _CTX_ONLY:
        return _run_on_ctx(op, entry, scratch=scratch)
    live = op.flags & BPF_F_TEST_XDP_LIVE_FRAMES
    room = op.data_out_size
    if room is None:
        room = len(op.data) + _ROOM if op.data and not live else 0
    ctx_room = op.ctx_out_size
    if ctx_room is None:
        ctx_room = max(len(op.ctx), _CTX_ROOM) if op.ctx and not live else 0
    result, fields = _run_once(op, entry, scratch=scratch, room=room, ctx_room=ctx_room)
    if result == -ENOSPC and op.data_out_size is None and fields[3] > room > 0:
        room = fields[3]
        result, fields = _run_once(op, entry, scratch=scratch, room=room, ctx_room=ctx_room)
    # With a room chosen by the caller ENOSPC only says that there was more: everything else was filled in.
    if result < 0 and not (result == -ENOSPC and op.data_out_size is not None):
        return _failed("ProgRun", entry, result=result)
    data = bytes(scratch.data.view[: min(fields[3], room)]) if room else b""
    ctx = bytes(scratch.ctx.view[: min(fields[9], ctx_room)]) if ctx_room else b""
    return Ran(fields[1], data, ctx, fields[7])


def _run_once(op: ProgRun, entry: Entry, *, scratch: _Scratch, room: int, ctx_room: int) -> tuple[int, tuple[int, ...]]:
    data, ctx, attr = scratch.data_room(room), scratch.ctx_room(ctx_room), scratch.attr
    _ATTR.pack_into(
        attr.view,
        0,
        entry.fd,
        0,
        len(op.data),
        room,
        scratch.input(op.data),
        data.address if room else 0,
        op.repeat,
        0,
        len(op.ctx),
        ctx_room,
        address_of(op.ctx),
        ctx.address if ctx_room else 0,
        op.flags,
        op.cpu,
        op.batch_size,
    )
    return _call(attr), _ATTR.unpack_from(attr.view)


def _run_on_ctx(op: ProgRun, entry: Entry, *, scratch: _Scratch) -> Result:
    """A SYSCALL program changes its context in place."""
    size = len(op.ctx)
    ctx, attr = scratch.ctx_room(size), scratch.attr
    ctx.view[:size] = op.ctx
    _ATTR.pack_into(
        attr.view, 0, entry.fd, 0, len(op.data), 0, address_of(op.data), 0, 0, 0, size, 0,
        ctx.address if size else 0, 0, op.flags, op.cpu, op.batch_size,
    )  # fmt: skip
    result = _call(attr)
    if result < 0:
        return _failed("ProgRun", entry, result=result)
    fields = _ATTR.unpack_from(attr.view)
    return Ran(fields[1], b"", bytes(ctx.view[:size]), fields[7])


def _failed(op: str, entry: Entry, *, result: int, where: str = "") -> Failed:
    return Failed(op, -result, f"{entry.label}{where}: {error_text(-result)}")


def prog_run_many(op: ProgRunMany, batch: Batch) -> Result:
    """A tight loop with ``repeat`` 1: with more, the kernel swaps the XDP dispatcher in and out around each call and
    waits for grace periods."""
    entry = batch.entry(op.prog)
    if _type(entry) in _CTX_ONLY:
        raise Refused(f"{entry.label} takes no data: run it once per context")
    scratch = _scratch(batch)
    longest = max(map(len, op.data), default=0)
    room = longest + _ROOM
    source, out, attr = Memory(longest), scratch.data_room(room), scratch.attr
    _ATTR.pack_into(
        attr.view, 0, entry.fd, 0, 0, room, source.address, out.address, 1, 0, len(op.ctx), 0,
        address_of(op.ctx), 0, op.flags, 0, 0,
    )  # fmt: skip
    words = attr.view.cast("I")
    source_view, out_view, address, size = source.view, out.view, attr.address, _ATTR.size
    retvals, packets, durations = [], [], []
    for index, packet in enumerate(op.data):
        length = len(packet)
        source_view[:length] = packet
        words[2] = length
        words[3] = room
        result = bpf_at(_TEST_RUN, address, size=size)
        if result < 0 and (result != -EINTR or (result := _call(attr)) < 0):
            return _failed("ProgRunMany", entry, result=result, where=f", packet {index}")
        retvals.append(words[1])
        packets.append(bytes(out_view[: words[3]]))
        durations.append(words[9])
    return RanMany(tuple(retvals), tuple(packets), tuple(durations))
