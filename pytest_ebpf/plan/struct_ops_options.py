"""What a test asks of struct_ops tables: which are loaded, members that are left out, members of plain data.

As libbpf (bpf_object_adjust_struct_ops_autoload): a program that tables use is loaded with them, whatever its section
says, unless it is asked for by name; a table in a section with "?" is not loaded unless asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_ebpf.btf.codec import encode
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Struct
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.object import DataSection, ObjectFile, ProgramDef, Variable
from pytest_ebpf.plan.map_definitions import nearest
from pytest_ebpf.plan.options import LoadOptions
from pytest_ebpf.uapi.enums import ProgType

__all__ = ["load_table_programs", "members_of", "switched_off", "table_data", "tables_of"]


def tables_of(obj: ObjectFile) -> Iterator[tuple[DataSection, Variable, Struct]]:
    """The tables of an object, whether they are loaded or not, with the struct that each is."""
    for section in obj.data:
        if section.kind == "struct_ops" and obj.btf is not None:
            for variable in section.variables:
                found = obj.btf.type(obj.btf.resolve(variable.type_id)) if variable.type_id else None
                if isinstance(found, Struct):
                    yield section, variable, found


def switched_off(obj: ObjectFile, options: LoadOptions) -> dict[str, str]:
    """Name -> reason, of the tables that are not loaded. A table is loaded when a program is asked for by name that no
    table in another section uses. ObjectError for a table that the object does not have."""
    sections = {variable.name: section.name for section, variable, _ in tables_of(obj)}
    for name in options.struct_ops:
        if name not in sections:
            raise ObjectError(
                f"no struct_ops table {name!r} to change", path=obj.name, hint=nearest(name, list(sections))
            )
    found: dict[str, str] = {}
    if not sections:
        return found
    named = _asked_by_name(options)
    programs = {v.name: frozenset(members_of(section, v).values()) for section, v, _ in tables_of(obj)}
    elsewhere = {p for name, section in sections.items() if not section.startswith("?") for p in programs[name]}
    for name, section in sections.items():
        asked = options.struct_ops.get(name)
        if asked is False:
            found[name] = "struct_ops= leaves it out"
        elif asked is None and section.startswith("?") and not (programs[name] - elsewhere) & named:
            found[name] = f"it is switched off (section {section}); struct_ops={{{name!r}: True}} loads it"
    return found


def _asked_by_name(options: LoadOptions) -> frozenset[str]:
    """The programs that a test asks for by their names."""
    return frozenset((*options.only, *(name for name, override in options.programs.items() if override.autoload)))


def members_of(section: DataSection, variable: Variable) -> dict[int, str]:
    """Byte in the table -> the program there."""
    return {
        reloc.offset - variable.offset: reloc.target
        for reloc in section.relocs
        if reloc.kind == "func" and variable.offset <= reloc.offset < variable.offset + variable.size
    }


def load_table_programs(obj: ObjectFile, options: LoadOptions) -> ObjectFile:
    """``obj`` in which the programs of tables are loaded exactly when one of their tables is."""
    off = switched_off(obj, options)
    used: dict[str, bool] = {}
    for section, variable, struct in tables_of(obj):
        asked = options.struct_ops.get(variable.name)
        values = asked if isinstance(asked, Mapping) else {}
        empty = {member.bit_offset // 8 for member in struct.members if values.get(member.name, 1) is None}
        for at, program in members_of(section, variable).items():
            used[program] = used.get(program, False) or (variable.name not in off and at not in empty)
    if not used:
        return obj

    def adjusted(program: ProgramDef) -> ProgramDef:
        spec, override = program.spec, options.programs.get(program.name)
        is_asked = override is not None and override.autoload is not None
        if spec is None or spec.prog_type != ProgType.STRUCT_OPS or program.name not in used or is_asked:
            return program
        return replace(program, spec=replace(spec, autoload=used[program.name]))

    return replace(obj, programs=tuple(map(adjusted, obj.programs)))


def table_data(
    obj: ObjectFile, variable: Variable, *, data: bytes, struct: Struct, asked: object, members: dict[int, str]
) -> bytes:
    """The bytes of a table with the members that ``asked`` sets, by name; None leaves a program out of ``members``."""
    if not isinstance(asked, Mapping):
        return data
    assert obj.btf is not None
    changed = bytearray(data)
    places = {member.name: member for member in struct.members}
    for name, value in asked.items():
        if name not in places:
            message = f"struct_ops {variable.name}: there is no member {name!r}"
            raise ObjectError(message, path=obj.name, hint=nearest(name, list(places)))
        at, type_id = places[name].bit_offset // 8, places[name].type
        if value is None:
            members.pop(at, None)
            value = 0
        elif at in members:
            message = f"struct_ops {variable.name}: member {name!r} is program {members[at]!r}"
            raise ObjectError(message, path=obj.name, hint="None leaves it out; programs= changes the program")
        raw = (
            bytes(obj.btf.size(type_id))
            if value == 0
            else _encoded(obj.btf, type_id, value=value, where=(obj, variable))
        )
        changed[at : at + len(raw)] = raw
    return bytes(changed)


def _encoded(btf: Btf, type_id: int, *, value: Any, where: tuple[ObjectFile, Variable]) -> bytes:
    try:
        return bytes(encode(btf, type_id, value=value)).ljust(btf.size(type_id), b"\0")
    except (ValueError, TypeError, OverflowError) as error:
        obj, variable = where
        raise ObjectError(f"struct_ops {variable.name} cannot hold {value!r}: {error}", path=obj.name) from None
