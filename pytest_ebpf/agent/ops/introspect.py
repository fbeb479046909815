"""Ops that look at what the kernel holds: ids, arrays behind info structs, fdinfo, run statistics."""

from __future__ import annotations

from pytest_ebpf.agent.ops.base import Obj
from pytest_ebpf.frozen import dataclass

__all__ = [
    "EnableStats",
    "FdInfo",
    "Ids",
    "InfoArray",
    "InfoArrays",
]


@dataclass(frozen=True, slots=True)
class Ids:
    """All ids of a kind (prog map btf link), ascending -> Data: native u32. A kernel without such ids: Failed."""

    kind: str


@dataclass(frozen=True, slots=True)
class InfoArray:
    """An array that an info struct points at, by the byte offsets of the fields that say so: its address (u64), how
    many elements (u32), and the size of one (u32; -1: there is no such field, an element takes ``stride`` bytes).

    ``room``: elements to make room for where the kernel does not say how many there are (texts)."""

    pointer: int
    count: int
    stride: int = 1
    record_size: int = -1
    room: int = 0


@dataclass(frozen=True, slots=True)
class InfoArrays:
    """BPF_OBJ_GET_INFO_BY_FD with arrays -> Info, whose ``arrays`` are the bytes of each (b"" where the kernel has or
    shows none; with ``room``, all of it)."""

    obj: Obj
    arrays: tuple[InfoArray, ...]


@dataclass(frozen=True, slots=True)
class FdInfo:
    """What /proc/self/fdinfo says about an object -> Data: lines of "name: value"."""

    obj: Obj


@dataclass(frozen=True, slots=True)
class EnableStats:
    """BPF_ENABLE_STATS (Linux 5.8) -> Made: programs are timed and counted until the handle closes.
    ``type``: enum bpf_stats_type, 0 run time."""

    type: int = 0
    site: str = ""
