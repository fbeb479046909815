"""Maps of an object as MAP_CREATE operations.

A definition is adjusted the way libbpf does (src/libbpf.c: bpf_object__create_map, bpf_object_prepare_maps), so that
an object means the same here. Changes that a test asked for (``maps=``) are applied first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias, Union

from pytest_ebpf.agent.ops import Handle, MapCreate, Obj
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.obj.object import MapDef, ObjectFile
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.suggest import close_names, did_you_mean
from pytest_ebpf.uapi.enums import MapType

__all__ = [
    "MapOverride",
    "Overridden",
    "adjust_map",
    "apply_overrides",
    "create_op",
    "kernel_name",
    "nearest",
    "override_map",
]

# The kernel has no map_check_btf for these, or accepts no BTF types for them (kernel/bpf/syscall.c: map_check_btf()).
_WITHOUT_BTF = frozenset(
    (
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.STACK_TRACE,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.DEVMAP,
        MapType.DEVMAP_HASH,
        MapType.CPUMAP,
        MapType.XSKMAP,
        MapType.SOCKMAP,
        MapType.SOCKHASH,
        MapType.QUEUE,
        MapType.STACK,
        MapType.ARENA,
        MapType.PROG_ARRAY,
        MapType.REUSEPORT_SOCKARRAY,
        MapType.RINGBUF,
        MapType.USER_RINGBUF,
    )
)
_KEYLESS = (MapType.BLOOM_FILTER,)  # only the value has a type; so for the array that holds a data section
_RINGS = (MapType.RINGBUF, MapType.USER_RINGBUF)
_HOLDS_U32 = frozenset(
    (MapType.PROG_ARRAY, MapType.PERF_EVENT_ARRAY, MapType.CGROUP_ARRAY, MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)
)
_NAME_LENGTH = 15
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.]")
_U32 = 0xFFFFFFFF

MapOverride: TypeAlias = Union[int, Handle, Mapping[str, Any]]
_FIELDS = ("type", "max_entries", "flags", "map_extra", "numa_node", "value_size", "key_size", "perf_pages")
_EXTRAS = ("contents", "exclusive", "freeze", "handle", "inner", "pin")


@dataclass(frozen=True, slots=True)
class Overridden:
    """Definitions after ``maps=`` was applied, the existing maps that replace some of them, and further requests:
    ``contents`` (pairs of key and value, bytes or objects), ``pin`` (a path, "" for none), ``exclusive`` (the one
    program that may use it), ``freeze``, ``handle`` (the map itself, opened by its pin)."""

    maps: tuple[MapDef, ...]
    reused: Mapping[str, Handle]
    extras: Mapping[str, Mapping[str, Any]]


def apply_overrides(obj: ObjectFile, overrides: Mapping[str, MapOverride]) -> Overridden:
    """``overrides`` by map name: a number is max_entries, a mapping sets fields of the definition and extras, a handle
    is a map to use instead. Data sections are maps too, by the name of their section.

    ObjectError for a name or field that does not exist.
    """
    names = [definition.name for definition in obj.maps] + [section.name for section in obj.data]
    for name in overrides:
        if name not in names:
            raise ObjectError(f"no map {name!r} to override", path=obj.name, hint=nearest(name, names))
    maps = [override_map(definition, overrides.get(definition.name), path=obj.name) for definition in obj.maps]
    reused = {name: value for name, value in overrides.items() if isinstance(value, Handle)}
    reused |= {n: value["handle"] for n, value in overrides.items() if isinstance(value, Mapping) and "handle" in value}
    extras = {
        name: {field: value for field, value in given.items() if field in _EXTRAS}
        for name, given in overrides.items()
        if isinstance(given, Mapping)
    }
    return Overridden(tuple(maps), reused, extras)


def override_map(definition: MapDef, override: MapOverride | None, *, path: str) -> MapDef:
    """A definition with other fields. A key or value of another size loses its type."""
    if override is None or isinstance(override, Handle):
        return definition
    if isinstance(override, int):
        return replace(definition, max_entries=override)
    for field in override:
        if field not in (*_FIELDS, *_EXTRAS):
            known = (*_FIELDS, *_EXTRAS)
            hint = did_you_mean(field, known, otherwise=f"fields that can be set: {', '.join(known)}")
            raise ObjectError(f"map {definition.name!r} has no {field!r} to override", path=path, hint=hint)
    changes: dict[str, Any] = {field: value for field, value in override.items() if field in _FIELDS}
    for what in ("key", "value"):
        if changes.get(f"{what}_size", size := getattr(definition, f"{what}_size")) != size:
            changes[f"{what}_type"] = 0
    if "inner" in override:
        if definition.inner is None:
            raise ObjectError(f"map {definition.name!r} holds no maps: it has no 'inner' to override", path=path)
        changes["inner"] = override_map(definition.inner, override["inner"], path=path)
    return replace(definition, **changes)


def nearest(name: str, names: list[str]) -> str:
    """A hint with the names closest to ``name``, or the first of all names."""
    close = close_names(name, names, most=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there are: {', '.join(sorted(names)[:12])}" if names else "there are none"


def adjust_map(definition: MapDef, facts: Facts) -> MapDef:
    """The definition with the sizes that the kernel requires: rings in pages, perf event arrays with an entry per
    CPU."""
    changes: dict[str, Any] = {}
    if definition.type in _RINGS:
        changes = {"key_size": 0, "value_size": 0}  # only the records have a type
        changes["max_entries"] = _ring_size(definition.max_entries, facts.described.page_size)
    elif definition.type == MapType.PERF_EVENT_ARRAY and not definition.max_entries:
        changes["max_entries"] = facts.described.cpus
    if definition.type in _HOLDS_U32:
        changes.setdefault("key_size", definition.key_size or 4)
        changes["value_size"] = 4  # objects may declare the type of the records here; the kernel only takes 4
    return replace(definition, **changes) if changes else definition


def _ring_size(size: int, page: int) -> int:
    """The least power of two of pages that holds ``size`` bytes. 0 and sizes beyond a u32 stay as they are: the kernel
    refuses them."""
    if not size:
        return 0
    pages = 1
    while pages * page < size:
        pages *= 2
    return pages * page if pages * page <= _U32 else size


def kernel_name(name: str) -> str:
    """The first 15 characters; those that the kernel does not take become "_"."""
    return _NOT_IN_NAMES.sub("_", name[:_NAME_LENGTH])


def create_op(
    definition: MapDef, *, btf: Obj | None, inner: Obj | None = None, name: str = "", site: str = ""
) -> MapCreate:
    """The operation for an adjusted definition. ``btf``: the object's loaded BTF, None when there is none. ``name``: in
    the kernel, if it is not the definition's."""
    keyed = definition.key_type or definition.type in _KEYLESS or definition.section != ".maps"
    typed = btf is not None and definition.type not in _WITHOUT_BTF and bool(definition.value_type and keyed)
    return MapCreate(
        type=definition.type,
        key_size=definition.key_size,
        value_size=definition.value_size,
        max_entries=definition.max_entries,
        flags=definition.flags,
        name=name or kernel_name(definition.name),
        inner_map=inner,
        numa_node=definition.numa_node,
        btf=btf if typed else None,
        btf_key=definition.key_type if typed else 0,
        btf_value=definition.value_type if typed else 0,
        map_extra=definition.map_extra,
        site=site,
    )
