"""Arenas: memory that programs and user space share (kernel/bpf/arena.c, Linux 6.9).

A program that uses an arena loads only once user space has mapped it, because that decides its addresses. The mapping
is made with the map and stays in this process; its bytes are read and written through /proc/self/mem, which answers
with an error where a plain access to a page that is not there would kill the agent (BPF_F_SEGV_ON_FAULT).
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

from pytest_ebpf.agent.batch import Batch
from pytest_ebpf.agent.handles import Entry, Refused
from pytest_ebpf.agent.ops import Data, Done, MemRead, MemWrite, Result
from pytest_ebpf.agent.syscalls import map_shared, unmap

__all__ = ["map_arena", "mem_read", "mem_write"]


@dataclass(frozen=True, slots=True)
class _Arena:
    """Where it lies in this process."""

    address: int
    size: int


def map_arena(entry: Entry, *, pages: int, address: int) -> None:
    """Map all of a new arena, at the address that its map_extra asks for."""
    size = pages * mmap.PAGESIZE
    arena = _Arena(map_shared(entry.fd, size, address=address), size)
    entry.state = arena
    entry.closers.append(lambda: unmap(arena.address, arena.size))


def mem_read(op: MemRead, batch: Batch) -> Result:
    """Bytes of an arena."""
    arena = _arena(batch, op, size=op.size)
    fd = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return Data(os.pread(fd, op.size, arena.address + op.offset))
    finally:
        os.close(fd)


def mem_write(op: MemWrite, batch: Batch) -> Result:
    """Bytes into an arena."""
    arena = _arena(batch, op, size=len(op.data))
    fd = os.open("/proc/self/mem", os.O_WRONLY | os.O_CLOEXEC)
    try:
        view, at = memoryview(op.data), arena.address + op.offset
        while view:
            done = os.pwrite(fd, view, at)
            view, at = view[done:], at + done
        return Done()
    finally:
        os.close(fd)


def _arena(batch: Batch, op: MemRead | MemWrite, *, size: int) -> _Arena:
    entry = batch.entry(op.map)
    if not isinstance(entry.state, _Arena):
        raise Refused(f"{entry.label} is not an arena that was made here")
    if not 0 <= op.offset <= op.offset + size <= entry.state.size:
        raise Refused(f"{entry.label} has {entry.state.size} bytes, not {size} at {op.offset}")
    return entry.state
