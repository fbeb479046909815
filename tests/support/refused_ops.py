"""Maps that every kernel refuses, with the errnos it may give and what the hint has to say."""

from __future__ import annotations

import errno

from pytest_ebpf.agent.ops import MapCreate
from pytest_ebpf.uapi.sections import MAP_FLAGS, MAP_TYPES

_NO_PREALLOC = 1


def _map(type: str, *shape: int, flags: int = 0) -> MapCreate:
    key, value, entries = shape
    return MapCreate(MAP_TYPES.index(type), key, value, entries, flags)


E, BIG, MEM = errno.EINVAL, errno.E2BIG, errno.ENOMEM
REFUSED: dict[str, tuple[MapCreate, tuple[int, ...], str]] = {
    "no entries": (_map("HASH", 4, 4, 0), (E,), "leaves max_entries at 0, for its user to set: maps={'name': 1024}"),
    "no entries in an array": (_map("ARRAY", 4, 4, 0), (E,), "leaves max_entries at 0"),
    "array key": (_map("ARRAY", 8, 4, 1), (E,), "ARRAY takes keys of 4 bytes (the index); here the key has 8 bytes"),
    "array value": (_map("ARRAY", 4, 0, 1), (E,), "ARRAY maps need a value, and its size is 0"),
    "prog array value": (_map("PROG_ARRAY", 4, 8, 1), (E,), "PROG_ARRAY takes keys and values of 4 bytes"),
    "hash key": (_map("HASH", 0, 4, 1), (E,), "HASH maps need a key"),
    "hash value": (_map("HASH", 4, 0, 1), (E,), "HASH maps need a value"),
    "queue key": (_map("QUEUE", 4, 4, 1), (E,), "QUEUE takes no key"),
    "stack trace value": (_map("STACK_TRACE", 4, 12, 1), (E,), "addresses of 8 bytes each"),
    "devmap value": (_map("DEVMAP", 4, 16, 1), (E,), "values of 4 or 8 (ifindex, program)"),
    "ring of nothing": (_map("RINGBUF", 0, 0, 0), (E,), "leaves the size of the ring at 0"),
    "ring with values": (_map("RINGBUF", 4, 4, 4096), (E,), "neither key nor value"),
    "ring size": (_map("RINGBUF", 0, 0, 5000), (E,), "pages (4096 bytes each) long; here max_entries is 5000"),
    "ring of three pages": (_map("RINGBUF", 0, 0, 3 * 4096), (E,), "power of two of pages"),
    "trie": (_map("LPM_TRIE", 8, 4, 1), (E,), "LPM_TRIE maps need the flag BPF_F_NO_PREALLOC"),
    "trie key": (_map("LPM_TRIE", 4, 4, 1, flags=_NO_PREALLOC), (E,), "a u32 prefix length and 1 to 256 bytes"),
    "untyped storage": (_map("SK_STORAGE", 4, 4, 0, flags=_NO_PREALLOC), (E,), "need BTF types for key and value"),
    "storage with entries": (_map("SK_STORAGE", 4, 4, 5, flags=_NO_PREALLOC), (E,), "has to be 0 for SK_STORAGE"),
    "per-cpu value": (_map("PERCPU_ARRAY", 4, 40_000, 1), (E, BIG, MEM), "at most 32768 bytes; here it has 40000"),
    "too large": (_map("ARRAY", 4, 1 << 20, 1 << 30), (BIG, MEM), "1,073,741,824 elements"),
    "no inner map": (_map("ARRAY_OF_MAPS", 4, 4, 1), (E, errno.EBADF), "has to know what its maps look like"),
    "no such flag": (_map("HASH", 4, 4, 1, flags=1 << 30), (E,), "Bit 30 of map_flags (0x40000000) is no flag of maps"),
    "flag of another type": (
        _map("HASH", 4, 4, 1, flags=1 << MAP_FLAGS.index("MMAPABLE")), (E,), "BPF_F_MMAPABLE is not for HASH maps"),
}  # fmt: skip

# Linux 5.10 still asked that a key fits the stack of a program.
REFUSED_BY_5_10: dict[str, tuple[MapCreate, tuple[int, ...], str]] = {
    "long key": (_map("HASH", 600, 4, 1), (BIG,), "The key has 600 bytes; at most 512"),
    "bloom filter": (
        _map("BLOOM_FILTER", 0, 4, 1),
        (E,),
        "BLOOM_FILTER maps came with Linux 5.16; this kernel is 5.10",
    ),
    "task storage": (
        _map("TASK_STORAGE", 4, 4, 0, flags=_NO_PREALLOC),
        (E,),
        'Use a hash with the thread\'s id as key, or mark the test @pytest.mark.bpf_feature("task_storage").',
    ),
    "a flag of the future": (
        _map("RINGBUF", 0, 0, 4096, flags=1 << MAP_FLAGS.index("RB_OVERWRITE")),
        (E,),
        "The map flag BPF_F_RB_OVERWRITE: this kernel does not have it",
    ),
}
