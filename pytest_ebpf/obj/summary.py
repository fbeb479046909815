"""An object in a few plain values (str, int, list, dict), for people and for JSON."""

from __future__ import annotations

from typing import Any

from pytest_ebpf.btf.codec import decode, describe
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.object import DataSection, Extern, MapDef, ObjectFile, Problem, ProgramDef, Variable
from pytest_ebpf.obj.sections import attach_type_name, map_flag_names, map_type_name, prog_type_name

__all__ = ["Summary", "summarise"]

Summary = dict[str, Any]

_LARGEST_SHOWN = 1 << 16  # bytes of one variable


def summarise(obj: ObjectFile) -> Summary:
    """Programs, subprograms, maps, globals, externs and problems of an object. Types are C names."""
    return {
        "file": obj.name,
        "byteorder": obj.byteorder,
        "license": obj.license,
        "btf_types": len(obj.btf) - 1 if obj.btf else 0,
        "programs": [_program(program) for program in obj.programs],
        "subprograms": [_function(function) for function in obj.text],
        "maps": [_map(map_, obj.btf) for map_ in obj.maps],
        "globals": [_global(section, variable, obj=obj) for section in obj.data for variable in section.variables],
        "externs": [_extern(extern, obj.btf) for extern in obj.externs],
        "problems": [_problem(problem) for problem in obj.problems],
    }


def _function(function: ProgramDef) -> Summary:
    """``insns``: slots; ``lines``: how many source lines its instructions come from."""
    return {
        "name": function.name,
        "section": function.section,
        "insns": len(function.insns) // 8,
        "lines": len({(row.file, row.line) for row in function.line_info}),
        "core_relocations": len(function.core),
    }


def _program(program: ProgramDef) -> Summary:
    spec = program.spec
    if spec is None:
        return _function(program) | {"type": "", "attach": "", "target": "", "sleepable": False, "autoload": False}
    # attach type 0 is a real one (CGROUP_INET_INGRESS), and what programs without any have
    has_attach = spec.attach_type or prog_type_name(spec.prog_type) == "CGROUP_SKB"
    return _function(program) | {
        "type": prog_type_name(spec.prog_type),
        "attach": attach_type_name(spec.attach_type) if has_attach else "",
        "target": spec.target,
        "sleepable": spec.sleepable,
        "autoload": spec.autoload,
    }


def _map(map_: MapDef, btf: Btf | None) -> Summary:
    return {
        "name": map_.name,
        "section": map_.section,
        "type": map_type_name(map_.type),
        "key": _type(btf, map_.key_type, size=map_.key_size),
        "key_size": map_.key_size,
        "value": _type(btf, map_.value_type, size=map_.value_size),
        "value_size": map_.value_size,
        "max_entries": map_.max_entries,
        "flags": list(map_flag_names(map_.flags)),
        "pinned_by_name": bool(map_.pinning),
        "inner": _map(map_.inner, btf) if map_.inner else None,
        "values": {str(slot.index): slot.symbol for slot in map_.values},
    }


def _type(btf: Btf | None, type_id: int, *, size: int) -> str:
    if btf and type_id:
        return describe(btf, type_id)
    return f"{size} bytes" if size else ""


def _global(section: DataSection, variable: Variable, *, obj: ObjectFile) -> Summary:
    return {
        "name": variable.name,
        "section": section.name,
        "type": _type(obj.btf, variable.type_id, size=variable.size),
        "size": variable.size,
        "offset": variable.offset,
        "value": _value(section, variable, obj=obj),
    }


def _value(section: DataSection, variable: Variable, *, obj: ObjectFile) -> Any:
    if variable.size > _LARGEST_SHOWN:
        return None
    end = variable.offset + variable.size
    data = bytes(variable.size) if section.kind == "bss" else section.data[variable.offset : end]
    if obj.btf and variable.type_id:
        try:
            return _plain(decode(obj.btf, variable.type_id, data=data))
        except (ObjectError, ValueError):
            pass  # a type without a size, or of another: its bytes say more than nothing
    return data.hex(" ")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.hex(" ") if isinstance(value, bytes) else value


def _extern(extern: Extern, btf: Btf | None) -> Summary:
    return {
        "name": extern.name,
        "kind": extern.kind,
        "type": _type(btf, extern.type_id, size=0),
        "weak": extern.is_weak,
    }


def _problem(problem: Problem) -> Summary:
    return {
        "section": problem.section,
        "symbol": problem.symbol,
        "message": problem.message,
        "hint": problem.hint,
    }
