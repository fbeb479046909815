"""Of what type the records of a ring buffer, perf event array or user ring buffer are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pytest_ebpf.btf.cut import is_cut_in_array
from pytest_ebpf.btf.layout import is_open_ended
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Kind, Struct
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.typed.object_types import ObjectTypes
from pytest_ebpf.obj.object import MapDef
from pytest_ebpf.suggest import did_you_mean
from pytest_ebpf.uapi.enums import MapType

__all__ = [
    "RecordType",
    "guessed_types",
    "likely_types",
    "named_type",
    "record_type",
    "structs_of",
    "type_named_like",
]

_KINDS = (Kind.STRUCT, Kind.UNION, Kind.TYPEDEF, Kind.ENUM, Kind.ENUM64, Kind.INT, Kind.FLOAT)


class RecordType(NamedTuple):
    """A type, and the BTF that has it."""

    btf: Btf
    type_id: int


def record_type(types: ObjectTypes, *, size: int, definition: MapDef, wanted: str | None) -> RecordType | None:
    """The type of a record of ``size`` bytes: the one asked for, else that of the map's value, else the struct named
    like the map ("events" -> ``struct event``), else the only struct of that size in BTF; None when it is not clear.
    Perf records are padded to 8 bytes (less 4), so a size may be up to 7 bytes larger than its struct; where a struct
    ends in an array without a size, it may be any, and where it ends in another array, it may end in it.

    ``BpfUsageError`` for a name that the object does not have.
    """
    if wanted is not None:
        return named_type(types, wanted)
    for found in likely_types(types, definition):
        if _fits(found, got=size):
            return found
    return guessed_types(types).get(size)


def guessed_types(types: ObjectTypes) -> dict[int, RecordType]:
    """The structs in BTF that are the only ones of their size, by size."""
    btf = types.btf
    if btf is None:
        return {}
    by_size: dict[int, list[int]] = {}
    for type_id in _structs(btf).values():
        by_size.setdefault(btf.size(type_id), []).append(type_id)
    return {size: RecordType(btf, found[0]) for size, found in by_size.items() if len(found) == 1}


def structs_of(types: ObjectTypes) -> dict[str, RecordType]:
    """All structs that have a name, by name; those of DWARF too."""
    return {name: RecordType(btf, type_id) for btf in _places(types) for name, type_id in _structs(btf).items()}


def named_type(types: ObjectTypes, name: str) -> RecordType:
    """A type by its name, "struct event" or "event". ``BpfUsageError``: there is none."""
    for btf in _places(types):
        if type_id := _named(btf, name):
            return RecordType(btf, type_id)
    why = f"the object has no type {name!r}" if types.wide else f"the object has no BTF, so there is no {name!r}"
    raise BpfUsageError(why, hint=_how_to_add(types, name))


def type_named_like(types: ObjectTypes, definition: MapDef) -> RecordType | None:
    """The type of a map's records by the map's value type or name, None when there is none."""
    return next(likely_types(types, definition), None)


def _how_to_add(types: ObjectTypes, name: str) -> str:
    plain = name.removeprefix("struct ").strip()
    btf = types.wide
    known = list(_structs(btf)) if btf is not None else []
    listed = f"Its structs: {', '.join(known) or 'none'}."
    return (
        f"{did_you_mean(plain, known, otherwise=listed)}\n"
        "BTF has only types that maps, globals and functions use. Add this line to the C source:\n"
        f"    struct {plain} *unused_{plain} __attribute__((unused));\n"
        "(in Rust a `#[no_mangle] static` of that type), keep the DWARF of -g, which llvm-strip -g removes, or give "
        'the types in a header or an object: load(..., types="events.h").'
    )


def _places(types: ObjectTypes) -> Iterator[Btf]:
    """BTF first: DWARF is only read for what BTF lacks."""
    if types.btf is not None:
        yield types.btf
    if types.wide is not None and types.wide is not types.btf:
        yield types.wide


def likely_types(types: ObjectTypes, definition: MapDef) -> Iterator[RecordType]:
    """What the records of a map may be, by the map's value type and name; the most likely first."""
    if types.btf is not None and (type_id := _value_type(types.btf, definition)):
        yield RecordType(types.btf, type_id)
    stem = definition.name.removesuffix("s")
    for btf in _places(types):
        named = (_named(btf, name) for name in (definition.name, stem, f"{stem}_t"))
        yield from (RecordType(btf, type_id) for type_id in named if type_id)


def _value_type(btf: Btf, definition: MapDef) -> int:
    """0 where it says nothing: the value of a perf event array is an fd, though some give the type of its records."""
    type_id = definition.value_type
    if definition.type == MapType.PERF_EVENT_ARRAY and not isinstance(btf.type(btf.resolve(type_id)), Struct):
        return 0
    return type_id


def _fits(found: RecordType, *, got: int) -> bool:
    btf, type_id = found
    if got < (size := btf.size(type_id)):
        return is_cut_in_array(btf, type_id, size=got)
    return got < size + 8 or is_open_ended(btf, type_id)


def _named(btf: Btf, name: str) -> int:
    plain = name.removeprefix("struct ").removeprefix("union ").removeprefix("enum ").strip()
    for kind in _KINDS:
        if found := btf.find(plain, kind):
            return found[0]
    return 0


def _structs(btf: Btf) -> dict[str, int]:
    """Named structs of the object that have members (map definitions are anonymous), by name."""
    return {
        type.name: type_id
        for type_id, type in btf
        if isinstance(type, Struct) and type.name and type.members and not type.is_union
    }
