"""The places of the fields of compound types and the formats of scalars, for decoding and encoding."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from pytest_ebpf.btf.parse import POINTER_SIZE, Btf
from pytest_ebpf.btf.types import Array, DataSec, Enum, Float, Int, Member, Ptr, Struct, Var
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass

__all__ = [
    "MAX_DEPTH",
    "Field",
    "Scalar",
    "bit_range",
    "element_type",
    "fields",
    "flexible",
    "is_char",
    "is_open_ended",
    "overlaps",
    "scalar",
    "strip",
]

MAX_DEPTH = 32  # types nested by value; deeper ones are loops
_MAX_FIELDS = 1 << 16  # vlen has 16 bits before Linux 7.1; more are a few anonymous members many times over
_CODES = {1: "b", 2: "h", 4: "i", 8: "q"}
_WIDEST = 16  # bytes: __int128, long double
_FLOATS = {4: "f", 8: "d"}
# Rust's library wraps a value in these without adding a byte (core 1.95, aya-ebpf 0.2). bpf-linker 0.13 writes "<" as
# "_3C_", so no C type has such a name.
_WRAPPER = re.compile(
    r"(Global|MaybeUninit|ManuallyDrop|MaybeDangling|(Sync)?UnsafeCell|Cell|Wrapping|Saturating|Atomic)_3C_.*_3E_"
    r"|Atomic(Bool|[IU](8|16|32|64|size))"
)


class Field(NamedTuple):
    """A field, by its name in C code. ``bit_size``: 0 unless it is a bitfield."""

    name: str
    type: int
    bit_offset: int
    bit_size: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number of ``size`` bytes. ``code``: its struct format, "" where struct has none (128 bits).

    ``names``: (name, number) of an enum. ``kind``: "int", "bool", "enum", "ptr", "float" or "unit" (no bytes, None).
    """

    kind: str
    size: int
    code: str
    signed: bool = False
    names: tuple[tuple[str, int], ...] = ()


def strip(btf: Btf, type_id: int) -> int:
    """The id behind typedefs, qualifiers, variables and the wrapper types of Rust."""
    for _ in range(MAX_DEPTH):
        type_id = btf.resolve(type_id)
        found = btf.type(type_id)
        inner = found.type if isinstance(found, Var) else _wrapped(btf, type_id)
        if not inner:
            break
        type_id = inner
    return type_id


def _wrapped(btf: Btf, type_id: int) -> int:
    """The type in a wrapper type of Rust, 0 for any other type. Cached: many fields may have it."""
    found = btf.type(type_id)
    if not isinstance(found, Struct) or not _WRAPPER.fullmatch(found.name):
        return 0
    key = ("wrapped", type_id)
    if key not in btf.memo:
        btf.memo[key] = next((one.type for one in found.members if btf.size(one.type) == found.size), 0)
    inner: int = btf.memo[key]
    return inner


def scalar(btf: Btf, type_id: int) -> Scalar | None:
    """The number format of a (stripped) type; None for compound types."""
    found = btf.type(type_id)
    if isinstance(found, Int) and not found.size:
        return Scalar("unit", 0, "")  # Rust's (): bpf-linker 0.13 writes it as a number of size 0
    if isinstance(found, Int | Enum | Float) and not 0 < found.size <= _WIDEST:
        raise ObjectError(f"BTF type {type_id} ({found.name}) is a number of {found.size} bytes", section=".BTF")
    if isinstance(found, Ptr):
        return Scalar("ptr", POINTER_SIZE, "Q")
    if isinstance(found, Enum):
        return Scalar("enum", found.size, _code(found.size, signed=found.signed), found.signed, found.values)
    if isinstance(found, Int):
        kind = "bool" if found.is_bool else "int"
        return Scalar(kind, found.size, _code(found.size, signed=found.signed), found.signed)
    if isinstance(found, Float):
        return Scalar("float", found.size, _FLOATS.get(found.size, ""))
    return None


def _code(size: int, *, signed: bool) -> str:
    code = _CODES.get(size, "")
    return code if signed else code.upper()


def is_char(btf: Btf, type_id: int) -> bool:
    """Whether an array of this (stripped) type is text: C's ``char``, as opposed to ``__u8``, ``unsigned char``."""
    found = btf.type(type_id)
    return isinstance(found, Int) and found.size == 1 and (found.is_char or found.name == "char")


