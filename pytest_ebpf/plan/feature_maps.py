"""Probes for map types: make the smallest one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pytest_ebpf.agent.ops import BtfLoad, Made, MapCreate, Op, Ref, Result, Try
from pytest_ebpf.obj.section_table import MAP_TYPES
from pytest_ebpf.plan.btf_features import BTF_FEATURES
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.feature_base import Answer, Feature, refusal, said
from pytest_ebpf.plan.maps import NO_PREALLOC

__all__ = ["MAP_FEATURES"]

_MMAPABLE = 1 << 10
_RING = 65536  # a power of two of pages on every machine
_ANY = (4, 4, 1, 0)

# name -> (first release, (key size, value size, entries, flags)); releases: man 2 bpf and the kernel's history
_SHAPES: dict[str, tuple[str, tuple[int, int, int, int]]] = {
    "HASH": ("3.19", _ANY),
    "ARRAY": ("3.19", _ANY),
    "PROG_ARRAY": ("4.2", _ANY),
    "PERF_EVENT_ARRAY": ("4.3", _ANY),
    "PERCPU_HASH": ("4.6", _ANY),
    "PERCPU_ARRAY": ("4.6", _ANY),
    "STACK_TRACE": ("4.6", (4, 8, 1, 0)),
    "CGROUP_ARRAY": ("4.8", _ANY),
    "LRU_HASH": ("4.10", (4, 4, 256, 0)),
    "LRU_PERCPU_HASH": ("4.10", (4, 4, 256, 0)),
    "LPM_TRIE": ("4.11", (8, 4, 1, NO_PREALLOC)),
    "ARRAY_OF_MAPS": ("4.12", _ANY),
    "HASH_OF_MAPS": ("4.12", _ANY),
    "DEVMAP": ("4.14", _ANY),
    "SOCKMAP": ("4.14", _ANY),
    "CPUMAP": ("4.15", _ANY),
    "XSKMAP": ("4.18", _ANY),
    "SOCKHASH": ("4.18", _ANY),
    "CGROUP_STORAGE": ("4.19", (16, 4, 0, 0)),
    "REUSEPORT_SOCKARRAY": ("4.19", _ANY),
    "PERCPU_CGROUP_STORAGE": ("4.20", (16, 4, 0, 0)),
    "QUEUE": ("4.20", (0, 4, 1, 0)),
    "STACK": ("4.20", (0, 4, 1, 0)),
    "SK_STORAGE": ("5.2", (4, 4, 0, NO_PREALLOC)),
    "DEVMAP_HASH": ("5.4", _ANY),
    "RINGBUF": ("5.8", (0, 0, _RING, 0)),
    "INODE_STORAGE": ("5.10", (4, 4, 0, NO_PREALLOC)),
    "TASK_STORAGE": ("5.11", (4, 4, 0, NO_PREALLOC)),
    "BLOOM_FILTER": ("5.16", (0, 4, 1, 0)),
    "USER_RINGBUF": ("6.1", (0, 0, _RING, 0)),
    "CGRP_STORAGE": ("6.2", (4, 4, 0, NO_PREALLOC)),
    "ARENA": ("6.9", (0, 0, 1, _MMAPABLE)),
    "INSN_ARRAY": ("6.19", (4, 16, 1, 0)),
}
_STORAGE = frozenset(("SK_STORAGE", "INODE_STORAGE", "TASK_STORAGE", "CGRP_STORAGE"))


def _ops(facts: Facts, *, name: str) -> list[Op]:
    key, value, entries, flags = _SHAPES[name][1]
    create = MapCreate(MAP_TYPES.index(name), key, value, entries, flags)
    if name in _STORAGE:  # these insist on typed keys; type 1 of the plain probe is int
        data = BTF_FEATURES[0].probe(byteorder=facts.described.byteorder)
        return [BtfLoad(data), Try(replace(create, btf=Ref(0), btf_key=1, btf_value=1))]
    if name.endswith("_OF_MAPS"):
        return [MapCreate(MAP_TYPES.index("ARRAY"), *_ANY), Try(replace(create, inner_map=Ref(0)))]
    return [Try(create)]


def _read(results: Sequence[Result], facts: Facts, *, name: str) -> Answer:
    result, since = results[-1], _SHAPES[name][0]
    words = f"map type {name}: {said(result)}"
    return Answer(True if isinstance(result, Made) else refusal(result, facts), words, since)


MAP_FEATURES: tuple[Feature, ...] = tuple(
    Feature(name.lower(), since, partial(_ops, name=name), partial(_read, name=name))
    for name, (since, _) in _SHAPES.items()
)
