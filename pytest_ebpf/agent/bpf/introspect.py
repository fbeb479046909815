"""Ids, the arrays behind info structs, fdinfo, run statistics."""

from __future__ import annotations

from errno import ENOENT, ENOSPC
from struct import Struct

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Refused
from pytest_ebpf.agent.base.syscalls import Memory, bpf, bpf_errno, error_text
from pytest_ebpf.agent.base.sysfs import read_bytes
from pytest_ebpf.agent.bpf.info import ID_KINDS, object_info
from pytest_ebpf.agent.ops import Data, EnableStats, FdInfo, Ids, Info, InfoArray, InfoArrays, Made, Result
from pytest_ebpf.uapi.enums import Cmd
from pytest_ebpf.uapi.layouts import ATTR_ID

__all__ = ["all_ids", "enable_stats", "fd_info", "info_arrays"]

_ROOM = 512  # larger than any info struct so far
_LARGEST = 1 << 28  # bytes of one array: a program has a million instructions at most
_ATTEMPTS = 3
_U32, _U64 = Struct("=I"), Struct("=Q")


def all_ids(op: Ids, batch: Batch) -> Result:
    """Walk the ids of a kind."""
    if op.kind not in ID_KINDS:
        raise Refused(f"no ids of kind {op.kind!r}: {', '.join(ID_KINDS)}")
    found = bytearray()
    last = 0
    while True:
        attr = ATTR_ID.pack(id=last).ljust(12, b"\0")
        result = bpf_errno(ID_KINDS[op.kind][0], attr)
        if result == -ENOENT:
            return Data(bytes(found))
        if result < 0:
            raise OSError(-result, error_text(-result))
        last = ATTR_ID.get(attr, name="next_id")
        found += _U32.pack(last)


def info_arrays(op: InfoArrays, batch: Batch) -> Result:
    """The info struct once without arrays, for their sizes, and once with them. ENOSPC: they grew in between."""
    entry = batch.entry(op.obj)
    if entry.kind not in ID_KINDS:
        raise Refused(f"{entry.label} has no info struct")
    fd = batch.fd(op.obj)
    for attempt in range(_ATTEMPTS):
        sizes = object_info(fd)
        memory = Memory(_ROOM)
        buffers = [_attach(memory, array, sizes=sizes) for array in op.arrays]
        try:
            info = object_info(fd, memory=memory)
            break
        except OSError as error:
            if error.errno != ENOSPC or attempt == _ATTEMPTS - 1:
                raise
    found = tuple(_contents(buffer, array, info=info) for buffer, array in zip(buffers, op.arrays, strict=True))
    return Info(entry.kind, info, arrays=found)


def _attach(memory: Memory, array: InfoArray, *, sizes: bytes) -> Memory | None:
    """Room for an array, with its address and size in the request; None when the kernel has nothing for it."""
    stride = _field(sizes, array.record_size) if array.record_size >= 0 else array.stride
    count = max(_field(sizes, array.count), array.room)
    if not count or not stride or len(sizes) < array.pointer + 8:
        return None
    if count * stride > _LARGEST:
        raise Refused(f"an info struct speaks of an array of {count} times {stride} bytes")
    buffer = Memory(count * stride)
    _U64.pack_into(memory.view, array.pointer, buffer.address)
    _U32.pack_into(memory.view, array.count, count)
    if array.record_size >= 0:
        _U32.pack_into(memory.view, array.record_size, stride)
    return buffer


def _field(info: bytes, offset: int) -> int:
    number: int = _U32.unpack_from(info, offset)[0] if len(info) >= offset + 4 else 0
    return number


def _contents(buffer: Memory | None, array: InfoArray, *, info: bytes) -> bytes:
    """A kernel that does not show an array to this caller (kernel.kptr_restrict) clears its address and leaves the
    room as it was."""
    if buffer is None or not _U64.unpack_from(info, array.pointer)[0]:
        return b""
    if array.room:
        return bytes(buffer.view)
    stride = _field(info, array.record_size) if array.record_size >= 0 else array.stride
    return bytes(buffer.view[: min(buffer.size, stride * _field(info, array.count))])


def fd_info(op: FdInfo, batch: Batch) -> Result:
    """The text."""
    return Data(read_bytes(f"/proc/self/fdinfo/{batch.fd(op.obj)}"))


def enable_stats(op: EnableStats, batch: Batch) -> Result:
    """The fd that keeps statistics on."""
    fd = bpf(Cmd.ENABLE_STATS, bytearray(_U32.pack(op.type)))
    return Made(batch.own(fd, "stats", name="run statistics", site=op.site, own=False).handle)
