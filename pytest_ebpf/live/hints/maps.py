"""Why a map was refused: the rules of each type, and what a kernel has to know.

Rules are those of the map_alloc_check functions in kernel/bpf/ (arraymap.c, hashtab.c, lpm_trie.c, ringbuf.c,
queue_stack_maps.c, bloom_filter.c, stackmap.c, devmap.c, cpumap.c, local_storage.c, bpf_local_storage.c).
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import MapCreate
from pytest_ebpf.features.maps import FLAG_FEATURES, MAP_FEATURES
from pytest_ebpf.live.hints.base import Case, Hint, lacks, this_kernel
from pytest_ebpf.uapi.flags import MapCreateFlag
from pytest_ebpf.uapi.numbers import ENOTSUPP
from pytest_ebpf.uapi.sections import MAP_FLAGS, MAP_TYPES

__all__ = ["MAP_HINTS"]

_PER_CPU = ("PERCPU_HASH", "PERCPU_ARRAY", "LRU_PERCPU_HASH", "PERCPU_CGROUP_STORAGE")
_PER_CPU_LIMIT = 32 << 10  # PCPU_MIN_UNIT_SIZE
_KEY_LIMIT = 512  # MAX_BPF_STACK, of kernels whose hash tables ask that keys fit a program's stack (5.10 does)
_STORAGE = ("SK_STORAGE", "INODE_STORAGE", "TASK_STORAGE", "CGRP_STORAGE")
_NO_ENTRIES = (*_STORAGE, "CGROUP_STORAGE", "PERCPU_CGROUP_STORAGE")
_KEY_SIZE, _VALUE_SIZE = "{'key_size': 4}", "{'value_size': 8}"
_RINGS = ("RINGBUF", "USER_RINGBUF")
_INSTEAD: Mapping[str, str] = MappingProxyType(
    {
        "RINGBUF": "use a perf event array",
        "USER_RINGBUF": "use a queue",
        "BLOOM_FILTER": "use a hash",
        "TASK_STORAGE": "use a hash with the thread's id as key",
        "CGRP_STORAGE": "use a hash with the cgroup's id as key",
        "INODE_STORAGE": "use a hash with the inode's number as key",
        "SK_STORAGE": "use a hash with the socket's cookie as key",
        "DEVMAP_HASH": "use a DEVMAP",
        "ARENA": "use an array",
    }
)
# type -> key sizes and value sizes that it takes, and words for them
_SIZES: Mapping[str, tuple[tuple[int, ...], tuple[int, ...], str]] = MappingProxyType(
    {
        "ARRAY": ((4,), (), "keys of 4 bytes (the index)"),
        "PERCPU_ARRAY": ((4,), (), "keys of 4 bytes (the index)"),
        "PROG_ARRAY": ((4,), (4,), "keys and values of 4 bytes (index, program)"),
        "PERF_EVENT_ARRAY": ((4,), (4,), "keys and values of 4 bytes (processor, perf event)"),
        "CGROUP_ARRAY": ((4,), (4,), "keys and values of 4 bytes (index, cgroup)"),
        "ARRAY_OF_MAPS": ((4,), (4,), "keys and values of 4 bytes (index, map)"),
        "HASH_OF_MAPS": ((), (4,), "values of 4 bytes (a map)"),
        "XSKMAP": ((4,), (4,), "keys and values of 4 bytes (index, socket)"),
        "DEVMAP": ((4,), (4, 8), "keys of 4 bytes and values of 4 or 8 (ifindex, program)"),
        "DEVMAP_HASH": ((4,), (4, 8), "keys of 4 bytes and values of 4 or 8 (ifindex, program)"),
        "CPUMAP": ((4,), (4, 8), "keys of 4 bytes and values of 4 or 8 (queue size, program)"),
        "SOCKMAP": ((4,), (4, 8), "keys of 4 bytes and values of 4 or 8 (a socket)"),
        "SOCKHASH": ((), (4, 8), "values of 4 or 8 bytes (a socket)"),
        "REUSEPORT_SOCKARRAY": ((4,), (4, 8), "keys of 4 bytes and values of 4 or 8 (a socket)"),
        "QUEUE": ((0,), (), "no key"),
        "STACK": ((0,), (), "no key"),
        "BLOOM_FILTER": ((0,), (), "no key"),
        "RINGBUF": ((0,), (0,), "neither key nor value: records have sizes of their own"),
        "USER_RINGBUF": ((0,), (0,), "neither key nor value: records have sizes of their own"),
        "ARENA": ((0,), (0,), "neither key nor value: max_entries counts pages"),
        "STACK_TRACE": ((4,), (), "keys of 4 bytes (the stack's id)"),
        "CGROUP_STORAGE": ((8, 16), (), "struct bpf_cgroup_storage_key or a u64 as key"),
        "PERCPU_CGROUP_STORAGE": ((8, 16), (), "struct bpf_cgroup_storage_key or a u64 as key"),
        "SK_STORAGE": ((4,), (), "keys of 4 bytes (an int)"),
        "TASK_STORAGE": ((4,), (), "keys of 4 bytes (an int)"),
        "INODE_STORAGE": ((4,), (), "keys of 4 bytes (an int)"),
        "CGRP_STORAGE": ((4,), (), "keys of 4 bytes (an int)"),
    }
)


def _op(case: Case) -> MapCreate:
    assert isinstance(case.op, MapCreate)
    return case.op


def _name(case: Case) -> str:
    number = _op(case).type
    return MAP_TYPES[number] if number < len(MAP_TYPES) else f"type {number}"


def _unknown_type(case: Case) -> str:
    name = _name(case)
    if name.lower() not in {row.name for row in MAP_FEATURES}:
        return ""
    return lacks(case, feature=name.lower(), what=f"{name} maps", instead=_INSTEAD.get(name, ""))


def _entries(case: Case) -> str:
    name, op = _name(case), _op(case)
    if name in _NO_ENTRIES:
        return f"max_entries has to be 0 for {name}: there is one value per object." if op.max_entries else ""
    if op.max_entries:
        return ""
    if name in _RINGS:
        return f"The object leaves the size of the ring at 0, for its user to set: {_set(op, '1 << 18')} (bytes)."
    return f"The object leaves max_entries at 0, for its user to set: {_set(op, '1024')}."


def _set(op: MapCreate, value: str) -> str:
    """How a test sets it when loading."""
    return f"maps={{{op.name or 'name'!r}: {value}}}"


def _sizes(case: Case) -> str:
    op, name = _op(case), _name(case)
    keys, values, words = _SIZES.get(name, ((), (), ""))
    if (keys and op.key_size not in keys) or (values and op.value_size not in values):
        return f"{name} takes {words}; here the key has {op.key_size} bytes and the value {op.value_size}."
    if name == "LPM_TRIE" and not 5 <= op.key_size <= 260:
        return f"The key of an LPM_TRIE is a u32 prefix length and 1 to 256 bytes of data; here it has {op.key_size}."
    if name == "STACK_TRACE" and (op.value_size < 8 or op.value_size % 8):
        return f"The value of a STACK_TRACE holds addresses of 8 bytes each; here it has {op.value_size} bytes."
    if not keys and op.key_size == 0:
        return f"{name} maps need a key, and its size is 0: {_set(op, _KEY_SIZE)}."
    if not values and op.value_size == 0:
        return f"{name} maps need a value, and its size is 0: {_set(op, _VALUE_SIZE)}."
    return ""


def _long_key(case: Case) -> str:
    size = _op(case).key_size
    if size <= _KEY_LIMIT:
        return ""
    return f"The key has {size} bytes; at most {_KEY_LIMIT} fit the stack of a program. Use a hash of it as the key."


def _preallocation(case: Case) -> str:
    name, flags = _name(case), _op(case).flags
    if (name == "LPM_TRIE" or name in _STORAGE) and not flags & MapCreateFlag.NO_PREALLOC:
        return f"{name} maps need the flag BPF_F_NO_PREALLOC: __uint(map_flags, BPF_F_NO_PREALLOC)."
    return ""


def _private_arena(case: Case) -> str:
    if _name(case) != "ARENA" or _op(case).flags & MapCreateFlag.MMAPABLE:
        return ""
    return "An arena is memory shared with user space: add BPF_F_MMAPABLE to map_flags."


def _untyped_storage(case: Case) -> str:
    if _name(case) not in _STORAGE or _op(case).btf is not None:
        return ""
    return f"{_name(case)} maps need BTF types for key and value: declare them by __type() and compile with -g."


def _ring(case: Case) -> str:
    op, page = _op(case), case.described.page_size
    size = op.max_entries
    if _name(case) not in _RINGS or (size % page == 0 and size & (size - 1) == 0):
        return ""
    return f"A ring buffer is a power of two of pages ({page} bytes each) long; here max_entries is {size}."


def _per_cpu(case: Case) -> str:
    size = _op(case).value_size
    if _name(case) not in _PER_CPU or size <= _PER_CPU_LIMIT:
        return ""
    return f"The value of a per-CPU map has at most {_PER_CPU_LIMIT} bytes; here it has {size}."


def _inner(case: Case) -> str:
    if not _name(case).endswith("_OF_MAPS") or _op(case).inner_map is not None:
        return ""
    return f"{_name(case)} has to know what its maps look like: give it an inner map (__array(values, struct ...))."


def _flags(case: Case) -> str:
    flags, name = _op(case).flags, _name(case)
    for bit in range(32):
        if not flags & 1 << bit:
            continue
        if bit >= len(MAP_FLAGS):
            return f"Bit {bit} of map_flags ({flags:#x}) is no flag of maps."
        unknown = _flag(case, MAP_FLAGS[bit])
        if unknown:
            return unknown
    named = " | ".join(f"BPF_F_{flag}" for bit, flag in enumerate(MAP_FLAGS) if flags & 1 << bit)
    return f"One of the flags {named} is not for {name} maps." if flags & ~MapCreateFlag.NO_PREALLOC else ""


def _flag(case: Case, flag: str) -> str:
    if not any(row.name == flag.lower() for row in FLAG_FEATURES):
        return ""
    return lacks(case, feature=f"flag:{flag.lower()}", what=f"The map flag BPF_F_{flag}")


def _too_large(case: Case) -> str:
    op = _op(case)
    copies = case.described.cpus if _name(case) in _PER_CPU else 1
    size = op.max_entries * (op.key_size + op.value_size * copies)
    each = f", {copies} values per element" if copies > 1 else ""
    return (
        f"The map would take some {size / (1 << 20):,.0f} MiB ({op.max_entries:,} elements{each}), more than this "
        f"kernel gives: lower max_entries, in C or when loading: {_set(op, '1024')}."
    )


def _exclusive(case: Case) -> str:
    """kernel/bpf/syscall.c: what a kernel does not know behind its own fields has to be zero."""
    if not _op(case).exclusive:
        return ""
    return (
        f"Maps for one program alone (exclusive=) came with Linux 6.18, and {this_kernel(case)}: leave the option out "
        "where a kernel does not have it."
    )


def _shape(case: Case) -> str:
    op = _op(case)
    return (
        f"The kernel refused {_name(case)} with a key of {op.key_size} bytes, a value of {op.value_size}, "
        f"max_entries {op.max_entries}, map_flags {op.flags:#x}: one of them is not for this type."
    )


_SAYS_NO = (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP)
_ANY_NO = (*_SAYS_NO, errno.E2BIG)
MAP_HINTS: tuple[Hint, ...] = (
    Hint("MapCreate", _ANY_NO, _unknown_type),
    Hint("MapCreate", (errno.EINVAL,), _entries),
    Hint("MapCreate", (errno.EINVAL, errno.E2BIG), _sizes),
    Hint("MapCreate", (errno.EINVAL, errno.E2BIG), _long_key),
    Hint("MapCreate", (errno.EINVAL,), _preallocation),
    Hint("MapCreate", (errno.EINVAL,), _private_arena),
    Hint("MapCreate", (errno.EINVAL,), _untyped_storage),
    Hint("MapCreate", (errno.EINVAL,), _ring),
    Hint("MapCreate", (errno.EINVAL, errno.E2BIG, errno.ENOMEM), _per_cpu),
    Hint("MapCreate", (errno.EINVAL, errno.EBADF), _inner),
    Hint("MapCreate", (errno.EINVAL, errno.E2BIG), _exclusive),
    Hint("MapCreate", (errno.EINVAL,), _flags),
    Hint("MapCreate", (errno.E2BIG, errno.ENOMEM), _too_large),
    Hint("MapCreate", (errno.EINVAL,), _shape),
)
