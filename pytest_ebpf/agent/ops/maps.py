"""Ops on maps."""

from __future__ import annotations

from pytest_ebpf.agent.ops.base import FdAt, Obj
from pytest_ebpf.frozen import dataclass

__all__ = [
    "InodeOf",
    "MapCreate",
    "MapDelete",
    "MapDeleteMany",
    "MapDump",
    "MapFreeze",
    "MapGet",
    "MapPop",
    "MapSet",
    "MapTakeMany",
    "MapUpdate",
    "MemRead",
    "MemWrite",
    "RingProduce",
]


@dataclass(frozen=True, slots=True)
class MapCreate:
    """BPF_MAP_CREATE -> Made. Sizes in bytes, as the kernel wants them (value_size of one CPU for per-CPU maps).

    ``kernel_value``: the kernel's own type of the value (struct_ops), of module ``kernel_btf`` or of vmlinux.
    ``exclusive``: SHA-256 of the one program that may use the map (Linux 6.18). An arena is mapped at once, and stays
    mapped in the agent: programs that use it do not load before.
    """

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    name: str = ""
    inner_map: Obj | None = None
    numa_node: int = 0
    btf: Obj | None = None
    btf_key: int = 0
    btf_value: int = 0
    map_extra: int = 0
    kernel_value: int = 0
    kernel_btf: Obj | None = None
    exclusive: bytes = b""
    site: str = ""


@dataclass(frozen=True, slots=True)
class InodeOf:
    """fstat(2) of an object -> Value: its inode number as a native u64, which is the id of a cgroup."""

    obj: Obj


@dataclass(frozen=True, slots=True)
class MapGet:
    """BPF_MAP_LOOKUP_ELEM -> Value (``data`` is None when the key is absent). A per-CPU map answers with one value
    per possible CPU, each padded to 8 bytes, one after the other; with BPF_F_CPU in ``flags`` (Linux 7.0) with that of
    the CPU in the upper half of ``flags``, not padded. An ``Obj`` as key is that object's fd: the key of the storages
    that hang on a task, inode, cgroup or socket."""

    map: Obj
    key: bytes | Obj
    flags: int = 0


@dataclass(frozen=True, slots=True)
class MapSet:
    """BPF_MAP_UPDATE_ELEM -> Done. An ``Obj`` as value stores that object's fd (prog arrays, map-in-map); ``fds`` puts
    fds into a value of bytes (the programs of a struct_ops map). ``key`` as for ``MapGet``. ``netns``: where an ifindex
    in the value is one (devmaps look it up in the network namespace of the caller)."""

    map: Obj
    key: bytes | Obj
    value: bytes | Obj
    flags: int = 0
    fds: tuple[FdAt, ...] = ()
    netns: Obj | None = None


@dataclass(frozen=True, slots=True)
class MapDelete:
    """BPF_MAP_DELETE_ELEM -> Done, or Failed(ENOENT). ``key`` as for ``MapGet``."""

    map: Obj
    key: bytes | Obj


@dataclass(frozen=True, slots=True)
class MapDeleteMany:
    """``count`` deletions -> Done, or Failed(ENOENT) at the first key that is absent. ``keys``: one after the other."""

    map: Obj
    keys: bytes
    count: int


@dataclass(frozen=True, slots=True)
class MapPop:
    """BPF_MAP_LOOKUP_AND_DELETE_ELEM -> Value (None when empty or absent). ``key`` is empty for queue and stack."""

    map: Obj
    key: bytes = b""
    flags: int = 0


@dataclass(frozen=True, slots=True)
class MapDump:
    """Every entry -> Entries. Batched where the kernel has batches, next-key otherwise; ``limit`` 0 means all."""

    map: Obj
    limit: int = 0


@dataclass(frozen=True, slots=True)
class MapTakeMany:
    """Every entry, taken out of a hash map -> Entries. What a program adds or changes meanwhile is not lost: it comes
    with this or stays. ``limit`` 0 means all; with a limit a bucket that was begun is still emptied."""

    map: Obj
    limit: int = 0


@dataclass(frozen=True, slots=True)
class MapUpdate:
    """``count`` updates -> Done. ``keys`` and ``values`` hold the entries one after the other; with BPF_F_CPU or
    BPF_F_ALL_CPUS in ``flags`` (Linux 7.0) one value of ``value_size`` bytes, not padded, for each key."""

    map: Obj
    keys: bytes
    values: bytes
    count: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class MapFreeze:
    """BPF_MAP_FREEZE -> Done."""

    map: Obj


@dataclass(frozen=True, slots=True)
class MemRead:
    """``size`` bytes at ``offset`` of an arena, or of the elements of an array with BPF_F_MMAPABLE (each rounded up to
    8 bytes, one after the other) -> Data."""

    map: Obj
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class MemWrite:
    """Bytes into an arena, its pages allocated by that, or into the elements of an array with BPF_F_MMAPABLE, of which
    nothing else is touched -> Done."""

    map: Obj
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class RingProduce:
    """Put records into a BPF_MAP_TYPE_USER_RINGBUF -> Done; Failed(ENOSPC) says how many there was room for."""

    map: Obj
    records: tuple[bytes, ...]
