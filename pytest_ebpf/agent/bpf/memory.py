"""Memory that programs and user space share: arenas, and arrays with BPF_F_MMAPABLE (kernel/bpf/arraymap.c, Linux 5.5).

An array is mapped for the one access: the kernel freezes no map while somebody has it mapped to write.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from errno import EINVAL
from types import MappingProxyType

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Refused
from pytest_ebpf.agent.bpf.arena import Arena, arena_read, arena_write
from pytest_ebpf.agent.bpf.maps import shape_of
from pytest_ebpf.agent.ops import Data, Done, MemRead, MemWrite, Result
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["mem_read", "mem_write"]

# array_map_mmap() in kernel/bpf/arraymap.c; bpf_map_mmap() in kernel/bpf/syscall.c
_UNMAPPABLE: Mapping[int, str] = MappingProxyType(
    {
        EINVAL: "it was made without BPF_F_MMAPABLE",
        ENOTSUPP: "its value holds a lock, timer, kptr, list or another field of the kernel's own",
    }
)


def mem_read(op: MemRead, batch: Batch) -> Result:
    """Bytes of the memory of a map."""
    entry, size = _checked(batch, op, length=op.size)
    if isinstance(entry.state, Arena):
        return Data(arena_read(entry.state, offset=op.offset, size=op.size))
    with _mapped(entry, size, rights=mmap.PROT_READ) as memory:
        return Data(memory[op.offset : op.offset + op.size])


def mem_write(op: MemWrite, batch: Batch) -> Result:
    """Bytes into the memory of a map."""
    entry, size = _checked(batch, op, length=len(op.data))
    if isinstance(entry.state, Arena):
        arena_write(entry.state, offset=op.offset, data=op.data)
        return Done()
    with _mapped(entry, size, rights=mmap.PROT_READ | mmap.PROT_WRITE) as memory:
        memory[op.offset : op.offset + len(op.data)] = op.data
    return Done()


def _mapped(entry: Entry, size: int, *, rights: int) -> mmap.mmap:
    try:
        return mmap.mmap(entry.fd, size, mmap.MAP_SHARED, rights)
    except OSError as error:
        if why := _UNMAPPABLE.get(error.errno or 0):
            raise Refused(f"{entry.label} cannot be mapped: {why}") from None
        raise


def _checked(batch: Batch, op: MemRead | MemWrite, *, length: int) -> tuple[Entry, int]:
    """The map, and how much memory (whole pages) it has."""
    entry = batch.entry(op.map)
    if isinstance(entry.state, Arena):
        size = whole = entry.state.size
    else:
        shape = shape_of(batch, entry)
        if shape.type != MapType.ARRAY:
            raise Refused(f"{entry.label} is neither an array nor an arena that was made here: it cannot be mapped")
        size = (shape.value_size + 7) // 8 * 8 * shape.max_entries
        whole = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE
    if not 0 <= op.offset <= op.offset + length <= size:
        raise Refused(f"{entry.label} has {size} bytes, not {length} at {op.offset}")
    return entry, whole
