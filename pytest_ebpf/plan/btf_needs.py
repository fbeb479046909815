"""The parts of an object that cannot be loaded without its BTF. For all others, types are only descriptive."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, Kind, Modifier, Ptr, Struct, Var
from pytest_ebpf.obj.object import MapDef
from pytest_ebpf.plan.link import exception_callbacks
from pytest_ebpf.plan.planned import Plan
from pytest_ebpf.uapi.enums import MapType

__all__ = ["why_btf_is_needed"]

# kernel/bpf/bpf_local_storage.c: bpf_local_storage_map_alloc_check() wants a type of key and of value
_TYPED_MAPS = frozenset((MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE, MapType.CGRP_STORAGE))
# btf.c: the names that btf_get_field_type() looks for, and the tags of pointers that a map may hold
_LOCKS = ("bpf_spin_lock", "bpf_res_spin_lock", "bpf_refcount")
_DEFERRED = ("bpf_timer", "bpf_wq", "bpf_task_work")
_NODES = ("bpf_list_head", "bpf_list_node", "bpf_rb_root", "bpf_rb_node")
_SPECIAL = frozenset((*_LOCKS, *_DEFERRED, *_NODES))
_POINTER_TAGS = ("kptr", "uptr", "percpu_kptr")
_DEEPEST = 16


def why_btf_is_needed(plan: Plan) -> str:
    """A description of the first part that needs BTF; "" when none does."""
    return next(_needs(plan), "")


def _needs(plan: Plan) -> Iterator[str]:
    obj = plan.obj
    for table in plan.struct_ops:
        yield f"struct_ops table {table.name!r}"
    for definition in obj.maps:
        if definition.type in _TYPED_MAPS:
            yield f"map {definition.name!r} (storage has a typed key and value)"
        if special := _special(obj.btf, definition):
            yield f"map {definition.name!r} ({special} in its value)"
    for section in obj.data:
        for variable in section.variables:
            if special := _find_special(obj.btf, variable.type_id, depth=0):
                yield f"global variable {variable.name!r} ({special})"
    yield from _programs(plan)


def _programs(plan: Plan) -> Iterator[str]:
    callbacks = exception_callbacks(plan.obj)
    for planned in plan.programs:
        if planned.definition.btf_id in callbacks:
            yield f"program {planned.name!r} (an exception callback)"
    for function in (*(planned.definition for planned in plan.programs), *plan.obj.text):
        if any(reloc.kind == "func" for reloc in function.relocs):
            yield f"function {function.name!r} (it passes a callback)"


def _special(btf: Btf | None, definition: MapDef) -> str:
    return _find_special(btf, definition.value_type, depth=0) if definition.value_type else ""


def _find_special(btf: Btf | None, type_id: int, *, depth: int) -> str:
    """A part of a value whose place the kernel must know: a lock, a timer, a reference-counted pointer."""
    if btf is None or not 0 < type_id < len(btf) or depth > _DEEPEST:
        return ""
    found = btf.type(type_id)
    if isinstance(found, Struct):
        if found.name in _SPECIAL:
            return f"struct {found.name}"
        return next((s for m in found.members if (s := _find_special(btf, m.type, depth=depth + 1))), "")
    if isinstance(found, Ptr):
        tag = btf.type(found.type) if found.type < len(btf) else None
        is_tag = isinstance(tag, Modifier) and tag.kind == Kind.TYPE_TAG
        return f"a pointer with tag {tag.name}" if is_tag and tag and tag.name.startswith(_POINTER_TAGS) else ""
    if isinstance(found, Array | Modifier | Var) or found.kind == Kind.TYPEDEF:
        return _find_special(btf, found.type, depth=depth + 1)  # type: ignore[union-attr]
    return ""
