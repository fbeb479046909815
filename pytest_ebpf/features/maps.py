"""Probes for map types and map flags: make the smallest map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pytest_ebpf.agent.ops import BtfLoad, Made, MapCreate, Op, Ref, Result, Try
from pytest_ebpf.features.base import Answer, Feature, refused, said
from pytest_ebpf.features.history import FLAGS, MAPS
from pytest_ebpf.frozen import replace
from pytest_ebpf.plan.btf_features import BTF_FEATURES
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.flags import MapCreateFlag
from pytest_ebpf.uapi.sections import MAP_FLAGS

__all__ = ["FLAG_FEATURES", "MAP_FEATURES"]

_RING = 65536  # a power of two of pages on every machine
_ANY = (4, 4, 1, 0)
_NEWEST = ("7.3", "")  # first seen there; the commit is not known

# name -> key size, value size, entries, flags
_SHAPES: dict[str, tuple[int, int, int, int]] = {
    "HASH": _ANY,
    "ARRAY": _ANY,
    "PROG_ARRAY": _ANY,
    "PERF_EVENT_ARRAY": _ANY,
    "PERCPU_HASH": _ANY,
    "PERCPU_ARRAY": _ANY,
    "STACK_TRACE": (4, 8, 1, 0),
    "CGROUP_ARRAY": _ANY,
    "LRU_HASH": (4, 4, 256, 0),
    "LRU_PERCPU_HASH": (4, 4, 256, 0),
    "LPM_TRIE": (8, 4, 1, MapCreateFlag.NO_PREALLOC),
    "ARRAY_OF_MAPS": _ANY,
    "HASH_OF_MAPS": _ANY,
    "DEVMAP": _ANY,
    "SOCKMAP": _ANY,
    "CPUMAP": _ANY,
    "XSKMAP": _ANY,
    "SOCKHASH": _ANY,
    "CGROUP_STORAGE": (16, 4, 0, 0),
    "REUSEPORT_SOCKARRAY": _ANY,
    "PERCPU_CGROUP_STORAGE": (16, 4, 0, 0),
    "QUEUE": (0, 4, 1, 0),
    "STACK": (0, 4, 1, 0),
    "SK_STORAGE": (4, 4, 0, MapCreateFlag.NO_PREALLOC),
    "DEVMAP_HASH": _ANY,
    "RINGBUF": (0, 0, _RING, 0),
    "INODE_STORAGE": (4, 4, 0, MapCreateFlag.NO_PREALLOC),
    "TASK_STORAGE": (4, 4, 0, MapCreateFlag.NO_PREALLOC),
    "BLOOM_FILTER": (0, 4, 1, 0),
    "USER_RINGBUF": (0, 0, _RING, 0),
    "CGRP_STORAGE": (4, 4, 0, MapCreateFlag.NO_PREALLOC),
    "ARENA": (0, 0, 1, MapCreateFlag.MMAPABLE),
    "INSN_ARRAY": (4, 16, 1, 0),
    "RHASH": (4, 4, 1, MapCreateFlag.NO_PREALLOC),
}
# What a type cannot do without (include/linux/bpf_types.h); CONFIG_NET is taken for granted.
_CONFIG: dict[str, tuple[str, ...]] = {
    "STACK_TRACE": ("PERF_EVENTS",),
    "CGROUP_ARRAY": ("CGROUPS",),
    "CGROUP_STORAGE": ("CGROUP_BPF",),
    "PERCPU_CGROUP_STORAGE": ("CGROUP_BPF",),
    "CGRP_STORAGE": ("CGROUPS",),
    "XSKMAP": ("XDP_SOCKETS",),
    "SOCKMAP": ("BPF_STREAM_PARSER",),
    "SOCKHASH": ("BPF_STREAM_PARSER",),
    "REUSEPORT_SOCKARRAY": ("INET",),
    "INODE_STORAGE": ("BPF_LSM",),
    "ARENA": ("MMU", "64BIT", "BPF_JIT"),
    "INSN_ARRAY": ("BPF_JIT",),
}
# The type on which each flag is tried: key size, value size, entries, and flags that go with it.
_FLAGS: dict[str, tuple[str, tuple[int, int, int, int]]] = {
    "NO_PREALLOC": ("HASH", _ANY),
    "NO_COMMON_LRU": ("LRU_HASH", (4, 4, 256, 0)),
    "NUMA_NODE": ("ARRAY", _ANY),
    "RDONLY": ("ARRAY", _ANY),
    "WRONLY": ("ARRAY", _ANY),
    "STACK_BUILD_ID": ("STACK_TRACE", (4, 32, 1, 0)),
    "ZERO_SEED": ("HASH", _ANY),
    "RDONLY_PROG": ("ARRAY", _ANY),
    "WRONLY_PROG": ("ARRAY", _ANY),
    "CLONE": ("SK_STORAGE", (4, 4, 0, MapCreateFlag.NO_PREALLOC)),
    "MMAPABLE": ("ARRAY", _ANY),
    "PRESERVE_ELEMS": ("PERF_EVENT_ARRAY", _ANY),
    "INNER_MAP": ("ARRAY", _ANY),
    "SEGV_ON_FAULT": ("ARENA", (0, 0, 1, MapCreateFlag.MMAPABLE)),
    "NO_USER_CONV": ("ARENA", (0, 0, 1, MapCreateFlag.MMAPABLE)),
    "RB_OVERWRITE": ("RINGBUF", (0, 0, _RING, 0)),
}
_STORAGE = frozenset(("SK_STORAGE", "INODE_STORAGE", "TASK_STORAGE", "CGRP_STORAGE"))


def _ops(facts: Facts, *, name: str, shape: tuple[int, int, int, int]) -> list[Op]:
    create = MapCreate(MapType[name], *shape)
    if name in _STORAGE:  # these insist on typed keys; type 1 of the plain probe is int
        data = BTF_FEATURES[0].probe(byteorder=facts.described.byteorder)
        return [BtfLoad(data), Try(replace(create, btf=Ref(0), btf_key=1, btf_value=1))]
    if name.endswith("_OF_MAPS"):
        return [MapCreate(MapType.ARRAY, *_ANY), Try(replace(create, inner_map=Ref(0)))]
    return [Try(create)]


def _read(results: Sequence[Result], facts: Facts, *, what: str, since: str) -> Answer:
    result = results[-1]
    message = f"{what}: {said(result)}"
    if isinstance(result, Made):
        return Answer(True, message, since)
    return refused(result, facts, message=message, since=since)


def _type_row(name: str) -> Feature:
    since, commit = MAPS.get(name.lower(), _NEWEST)
    return Feature(
        name.lower(),
        since,
        partial(_ops, name=name, shape=_SHAPES[name]),
        partial(_read, what=f"map type {name}", since=since),
        source=commit,
        config=_CONFIG.get(name, ()),
        group="map",
    )


def _flag_row(flag: str) -> Feature:
    name, shape = _FLAGS[flag]
    key, value, entries, others = shape
    since, commit = FLAGS.get(flag.lower(), ("", ""))
    bit = 1 << MAP_FLAGS.index(flag)
    return Feature(
        flag.lower(),
        since,
        partial(_ops, name=name, shape=(key, value, entries, others | bit)),
        partial(_read, what=f"map flag BPF_F_{flag} on {name}", since=since),
        source=commit,
        config=_CONFIG.get(name, ()),
        group="flag",
    )


MAP_FEATURES: tuple[Feature, ...] = tuple(_type_row(name) for name in _SHAPES)
FLAG_FEATURES: tuple[Feature, ...] = tuple(_flag_row(flag) for flag in _FLAGS)
