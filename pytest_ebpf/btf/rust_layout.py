"""How to write a struct so that Rust lays it out as BTF says: explicit padding, and ``packed`` where alignment would
move a field.

Every struct is ``repr(C)``. Bitfields share one array of bytes per run of them; what Rust cannot express (fields that
overlap, as in an enum of Rust) is an array of bytes of the size.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from pytest_ebpf.btf.c_layout import c_size
from pytest_ebpf.btf.layout import MAX_DEPTH, bit_range, element_type
from pytest_ebpf.btf.parse import POINTER_SIZE, Btf
from pytest_ebpf.btf.types import Enum, Float, Int, Member, Ptr, Struct
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass

__all__ = ["Bits", "Row", "RustLayout", "rust_layout"]

_ALIGNED = (1, 2, 4, 8)  # bytes; other numbers are written as bytes
_FLOATS = (4, 8)


class Row(NamedTuple):
    """A field from byte ``start``: a ``member``, or ``size`` bytes of padding or of bitfields when it is None."""

    start: int
    size: int
    member: Member | None
    is_bits: bool = False


class Bits(NamedTuple):
    """A bitfield: ``start`` and ``width`` in bits, inside the bytes that begin at byte ``unit``."""

    member: Member
    start: int
    width: int
    unit: int


@dataclass(frozen=True, slots=True)
class RustLayout:
    """``align`` in bytes. ``opaque``: an array of bytes."""

    rows: tuple[Row, ...]
    bits: tuple[Bits, ...]
    align: int
    packed: bool = False
    opaque: bool = False


def rust_layout(btf: Btf, type_id: int, *, depth: int = 0) -> RustLayout:
    """The fields of a struct or union, with padding. Kept in ``btf.memo``. ObjectError when it contains itself."""
    key = ("rust_layout", type_id)
    found: RustLayout | None = btf.memo.get(key)
    if found is None:
        struct = btf.type(type_id)
        assert isinstance(struct, Struct)
        if depth > MAX_DEPTH:
            raise ObjectError(f"{struct.name or 'anonymous struct'} contains itself", section=".BTF")
        make = _union if struct.is_union else _struct
        found = btf.memo[key] = make(btf, struct, depth=depth)
    return found


def _split(btf: Btf, struct: Struct) -> tuple[list[Row], list[Bits]]:
    """The fields that have bytes of their own, and the bitfields."""
    rows: list[Row] = []
    bits: list[Bits] = []
    for member in struct.members:
        start, width = bit_range(btf, member)
        if width:
            bits.append(Bits(member, start, width, 0))
        elif member.name or isinstance(btf.type(btf.resolve(member.type)), Struct):
            rows.append(Row(start // 8, c_size(btf, member.type), member))
    return rows, bits


def _runs(bits: list[Bits], *, cuts: Collection[int]) -> Iterator[tuple[int, int]]:
    """The bytes of bitfields that touch: (first, end). ``cuts``: bytes where another field begins; the kernel marks
    places among bitfields with arrays of no bytes (struct sk_buff: __pkt_type_offset)."""
    open_: tuple[int, int] | None = None
    for one in sorted(bits, key=lambda one: one.start):
        first, end = one.start // 8, (one.start + one.width + 7) // 8
        if open_ is not None and (first < open_[1] or (first == open_[1] and first not in cuts)):
            open_ = open_[0], max(open_[1], end)
            continue
        if open_ is not None:
            yield open_
        open_ = first, end
    if open_ is not None:
        yield open_


def _named_bits(bits: list[Bits], runs: list[tuple[int, int]]) -> tuple[Bits, ...]:
    unit = {one: next(first for first, end in runs if first <= one.start // 8 < end) for one in bits}
    return tuple(one._replace(unit=unit[one]) for one in bits if one.member.name)


def _struct(btf: Btf, struct: Struct, *, depth: int) -> RustLayout:
    own, bits = _split(btf, struct)
    runs = list(_runs(bits, cuts={row.start for row in own}))
    own = [row for row in own if row.size or not any(first < row.start < end for first, end in runs)]
    fields = sorted([*own, *(Row(first, end - first, None, True) for first, end in runs)], key=lambda row: row[:2])
    aligns = [_align(btf, row.member.type, depth=depth) if row.member else 1 for row in fields]
    align = max(aligns, default=1)
    packed = struct.size % align != 0 or any(row.start % one for row, one in zip(fields, aligns, strict=True))
    rows: list[Row] = []
    at = 0
    for row, one in zip(fields, aligns, strict=True):
        if row.start < at or row.start + row.size > struct.size:
            return _opaque(struct)
        if row.start != (at if packed else -(-at // one) * one):
            rows.append(Row(at, row.start - at, None))
        rows.append(row)
        at = row.start + row.size
    if (at if packed else -(-at // align) * align) != struct.size:
        rows.append(Row(at, struct.size - at, None))
    return RustLayout(tuple(rows), _named_bits(bits, runs), 1 if packed else align, packed)


def _union(btf: Btf, union: Struct, *, depth: int) -> RustLayout:
    own, bits = _split(btf, union)
    runs = list(_runs(bits, cuts=()))
    fields = [*own, *(Row(first, end - first, None, True) for first, end in runs)]
    if any(row.start or row.size > union.size for row in fields):
        return _opaque(union)
    align = max((_align(btf, row.member.type, depth=depth) for row in own if row.member), default=1)
    packed = union.size % align != 0
    align = 1 if packed else align
    longest = max((row.size for row in fields), default=0)
    if -(-longest // align) * align != union.size:
        fields.append(Row(0, union.size, None))
    return RustLayout(tuple(fields), _named_bits(bits, runs), align, packed)


def _opaque(struct: Struct) -> RustLayout:
    return RustLayout((Row(0, struct.size, None),), (), 1, opaque=True)


def _align(btf: Btf, type_id: int, *, depth: int) -> int:
    """The alignment in bytes of a type as it is written here."""
    found = btf.type(type_id := element_type(btf, type_id))
    if isinstance(found, Struct):
        return rust_layout(btf, type_id, depth=depth + 1).align
    if isinstance(found, Ptr):
        return POINTER_SIZE
    if isinstance(found, Float):
        return found.size if found.size in _FLOATS else 1
    return found.size if isinstance(found, Int | Enum) and found.size in _ALIGNED else 1
