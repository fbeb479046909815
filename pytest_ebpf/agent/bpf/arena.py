"""Arenas: memory that programs and user space share (kernel/bpf/arena.c, Linux 6.9).

A program that uses an arena loads only once user space has mapped it, because that decides its addresses. The mapping
is made with the map and stays in this process; its bytes are read and written through /proc/self/mem, which answers
with an error where a plain access to a page that is not there would kill the agent (BPF_F_SEGV_ON_FAULT).
"""

from __future__ import annotations

import mmap
import os

from pytest_ebpf.agent.base.handles import Entry
from pytest_ebpf.agent.base.syscalls import map_shared, unmap
from pytest_ebpf.frozen import dataclass

__all__ = ["Arena", "arena_read", "arena_write", "map_arena"]


@dataclass(frozen=True, slots=True)
class Arena:
    """Where it lies in this process."""

    address: int
    size: int


def map_arena(entry: Entry, *, pages: int, address: int) -> None:
    """Map all of a new arena, at the address that its map_extra asks for."""
    size = pages * mmap.PAGESIZE
    arena = Arena(map_shared(entry.fd, size, address=address), size)
    entry.state = arena
    entry.closers.append(lambda: unmap(arena.address, arena.size))


def arena_read(arena: Arena, *, offset: int, size: int) -> bytes:
    """Bytes of an arena. ``OSError`` (EIO) for a page that is not there."""
    fd = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, size, arena.address + offset)
    finally:
        os.close(fd)


def arena_write(arena: Arena, *, offset: int, data: bytes) -> None:
    """Bytes into an arena."""
    fd = os.open("/proc/self/mem", os.O_WRONLY | os.O_CLOEXEC)
    try:
        view, at = memoryview(data), arena.address + offset
        while view:
            done = os.pwrite(fd, view, at)
            view, at = view[done:], at + done
    finally:
        os.close(fd)
