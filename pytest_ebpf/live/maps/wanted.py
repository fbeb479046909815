"""What ``expect`` waits for, looked at before it waits: what can never come is an error at once."""

from __future__ import annotations

from typing import NamedTuple

from pytest_ebpf.btf.describe import describe
from pytest_ebpf.btf.literals import by_name, why_never
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.maps.record_types import RecordType, guessed_types, likely_types, named_type, structs_of
from pytest_ebpf.live.typed.object_types import ObjectTypes
from pytest_ebpf.obj.object import MapDef

__all__ = ["Wanted", "check_wanted", "untyped"]

_STRUCTS_NAMED = 3


class Wanted(NamedTuple):
    """``value``: with dicts for the tuples that stand for structs. ``needs_type``: records that are bytes never match
    it."""

    value: object
    needs_type: bool = False


def check_wanted(types: ObjectTypes, definition: MapDef, *, wanted: object, type: str | None) -> Wanted:
    """``BpfUsageError`` when no record of the map can match: the records have no type, or no such field, or a field of
    another type."""
    if callable(wanted):
        return Wanted(wanted)
    if type is not None:
        return _of_one([named_type(types, type)], definition, wanted=wanted)
    likely = list(likely_types(types, definition))
    if isinstance(wanted, bytes | bytearray):
        return Wanted(wanted)
    if likely:
        return _of_one([*likely, *guessed_types(types).values()], definition, wanted=wanted)
    fitting = [found for found in guessed_types(types).values() if not _never(found, wanted)]
    if not fitting:
        raise untyped(types, definition, wanted=wanted)
    return Wanted(_named(fitting[0], wanted), needs_type=True)


def untyped(types: ObjectTypes, definition: MapDef, *, wanted: object, size: int = 0) -> BpfUsageError:
    """The error for records of which nobody knows the type. ``size``: bytes of one that came, 0 before any did."""
    sizes = {
        name: found.btf.size(found.type_id) for name, found in structs_of(types).items() if not _never(found, wanted)
    }
    fitting = sorted(sizes, key=lambda name: (bool(size) and sizes[name] != size, sizes[name]))
    fitting = fitting[: 1 if fitting and sizes[fitting[0]] == size else _STRUCTS_NAMED]
    how = " or ".join(f'type="struct {name}"' for name in fitting) or 'type="struct NAME"'
    rest = "" if fitting else ' A struct that the object lacks comes from a C header: load(..., types="events.h").'
    name = definition.name
    return BpfUsageError(
        f"the records of map {name!r} have no type that is known: they are bytes, which never match {wanted!r}",
        hint=f"Name their type: expect(..., {how}).{rest}",
    )


def _of_one(types: list[RecordType], definition: MapDef, *, wanted: object) -> Wanted:
    """The first type that can match. What the first of all says is the reason if none can."""
    for found in types:
        if not _never(found, wanted):
            return Wanted(_named(found, wanted))
    btf, type_id = types[0]
    raise BpfUsageError(
        f"no record of map {definition.name!r} can match {wanted!r}: {_never(types[0], wanted)}",
        hint=f"Its records are {describe(btf, type_id)}; another type can be named with type=.",
    )


def _never(found: RecordType, wanted: object) -> str:
    try:
        return why_never(found.btf, found.type_id, wanted=_named(found, wanted))
    except ValueError as error:
        return f"{describe(found.btf, found.type_id)} {error}"


def _named(found: RecordType, wanted: object) -> object:
    return by_name(found.btf, found.type_id, value=wanted)
