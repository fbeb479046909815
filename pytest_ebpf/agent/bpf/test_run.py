"""BPF_PROG_TEST_RUN, one call. ``run_many`` has the calls for many packets."""

from __future__ import annotations

from collections.abc import Callable
from errno import EINTR, ENOSPC
from struct import Struct

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Refused
from pytest_ebpf.agent.base.syscalls import Memory, address_of, bpf_prepared, error_text, last_errno, signals_held_back
from pytest_ebpf.agent.bpf.info import object_info
from pytest_ebpf.agent.host.netns import inside
from pytest_ebpf.agent.ops import Failed, ProgRun, Ran, Result
from pytest_ebpf.uapi.enums import Cmd, ProgType
from pytest_ebpf.uapi.layouts import PROG_INFO
from pytest_ebpf.uapi.numbers import BPF_F_TEST_XDP_LIVE_FRAMES

__all__ = ["ATTR", "CTX_ONLY", "ROOM", "failed_run", "prog_run", "run_again", "type_of"]

# prog_fd, retval, data_size_in, data_size_out, data_in, data_out, repeat, duration, ctx_size_in, ctx_size_out, ctx_in,
# ctx_out, flags, cpu, batch_size
ATTR = Struct("=IIIIQQIIIIQQIII4x")
_RETVAL, _DATA_SIZE_IN, _DATA_SIZE_OUT, _DURATION, _CTX_SIZE_OUT = 1, 2, 3, 9, 11  # the attribute as u32
# A program may add as much as fits a page to an XDP frame, more to an skb. The room costs nothing: the kernel writes
# what there is, and the buffer is kept.
ROOM = 64 << 10
_CTX_ROOM = 1024
_RETRIES = 3
# Their context is all they have: no data, no context out, no repeat (net/bpf/test_run.c, bpf_prog_test_run_syscall and
# bpf_prog_test_run_raw_tp refuse them).
CTX_ONLY = frozenset({ProgType.SYSCALL, ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE})


def run_again(call: Callable[[], int]) -> int:
    """After a ``call`` that failed: again when a signal interrupted it, at last with signals held back. Older kernels
    look for signals only after the run, so there an interrupted program has run once more than asked for. 0 or
    -errno."""
    for _ in range(_RETRIES):
        if (errno := last_errno()) != EINTR:
            return -errno
        if call() >= 0:
            return 0
    with signals_held_back():
        return 0 if call() >= 0 else -last_errno()


class _Scratch:
    """The attribute and the buffers, kept from run to run."""

    __slots__ = ("attr", "bpf", "ctx", "data", "source", "words")

    def __init__(self) -> None:
        self.attr = Memory(ATTR.size)
        self.words = self.attr.view.cast("I")
        self.bpf = bpf_prepared(Cmd.PROG_TEST_RUN, self.attr)
        self.ctx = Memory(_CTX_ROOM)
        self.data = Memory(2 * ROOM)
        self.source = Memory(ROOM)

    def call(self) -> int:
        """The call. 0 or -errno."""
        return 0 if self.bpf() >= 0 else run_again(self.bpf)

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


class _Plain:
    """As ``_Scratch``, for the most frequent run: one packet and nothing else. Only what differs from packet to packet
    is written to the attribute."""

    __slots__ = ("_array", "_attr", "_bpf", "_data", "_fd", "_source", "_source_view", "_words")

    def __init__(self) -> None:
        self._attr, self._source, self._data = Memory(ATTR.size), Memory(ROOM), Memory(2 * ROOM)
        ATTR.pack_into(
            self._attr.view, 0, 0, 0, 0, 0, self._source.address, self._data.address, 1, 0, 0, 0, 0, 0, 0, 0, 0
        )
        self._words = self._attr.view.cast("I")
        self._bpf = bpf_prepared(Cmd.PROG_TEST_RUN, self._attr)
        self._source_view, self._array = self._source.view, self._data.array
        self._fd = 0

    def run(self, fd: int, data: bytes) -> Ran | None:
        """What came of it; None when the call failed, whose errno is ``last_errno()``."""
        words = self._words
        if fd != self._fd:
            words[0] = self._fd = fd
        words[_DATA_SIZE_IN] = size = len(data)
        words[_DATA_SIZE_OUT] = size + ROOM
        self._source_view[:size] = data
        if self._bpf() < 0:
            return None
        return Ran(words[_RETVAL], self._array[: words[_DATA_SIZE_OUT]], b"", words[_DURATION])


def _plain(batch: Batch) -> _Plain:
    cache = batch.table.cache
    if "plain_run" not in cache:
        cache["plain_run"] = _Plain()
    return cache["plain_run"]  # type: ignore[return-value]  # nobody else uses this key