def element_type(btf: Btf, type_id: int) -> int:
    """The (resolved) id of what arrays of arrays hold in the end; of any other type its own."""
    for _ in range(MAX_DEPTH):
        type_id = btf.resolve(type_id)
        found = btf.type(type_id)
        if not isinstance(found, Array):
            break
        type_id = found.type
    return type_id


def bit_range(btf: Btf, member: Member) -> tuple[int, int]:
    """(first bit, width) of a bitfield, width 0 of any other member. Before Linux 5.0 the width was that of a type of
    its own; bools of one bit are Rust's, and no bitfields."""
    found = btf.type(btf.resolve(member.type))
    if member.bit_size or not isinstance(found, Int) or found.is_bool or not 0 < found.bits < 8 * found.size:
        return member.bit_offset, member.bit_size
    return member.bit_offset + found.offset, found.bits


def fields(btf: Btf, type_id: int) -> tuple[Field, ...]:
    """The fields of a (stripped) struct, union or section, with those of anonymous members; of two with the same name
    (compilers do not write that) the first.

    ObjectError when a field lies outside of the type.
    """
    found = btf.type(type_id)
    if isinstance(found, DataSec):
        listed = tuple(Field(btf.name(var.type), var.type, 8 * var.offset, 0) for var in found.vars)
    elif isinstance(found, Struct):
        listed = _listed(btf, type_id, depth=0)
    else:
        raise ObjectError(f"BTF type {type_id} has no fields", section=".BTF")
    for field in listed:
        if field.bit_offset + (field.bit_size or 8 * btf.size(field.type)) > 8 * found.size:
            raise ObjectError(f"field {field.name} lies outside of {found.name or 'its type'}", section=".BTF")
    first = {field.name: field for field in reversed(listed)}
    return listed if len(first) == len(listed) else tuple(field for field in listed if first[field.name] is field)


def overlaps(btf: Btf, listed: tuple[Field, ...]) -> Mapping[str, tuple[int, int]]:
    """Field -> its first bit and the one behind its last, when some of the fields share bits; else nothing."""
    places = {
        field.name: (field.bit_offset, field.bit_offset + (field.bit_size or 8 * btf.size(field.type)))
        for field in listed
    }
    end = 0
    for start, stop in sorted(places.values()):
        if start < min(end, stop):
            return places
        end = max(end, stop)
    return {}


def flexible(btf: Btf, listed: tuple[Field, ...]) -> Field | None:
    """The ``T x[]`` at the end of a type, whose values may be longer than the type, or None."""
    if not listed:
        return None
    *others, last = listed
    array = btf.type(strip(btf, last.type))
    if not isinstance(array, Array) or array.nelems:
        return None
    end = max((field.bit_offset + (field.bit_size or 8 * btf.size(field.type)) for field in others), default=0)
    return last if last.bit_offset >= end else None


def is_open_ended(btf: Btf, type_id: int) -> bool:
    """Whether values may be longer than the type, because a ``T x[]`` ends it."""
    type_id = strip(btf, type_id)
    return isinstance(btf.type(type_id), Struct) and flexible(btf, fields(btf, type_id)) is not None


def _listed(btf: Btf, type_id: int, *, depth: int) -> tuple[Field, ...]:
    """The fields of a struct. Cached: many structs may share an anonymous member."""
    key = ("fields", type_id)
    if key not in btf.memo:
        struct = btf.type(type_id)
        assert isinstance(struct, Struct)
        if depth > MAX_DEPTH:
            raise ObjectError(f"{struct.name or 'anonymous struct'} contains itself", section=".BTF")
        btf.memo[key] = tuple(islice(_walk(btf, struct, depth=depth), _MAX_FIELDS + 1))
    listed: tuple[Field, ...] = btf.memo[key]
    if len(listed) > _MAX_FIELDS:
        raise ObjectError(f"BTF type {type_id} has more than {_MAX_FIELDS:,} fields", section=".BTF")
    return listed


def _walk(btf: Btf, struct: Struct, *, depth: int) -> Iterator[Field]:
    for member in struct.members:
        if member.name:
            yield Field(member.name, member.type, member.bit_offset, member.bit_size)
            continue
        inner = btf.resolve(member.type)
        if isinstance(btf.type(inner), Struct):
            for field in _listed(btf, inner, depth=depth + 1):
                yield field._replace(bit_offset=member.bit_offset + field.bit_offset)
