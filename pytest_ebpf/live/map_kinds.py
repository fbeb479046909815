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
    """``access`` is how user space reads it: keyed, fifo (queue, stack, bloom filter), ring, perf or none.

    ``holds`` names what its values are: data, prog, map or other (an object that only the kernel can read back).
    ``indexed``: keys are 0 to max_entries - 1, all always present."""

    number: int
    name: str
    access: str = "keyed"
    holds: str = "data"
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
            MapKind(4, "perf_event_array", access="perf", holds="other", indexed=True),
            MapKind(5, "percpu_hash", per_cpu=True),
            MapKind(6, "percpu_array", indexed=True, per_cpu=True),
            MapKind(7, "stack_trace"),
            MapKind(8, "cgroup_array", holds="other", indexed=True),
            MapKind(9, "lru_hash"),
            MapKind(10, "lru_percpu_hash", per_cpu=True),
            MapKind(11, "lpm_trie", lpm=True),
            MapKind(12, "array_of_maps", holds="map", indexed=True),
            MapKind(13, "hash_of_maps", holds="map"),
            MapKind(14, "devmap", indexed=True),
            MapKind(15, "sockmap", holds="other", indexed=True),
            MapKind(16, "cpumap", indexed=True),
            MapKind(17, "xskmap", holds="other", indexed=True),
            MapKind(18, "sockhash", holds="other"),
            MapKind(19, "cgroup_storage"),
            MapKind(20, "reuseport_sockarray", holds="other", indexed=True),
            MapKind(21, "percpu_cgroup_storage", per_cpu=True),
            MapKind(22, "queue", access="fifo"),
            MapKind(23, "stack", access="fifo"),
            MapKind(24, "sk_storage"),
            MapKind(25, "devmap_hash"),
            MapKind(26, "struct_ops", indexed=True),
            MapKind(27, "ringbuf", access="ring"),
            MapKind(28, "inode_storage"),
            MapKind(29, "task_storage"),
            MapKind(30, "bloom_filter", access="fifo"),
            MapKind(31, "user_ringbuf", access="none"),
            MapKind(32, "cgrp_storage"),
            MapKind(33, "arena", access="none"),
            MapKind(34, "insn_array", indexed=True),
            MapKind(35, "rhash"),
        )
    }
)


def kind_of(number: int) -> MapKind:
    """The row of a type; an unknown one is taken for a keyed map of data."""
    return MAP_KINDS.get(number, MapKind(number, f"type {number}"))