def _scratch(batch: Batch) -> _Scratch:
    scratch = batch.table.cache.get("test_run")
    if not isinstance(scratch, _Scratch):
        scratch = batch.table.cache["test_run"] = _Scratch()
    return scratch


def type_of(entry: Entry) -> int:
    """The kernel's number of the type of a program. Raises ``Refused`` for anything else."""
    if isinstance(entry.state, int):
        return entry.state
    if entry.kind != "prog":
        raise Refused(f"{entry.label} is not a program")
    entry.state = kind = PROG_INFO.get(object_info(entry.fd), name="type")
    return kind


def prog_run(op: ProgRun, batch: Batch) -> Result:
    """One call."""
    return _one_run(op, batch) if op.netns is None else inside(batch, op.netns, call=lambda: _one_run(op, batch))


def _one_run(op: ProgRun, batch: Batch) -> Result:
    entry = batch.entry(op.prog)
    type = entry.state if isinstance(entry.state, int) else type_of(entry)
    plain = op.repeat == 1 and op.data_out_size is None and 0 < len(op.data) <= ROOM
    if plain and not (op.ctx or op.flags or op.ctx_out_size or op.cpu or op.batch_size) and type not in CTX_ONLY:
        ran = _plain(batch).run(entry.fd, op.data)
        if ran is not None:
            return ran
        if last_errno() not in (EINTR, ENOSPC):
            return failed_run("ProgRun", entry, result=-last_errno())
    scratch = _scratch(batch)
    if type in CTX_ONLY:
        return _run_on_ctx(op, entry, scratch=scratch)
    live = op.flags & BPF_F_TEST_XDP_LIVE_FRAMES
    room = op.data_out_size
    if room is None:
        room = len(op.data) + ROOM if op.data and not live else 0
    ctx_room = op.ctx_out_size
    if ctx_room is None:
        ctx_room = max(len(op.ctx), _CTX_ROOM) if op.ctx and not live else 0
    words = scratch.words
    result = _run_once(op, entry, scratch=scratch, room=room, ctx_room=ctx_room)
    if result == -ENOSPC and op.data_out_size is None and words[_DATA_SIZE_OUT] > room > 0:
        room = words[_DATA_SIZE_OUT]
        result = _run_once(op, entry, scratch=scratch, room=room, ctx_room=ctx_room)
    # With a room chosen by the caller ENOSPC only says that there was more: everything else was filled in.
    if result < 0 and not (result == -ENOSPC and op.data_out_size is not None):
        return failed_run("ProgRun", entry, result=result)
    data = bytes(scratch.data.view[: min(words[_DATA_SIZE_OUT], room)]) if room else b""
    ctx = bytes(scratch.ctx.view[: min(words[_CTX_SIZE_OUT], ctx_room)]) if ctx_room else b""
    return Ran(words[_RETVAL], data, ctx, words[_DURATION])


def _run_once(op: ProgRun, entry: Entry, *, scratch: _Scratch, room: int, ctx_room: int) -> int:
    """0 or -errno; the scratch holds the rest."""
    source = scratch.input(op.data)
    data = scratch.data_room(room).address if room else 0
    ctx = scratch.ctx_room(ctx_room).address if ctx_room else 0
    ATTR.pack_into(
        scratch.attr.view, 0, entry.fd, 0, len(op.data), room, source, data, op.repeat, 0, len(op.ctx), ctx_room,
        address_of(op.ctx), ctx, op.flags, op.cpu, op.batch_size,
    )  # fmt: skip
    return scratch.call()


def _run_on_ctx(op: ProgRun, entry: Entry, *, scratch: _Scratch) -> Result:
    """A SYSCALL program changes its context in place."""
    size = len(op.ctx)
    ctx, attr = scratch.ctx_room(size), scratch.attr
    ctx.view[:size] = op.ctx
    ATTR.pack_into(
        attr.view, 0, entry.fd, 0, len(op.data), 0, address_of(op.data), 0, 0, 0, size, 0,
        ctx.address if size else 0, 0, op.flags, op.cpu, op.batch_size,
    )  # fmt: skip
    result = scratch.call()
    if result < 0:
        return failed_run("ProgRun", entry, result=result)
    return Ran(scratch.words[_RETVAL], b"", bytes(ctx.view[:size]), scratch.words[_DURATION])


def failed_run(op: str, entry: Entry, *, result: int, where: str = "") -> Failed:
    """The failure of an op with ``result`` -errno."""
    return Failed(op, -result, f"{entry.label}{where}: {error_text(-result)}")
