"""How to write a struct so that a C compiler lays it out as BTF says.

BTF keeps no ``packed`` and no ``aligned``: they follow from the offsets. Where C would place a member too low, unnamed
bitfields fill the gap; they do not appear in the BTF of the result. Where natural alignment would place one too high,
the struct is packed, and the fillers place every member. The rules are those of the System V ABI, which clang's BPF
target follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pytest_ebpf.btf.layout import MAX_DEPTH, element_type
from pytest_ebpf.btf.parse import POINTER_SIZE, Btf
from pytest_ebpf.btf.types import Enum, Float, Int, Member, Ptr, Struct
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass

__all__ = ["CLayout", "Piece", "c_layout", "c_size"]

_FILLER = 64  # bits of ``long``, the type of fillers
_WIDEST = 16  # bytes, of an integer
_BYTES_OF_FILLERS = 1 << 16


class Piece(NamedTuple):
    """A line of a struct: a member (a bitfield when ``bits``), or a filler of ``bits`` bits when there is none.
    Only the filler that sets the size of a union has more than 64."""

    member: Member | None
    bits: int = 0


@dataclass(frozen=True, slots=True)
class CLayout:
    """``align``: bytes that the struct asks to be aligned to as a member.

    ``opaque``: C has no such struct (members overlap, or end beyond it); it is written as bytes.
    """

    pieces: tuple[Piece, ...]
    align: int
    packed: bool = False
    opaque: bool = False


class _Slot(NamedTuple):
    """A member with its offset and size in bits; ``unit`` is the alignment, for a bitfield the size of its type."""

    member: Member
    start: int
    size: int
    unit: int
    is_bitfield: bool

    @property
    def misplaced(self) -> bool:
        if self.is_bitfield:
            return self.start % self.unit + self.size > self.unit
        return self.start % self.unit != 0


def c_layout(btf: Btf, type_id: int) -> CLayout:
    """The lines for a struct or union. Kept in ``btf.memo``."""
    return _layout(btf, type_id, depth=0)


def c_size(btf: Btf, type_id: int) -> int:
    """Size of a type as a member, in bytes; 0 for functions and void, which cannot be members."""
    try:
        return btf.size(type_id)
    except ObjectError:
        return 0


def _layout(btf: Btf, type_id: int, *, depth: int) -> CLayout:
    key = ("c_layout", type_id)
    found: CLayout | None = btf.memo.get(key)
    if found is None:
        struct = btf.type(type_id)
        assert isinstance(struct, Struct)
        if depth > MAX_DEPTH:
            raise ObjectError(f"{struct.name or 'anonymous struct'} contains itself", section=".BTF")
        slots = [_slot(btf, member, depth=depth) for member in struct.members if _is_written(btf, member)]
        slots.sort(key=lambda slot: slot.start)  # Rust orders fields by name, not by place
        found = btf.memo[key] = _union(struct, slots) if struct.is_union else _struct(struct, slots)
    return found


def _is_written(btf: Btf, member: Member) -> bool:
    """Whether C can declare the member: without a name, only a struct or union."""
    return bool(member.name) or isinstance(btf.type(btf.resolve(member.type)), Struct)


def _slot(btf: Btf, member: Member, *, depth: int) -> _Slot:
    bits, start = member.bit_size, member.bit_offset
    resolved = btf.type(btf.resolve(member.type))
    if isinstance(resolved, Int) and not bits and 0 < resolved.bits < 8 * resolved.size:
        # before Linux 5.0 the width of a bitfield was that of a type of its own
        bits, start = resolved.bits, start + resolved.offset
    size = c_size(btf, member.type)
    if bits:
        return _Slot(member, start, bits, 8 * max(size, 1), True)
    return _Slot(member, start, 8 * size, 8 * _align(btf, member.type, depth=depth), False)


def _align(btf: Btf, type_id: int, *, depth: int) -> int:
    """The alignment in bytes of a type as this package writes it."""
    found = btf.type(type_id := element_type(btf, type_id))
    if isinstance(found, Struct):
        return _layout(btf, type_id, depth=depth + 1).align
    if isinstance(found, Ptr):
        return POINTER_SIZE
    if isinstance(found, Int | Enum) and found.size in (1, 2, 4, 8, _WIDEST):
        return found.size
    # a float that BPF machines lack is written as bytes
    return found.size if isinstance(found, Float) and found.size in (4, 8) else 1


def _struct(struct: Struct, slots: list[_Slot]) -> CLayout:
    end = 8 * struct.size
    align = max((slot.unit for slot in slots), default=8)
    packed = bool(end % align) or any(slot.misplaced for slot in slots)
    pieces: list[Piece] = []
    at = 0
    for slot in slots:
        if slot.start < at or slot.start + slot.size > end:
            return _opaque(struct)
        pieces += _fill(at, slot.start, slot=slot, packed=packed)
        pieces.append(Piece(slot.member, slot.size if slot.is_bitfield else 0))
        at = slot.start + slot.size
    if _up(at, 8 if packed else align) != end:
        if end - at > 8 * _BYTES_OF_FILLERS:
            return _opaque(struct)
        pieces += _fillers(at, end)
    return CLayout(tuple(pieces), 1 if packed else align // 8, packed)


def _fill(at: int, start: int, *, slot: _Slot, packed: bool) -> Iterator[Piece]:
    """The fillers that ``slot`` needs before it, when ``at`` is the first bit that is free."""
    if slot.is_bitfield:
        fits = packed or at % slot.unit + slot.size <= slot.unit
        natural = at if fits else _up(at, slot.unit)
    else:
        natural = _up(at, 8 if packed else slot.unit)
    if natural != start and start - at <= 8 * _BYTES_OF_FILLERS:
        yield from _fillers(at, start)


def _fillers(at: int, end: int) -> Iterator[Piece]:
    """No filler crosses a boundary of its type, so that each begins where the last one ended."""
    while at < end:
        bits = min(end - at, _FILLER - at % _FILLER)
        yield Piece(None, bits)
        at += bits


def _union(union: Struct, slots: list[_Slot]) -> CLayout:
    end = 8 * union.size
    if any(slot.start or slot.size > end for slot in slots):
        return _opaque(union)
    align = max((slot.unit for slot in slots), default=8)
    content = max((_up(slot.size, 8) for slot in slots), default=0)
    packed = bool(end % align)
    if packed:
        align = 8
    pieces = tuple(Piece(slot.member, slot.size if slot.is_bitfield else 0) for slot in slots)
    if _up(content, align) != end:
        if end > 8 * _BYTES_OF_FILLERS:
            return _opaque(union)
        pieces += (Piece(None, end),)
    return CLayout(pieces, align // 8, packed)


def _opaque(struct: Struct) -> CLayout:
    return CLayout((), 1, opaque=True)


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
