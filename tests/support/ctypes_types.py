"""Random C types, laid out by ctypes, and the same types as BTF: an oracle for the codec in both byte orders.

``Draw`` is what Hypothesis gives; nothing here knows the codec. The BTF is written from the offsets that ctypes chose.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from support.btf_writer import BtfWriter

Draw = Callable[[st.SearchStrategy[Any]], Any]

_INTS = {
    "unsigned char": ctypes.c_uint8,
    "signed char": ctypes.c_int8,
    "unsigned short": ctypes.c_uint16,
    "short": ctypes.c_int16,
    "unsigned int": ctypes.c_uint32,
    "int": ctypes.c_int32,
    "unsigned long": ctypes.c_uint64,
    "long": ctypes.c_int64,
}
_FLOATS = {"float": ctypes.c_float, "double": ctypes.c_double}
_BITS = ("unsigned char", "unsigned short", "unsigned int", "unsigned long", "short", "int", "long")


@dataclass(frozen=True)
class Made:
    """A C type and its id. ``read``: the value of a ctypes instance as the codec should give it."""

    c: Any
    id: int
    read: Callable[[Any], Any]


class Universe:
    """Types of one byte order, under construction."""

    def __init__(self, byteorder: str) -> None:
        self.byteorder = byteorder
        self.w = BtfWriter(byteorder=byteorder)
        big = byteorder == "big"
        self.struct = ctypes.BigEndianStructure if big else ctypes.LittleEndianStructure
        self.union = ctypes.BigEndianUnion if big else ctypes.LittleEndianUnion
        self.count = 0

    def draw(self, draw: Draw, *, depth: int) -> Made:
        """A type that can be a member."""
        makes = [self.number, self.number, self.decimal, self.boolean, self.text]
        if depth:
            makes += [self.compound, self.compound, self.array, self.alias]
        return draw(st.sampled_from(makes))(draw, depth=depth)

    def number(self, draw: Draw, *, depth: int) -> Made:
        name = draw(st.sampled_from(sorted(_INTS)))
        c = self._ordered(_INTS[name])
        return Made(c, self.w.int(name, ctypes.sizeof(c), signed="unsigned" not in name), int)

    def decimal(self, draw: Draw, *, depth: int) -> Made:
        name = draw(st.sampled_from(sorted(_FLOATS)))
        c = self._ordered(_FLOATS[name])
        return Made(c, self.w.float(name, ctypes.sizeof(c)), float)

    def boolean(self, draw: Draw, *, depth: int) -> Made:
        return Made(ctypes.c_uint8, self.w.int("_Bool", 1, bool_=True), bool)

    def text(self, draw: Draw, *, depth: int) -> Made:
        count = draw(st.integers(1, 9))
        return Made(ctypes.c_char * count, self.w.array(self.w.int("char", 1, signed=True), count), _text)

    def alias(self, draw: Draw, *, depth: int) -> Made:
        inner = self.draw(draw, depth=depth - 1)
        kind = draw(st.sampled_from(("typedef", "const", "volatile")))
        id_ = self.w.typedef(self._name("t"), inner.id) if kind == "typedef" else self.w.modifier(kind, inner.id)
        return Made(inner.c, id_, inner.read)

    def array(self, draw: Draw, *, depth: int) -> Made:
        inner = self.draw(draw, depth=depth - 1)
        count = draw(st.integers(1, 3))
        id_ = self.w.array(inner.id, count)
        if inner.c is ctypes.c_uint8 and inner.read is int:
            return Made(inner.c * count, id_, bytes)
        return Made(inner.c * count, id_, lambda value: [inner.read(item) for item in value])

    def compound(self, draw: Draw, *, depth: int) -> Made:
        """A struct (with bitfields) or a union."""
        is_union = draw(st.booleans())
        unit = self._int(draw(st.sampled_from(_BITS)))  # of all bitfields: ctypes mixes them in a way of its own
        fields: list[tuple[Any, ...]] = []
        made: list[tuple[str, Made]] = []
        for index in range(draw(st.integers(1, 5))):
            name = f"m{index}"
            if not is_union and draw(st.booleans()):
                member = unit
                fields.append((name, member.c, draw(st.integers(1, 8 * ctypes.sizeof(member.c)))))
            else:
                member = self.draw(draw, depth=depth - 1)
                fields.append((name, member.c))
            made.append((name, member))
        name = self._name("s")
        c = type(name, (self.union if is_union else self.struct,), {"_fields_": fields})
        c.__ctype_be__ = c.__ctype_le__ = c  # structs have it, unions lack it: both are what they are
        rows = [(n, member.id, *self._place(getattr(c, n), at)) for (n, member), at in zip(made, fields, strict=True)]
        return Made(c, self._record(name, c, rows, is_union=is_union), lambda value: _fields(value, made))

    def _record(self, name: str, c: Any, rows: list[tuple[str, int, int, int]], *, is_union: bool) -> int:
        words = [word for n, id_, at, bits in rows for word in (self.w.string(n), id_, bits << 24 | at)]
        kind = 5 if is_union else 4
        return self.w.raw(name, kind, ctypes.sizeof(c), *words, vlen=len(rows), kflag=any(row[3] for row in rows))

    def _place(self, at: Any, field: tuple[Any, ...]) -> tuple[int, int]:
        """(bit offset, bits; 0 for no bitfield), as they lie in memory: in a big endian unit the highest is first."""
        if len(field) == 2:
            return 8 * at.offset, 0
        bits, low = at.size >> 16, at.size & 0xFFFF
        whole = 8 * ctypes.sizeof(field[1])
        return 8 * at.offset + (low if self.byteorder == "little" else whole - low - bits), bits

    def _int(self, name: str) -> Made:
        c = _INTS[name]
        return Made(c, self.w.int(name, ctypes.sizeof(c), signed="unsigned" not in name), int)

    def _ordered(self, c: Any) -> Any:
        """Outside of a struct, ctypes has to be told the byte order."""
        return c if ctypes.sizeof(c) == 1 else c.__ctype_be__ if self.byteorder == "big" else c.__ctype_le__

    def _name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"


def _fields(value: Any, made: list[tuple[str, Made]]) -> dict[str, Any]:
    return {name: member.read(getattr(value, name)) for name, member in made}


def _text(value: Any) -> Any:
    """ctypes gives bytes up to the first NUL; what the codec calls text is tested elsewhere."""
    return bytes(value)
