"""How the map types differ, as one table. Source: the ``*map*.c`` of ``kernel/bpf/``, Linux 6.18."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.uapi.enums import MapType

__all__ = ["MAP_KINDS", "MapKind", "kind_of"]


@dataclass(frozen=True, slots=True)
class MapKind:
    """``access`` is how user space reads it: keyed, storage (keyed by objects, which nobody can list), fifo (queue,
    stack), bloom, ring, perf, produce (a ring that user space fills) or none.

    ``holds`` names what its values are: data, prog, map, device, cpu, socket, cgroup or event (of the last three the
    kernel tells a number at most). ``keyed_by``: the objects that are keys: socket, task, inode or cgroup. ``indexed``:
    keys are 0 to max_entries - 1, all always present."""

    number: int
    access: str = "keyed"
    holds: str = "data"
    keyed_by: str = ""
    indexed: bool = False
    per_cpu: bool = False
    lpm: bool = False

    @property
    def name(self) -> str:
        """The kernel's name of the type in small letters: "hash", "ringbuf"."""
        known = MapType._value2member_map_.get(self.number)
        return known.name.lower() if known is not None else f"type {self.number}"


MAP_KINDS: Mapping[int, MapKind] = MappingProxyType(
    {
        kind.number: kind
        for kind in (
            MapKind(MapType.HASH),
            MapKind(MapType.ARRAY, indexed=True),
            MapKind(MapType.PROG_ARRAY, holds="prog", indexed=True),
            MapKind(MapType.PERF_EVENT_ARRAY, access="perf", holds="event", indexed=True),
            MapKind(MapType.PERCPU_HASH, per_cpu=True),
            MapKind(MapType.PERCPU_ARRAY, indexed=True, per_cpu=True),
            MapKind(MapType.STACK_TRACE),
            MapKind(MapType.CGROUP_ARRAY, holds="cgroup", indexed=True),
            MapKind(MapType.LRU_HASH),
            MapKind(MapType.LRU_PERCPU_HASH, per_cpu=True),
            MapKind(MapType.LPM_TRIE, lpm=True),
            MapKind(MapType.ARRAY_OF_MAPS, holds="map", indexed=True),
            MapKind(MapType.HASH_OF_MAPS, holds="map"),
            MapKind(MapType.DEVMAP, holds="device", indexed=True),
            MapKind(MapType.SOCKMAP, holds="socket", indexed=True),
            MapKind(MapType.CPUMAP, holds="cpu", indexed=True),
            MapKind(MapType.XSKMAP, holds="socket", indexed=True),
            MapKind(MapType.SOCKHASH, holds="socket"),
            MapKind(MapType.CGROUP_STORAGE, keyed_by="cgroup"),
            MapKind(MapType.REUSEPORT_SOCKARRAY, holds="socket", indexed=True),
            MapKind(MapType.PERCPU_CGROUP_STORAGE, keyed_by="cgroup", per_cpu=True),
            MapKind(MapType.QUEUE, access="fifo"),
            MapKind(MapType.STACK, access="fifo"),
            MapKind(MapType.SK_STORAGE, access="storage", keyed_by="socket"),
            MapKind(MapType.DEVMAP_HASH, holds="device"),
            MapKind(MapType.STRUCT_OPS, indexed=True),
            MapKind(MapType.RINGBUF, access="ring"),
            MapKind(MapType.INODE_STORAGE, access="storage", keyed_by="inode"),
            MapKind(MapType.TASK_STORAGE, access="storage", keyed_by="task"),
            MapKind(MapType.BLOOM_FILTER, access="bloom"),
            MapKind(MapType.USER_RINGBUF, access="produce"),
            MapKind(MapType.CGRP_STORAGE, access="storage", keyed_by="cgroup"),
            MapKind(MapType.ARENA, access="none"),
            MapKind(MapType.INSN_ARRAY, indexed=True),
            MapKind(MapType.RHASH),
        )
    }
)


def kind_of(number: int) -> MapKind:
    """The row of a type; an unknown one is taken for a keyed map of data."""
    found = MAP_KINDS.get(number)
    return found if found is not None else MapKind(number)
