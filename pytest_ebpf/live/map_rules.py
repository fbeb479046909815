"""Why a kernel refuses a map with EINVAL: what its definition says, held against what its type wants.

Rows are tried in order. Source: the ``map_alloc_check`` and ``map_alloc`` functions in ``kernel/bpf/`` of Linux 6.18
(arraymap.c, hashtab.c, stackmap.c, lpm_trie.c, queue_stack_maps.c, ringbuf.c, bpf_local_storage.c, bloom_filter.c,
arena.c).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_ebpf.agent.ops import MapCreate
from pytest_ebpf.live.map_kinds import kind_of

__all__ = ["MAP_RULES", "MapRule", "map_hint"]

_NO_PREALLOC = 1  # BPF_F_NO_PREALLOC
_MMAPABLE = 1 << 10  # BPF_F_MMAPABLE
_STORAGE = frozenset({"sk_storage", "inode_storage", "task_storage", "cgrp_storage"})
_UNBOUNDED = _STORAGE | {"cgroup_storage", "percpu_cgroup_storage"}
_RINGS = frozenset({"ringbuf", "user_ringbuf"})
_KEYLESS = frozenset({"queue", "stack", "bloom_filter", "arena"}) | _RINGS
_VALUELESS = _RINGS | {"arena"}


@dataclass(frozen=True, slots=True)
class MapRule:
    """``broken(op, name of the type)``: whether this is what is wrong; ``text``: what, with ``{map}`` for its name."""

    broken: Callable[[MapCreate, str], bool]
    text: str


MAP_RULES: tuple[MapRule, ...] = (
    MapRule(
        lambda op, kind: kind in ("array_of_maps", "hash_of_maps") and op.inner_map is None,
        "The object does not say what its inner maps are like: declare one with __array(values, ...).",
    ),
    MapRule(
        lambda op, kind: not op.max_entries and kind in _RINGS,
        "The object leaves the size of the ring at 0, for its user to set: maps={{{map!r}: 1 << 18}} (bytes).",
    ),
    MapRule(
        lambda op, kind: not op.max_entries and kind not in _UNBOUNDED,
        "The object leaves max_entries at 0, for its user to set: maps={{{map!r}: 1024}}.",
    ),
    MapRule(
        lambda op, kind: bool(op.max_entries) and kind in _UNBOUNDED,
        "Maps that store with a kernel object have no max_entries: it has to be 0.",
    ),
    MapRule(
        lambda op, kind: not op.value_size and kind not in _VALUELESS,
        "The object leaves the value size at 0, for its user to set: maps={{{map!r}: {{'value_size': 8}}}}.",
    ),
    MapRule(
        lambda op, kind: not op.key_size and kind not in _KEYLESS,
        "The object leaves the key size at 0, for its user to set: maps={{{map!r}: {{'key_size': 4}}}}.",
    ),
    MapRule(
        lambda op, kind: bool(op.key_size) and kind in _KEYLESS,
        "Maps of this type have no keys: the key size has to be 0.",
    ),
    MapRule(
        lambda op, kind: op.key_size != 4 and (kind_of(op.type).indexed or kind == "stack_trace" or kind in _STORAGE),
        "Maps of this type have keys of 4 bytes.",
    ),
    MapRule(
        lambda op, kind: kind == "stack_trace" and op.value_size % 8 != 0,
        "A stack trace is a number of addresses: the value size has to be a multiple of 8.",
    ),
    MapRule(
        lambda op, kind: kind in _RINGS and (op.max_entries & (op.max_entries - 1) != 0),
        "The size of a ring buffer is a power of two, and a multiple of the page size.",
    ),
    MapRule(
        lambda op, kind: (kind == "lpm_trie" or kind in _STORAGE) and not op.flags & _NO_PREALLOC,
        "Maps of this type are not allocated in advance: add map_flags = BPF_F_NO_PREALLOC.",
    ),
    MapRule(
        lambda op, kind: kind == "arena" and not op.flags & _MMAPABLE,
        "An arena is memory shared with user space: add map_flags = BPF_F_MMAPABLE.",
    ),
)


def map_hint(op: MapCreate) -> str:
    """What is wrong with the definition of a map that was refused, "" when no rule tells."""
    kind = kind_of(op.type).name
    found = next((rule for rule in MAP_RULES if rule.broken(op, kind)), None)
    return found.text.format(map=op.name) if found else ""
