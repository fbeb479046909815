"""How ``verify`` loads an object: all of it, and as little of its maps as there can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.map_definitions import MapOverride
from pytest_ebpf.plan.options import LoadOptions
from pytest_ebpf.plan.struct_ops_options import tables_of
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.flags import LogFlag
from pytest_ebpf.verify.ext_types import stand_ins

__all__ = ["options_for"]

# Sized by the kernel or by the plan.
_SIZED_BY_KERNEL = frozenset(
    (
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_STORAGE,
        MapType.PERCPU_CGROUP_STORAGE,
        MapType.SK_STORAGE,
        MapType.INODE_STORAGE,
        MapType.TASK_STORAGE,
        MapType.CGRP_STORAGE,
        MapType.STRUCT_OPS,
    )
)
_DEEPEST_STACK = 127 * 8


def options_for(
    obj: ObjectFile, *, globals: Mapping[str, Any], has_lines: bool, has_btf: bool, asked: LoadOptions | None = None
) -> LoadOptions:
    """Everything is loaded, tables that are switched off too; nothing is pinned, and what the object's user space would
    size gets the least. Programs that extend others are loaded by themselves. ``has_lines``: with a trace. ``asked``:
    maps and programs as a test wants them, which comes first."""
    asked = asked or LoadOptions()
    maps: dict[str, Any] = {}
    for definition in obj.maps:
        fields: dict[str, Any] = {"pin": ""} if definition.pinning else {}
        if not definition.max_entries and definition.type not in _SIZED_BY_KERNEL:
            fields["max_entries"] = 1
        if not definition.value_size and definition.type == MapType.STACK_TRACE:
            fields["value_size"] = _DEEPEST_STACK
        if fields:
            maps[definition.name] = fields
    maps |= {name: _over(maps.get(name), wanted) for name, wanted in asked.maps.items()}
    off = {name for name, wanted in asked.programs.items() if wanted.autoload is False}
    names = tuple(dict.fromkeys(program.name for program in obj.programs if program.name not in off))
    level = LogFlag.STATS | (LogFlag.LEVEL2 if has_lines else 0)
    return LoadOptions(
        globals=dict(globals),
        maps=maps,
        only=names,
        log_level=level,
        programs={**stand_ins(obj), **asked.programs},
        btf=has_btf,
        struct_ops=dict.fromkeys((variable.name for _, variable, _ in tables_of(obj)), True),
    )


def _over(least: Mapping[str, Any] | None, wanted: MapOverride) -> MapOverride:
    """What a test asks of a map, and what is left of the least that it needs."""
    if isinstance(wanted, int):
        wanted = {"max_entries": wanted}
    return {**(least or {}), **wanted} if isinstance(wanted, Mapping) else wanted
