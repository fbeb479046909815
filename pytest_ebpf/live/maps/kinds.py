"""What sets the map types apart, as one table.

Source: ``enum bpf_map_type`` in ``include/uapi/linux/bpf.h`` and the ``*map*.c`` of ``kernel/bpf/``, Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["MAP_KINDS", "MapKind", "kind_of"]


@dataclass(frozen=True, slots=True)
class MapKind:
    """``access`` is how user space reads it: keyed, storage (keyed by objects, which nobody can list), fifo (queue,
    stack), bloom, ring, perf, produce (a ring that user space fills) or none.

    ``holds`` names what its values are: data, prog, map, device, cpu, socket, cgroup or event (of the last three the
    kernel tells a number at most). ``keyed_by``: the objects that are keys: socket, task, inode or cgroup. ``indexed``:
    keys are 0 to max_entries - 1, all always present."""

    number: int
    name: str
    access: str = "keyed"
    holds: str = "data"
    keyed_by: str = ""
    indexed: bool = False
    per_cpu: bool = False
    lpm: bool = False


MAP_KINDS: Mapping[int, MapKind] = MappingProxyType(
    {
        kind.number: kind
        for kind in (
            MapKind(1, "hash"),
            MapKind(2, "array", indexed=True),
            MapKind(3, "prog_array", holds="prog", indexed=True),
            MapKind(4, "perf_event_array", access="perf", holds="event", indexed=True),
            MapKind(5, "percpu_hash", per_cpu=True),
            MapKind(6, "percpu_array", indexed=True, per_cpu=True),
            MapKind(7, "stack_trace"),
            MapKind(8, "cgroup_array", holds="cgroup", indexed=True),
            MapKind(9, "lru_hash"),
            MapKind(10, "lru_percpu_hash", per_cpu=True),
            MapKind(11, "lpm_trie", lpm=True),
            MapKind(12, "array_of_maps", holds="map", indexed=True),
            MapKind(13, "hash_of_maps", holds="map"),
            MapKind(14, "devmap", holds="device", indexed=True),
            MapKind(15, "sockmap", holds="socket", indexed=True),
            MapKind(16, "cpumap", holds="cpu", indexed=True),
            MapKind(17, "xskmap", holds="socket", indexed=True),
            MapKind(18, "sockhash", holds="socket"),
            MapKind(19, "cgroup_storage", keyed_by="cgroup"),
            MapKind(20, "reuseport_sockarray", holds="socket", indexed=True),
            MapKind(21, "percpu_cgroup_storage", keyed_by="cgroup", per_cpu=True),
            MapKind(22, "queue", access="fifo"),
            MapKind(23, "stack", access="fifo"),
            MapKind(24, "sk_storage", access="storage", keyed_by="socket"),
            MapKind(25, "devmap_hash", holds="device"),
            MapKind(26, "struct_ops", indexed=True),
            MapKind(27, "ringbuf", access="ring"),
            MapKind(28, "inode_storage", access="storage", keyed_by="inode"),
            MapKind(29, "task_storage", access="storage", keyed_by="task"),
            MapKind(30, "bloom_filter", access="bloom"),
            MapKind(31, "user_ringbuf", access="produce"),
            MapKind(32, "cgrp_storage", access="storage", keyed_by="cgroup"),
            MapKind(33, "arena", access="none"),
            MapKind(34, "insn_array", indexed=True),
            MapKind(35, "rhash"),
        )
    }
)


def kind_of(number: int) -> MapKind:
    """The row of a type; an unknown one is taken for a keyed map of data."""
    return MAP_KINDS.get(number, MapKind(number, f"type {number}"))
