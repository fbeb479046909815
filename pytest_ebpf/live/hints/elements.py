"""Why a map refused an element: the flags of BPF_MAP_UPDATE_ELEM and of its batch, and what a value has to name.

Sources: bpf_map_check_op_flags() in include/linux/bpf.h; kernel/bpf/arraymap.c, hashtab.c and devmap.c.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Literal

from pytest_ebpf.agent.ops import Info, InfoByFd, MapSet, MapUpdate, Try
from pytest_ebpf.live.hints.base import Case, Hint
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.flags import MapFlag

__all__ = ["ELEMENT_HINTS"]

_ONE_VALUE = MapFlag.CPU | MapFlag.ALL_CPUS
_ARRAYS = (MapType.ARRAY, MapType.PERCPU_ARRAY)
_KNOWN = MapFlag.NOEXIST | MapFlag.EXIST | MapFlag.LOCK | _ONE_VALUE
_CPU_AT = 32  # with CPU, its number is in the upper half


def _map_type(case: Case) -> int:
    """The type of the map that refused, -1 where the kernel does not say."""
    op = case.op
    assert isinstance(op, MapSet | MapUpdate)
    answer = case.target.kernel.run([Try(InfoByFd(op.map))])[0]
    return int.from_bytes(answer.data[:4], _order(case)) if isinstance(answer, Info) else -1


def _order(case: Case) -> Literal["little", "big"]:
    return "little" if case.described.byteorder == "little" else "big"


def _flags(case: Case) -> str:
    op = case.op
    if not isinstance(op, MapSet | MapUpdate):
        return ""
    if op.flags & _ONE_VALUE:
        return (
            "MapFlag.CPU and ALL_CPUS are for per-CPU maps, on Linux 7.0 and newer. Without them one value counts for "
            "all CPUs, a list has a value of each, and m.on_cpu(n)[key] = value sets that of one on every kernel."
        )
    if op.flags & MapFlag.LOCK:
        return "MapFlag.LOCK needs a struct bpf_spin_lock in the value of a hash or array map, which is not per-CPU."
    if op.flags & MapFlag.NOEXIST and op.flags & MapFlag.EXIST:
        return "MapFlag.NOEXIST and EXIST exclude each other: give one of them."
    if unknown := op.flags & ~int(_KNOWN):  # the inverse of a flag is a flag, without other bits
        names = ", ".join(flag.name or "" for flag in MapFlag if flag)
        return f"{unknown:#x} is no flag of an update: pytest_ebpf.MapFlag has {names}."
    return ""


def _there_already(case: Case) -> str:
    """An array has all its elements: the kernel answers EEXIST to NOEXIST for each index."""
    if _map_type(case) in _ARRAYS:
        return "Each element of an array is there from the start, so NOEXIST never succeeds: leave the flag out."
    return ""


def _no_such_cpu(case: Case) -> str:
    op = case.op
    assert isinstance(op, MapSet | MapUpdate)
    return f"MapFlag.CPU names CPU {op.flags >> _CPU_AT}, and the kernel has 0 to {case.described.cpus - 1}."


def _no_interface(case: Case) -> str:
    """kernel/bpf/devmap.c: __dev_map_alloc_node() looks the interface up, and EINVAL is all it says."""
    op = case.op
    if not isinstance(op, MapSet) or not isinstance(op.value, bytes) or len(op.value) not in (4, 8):
        return ""
    if _map_type(case) not in (MapType.DEVMAP, MapType.DEVMAP_HASH):
        return ""
    ifindex = int.from_bytes(op.value[:4], _order(case))
    return (
        f"There is no interface with the index {ifindex} in the network namespace of the loader, or it is not a device "
        "that frames can be redirected to: give the name or the object (veth.b), whose namespace is known."
    )


def _of_updates(number: int, text: str | Callable[[Case], str]) -> tuple[Hint, Hint]:
    """The same for one element and for many."""
    return Hint("MapSet", (number,), text), Hint("MapUpdate", (number,), text)


ELEMENT_HINTS: tuple[Hint, ...] = (
    *_of_updates(errno.E2BIG, "The map is full, or the index is beyond its last element: raise max_entries."),
    *_of_updates(errno.EPERM, "The map is frozen or read-only for user space (.rodata is after loading)."),
    *_of_updates(errno.EINVAL, _flags),
    Hint("MapSet", (errno.EINVAL,), _no_interface),
    *_of_updates(errno.EINVAL, "A key or value of this shape is not for this map type, or its flags forbid it."),
    *_of_updates(errno.ERANGE, _no_such_cpu),
    *_of_updates(errno.EEXIST, _there_already),
    *_of_updates(errno.EEXIST, "The key is there already, and the flag NOEXIST was given."),
    *_of_updates(errno.ENOENT, "The key is not there, and the flag EXIST was given."),
)
