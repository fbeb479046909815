"""One BTF record (an index into 32-bit words) to one type value.

Layout: include/uapi/linux/btf.h, struct btf_type and what follows it per kind. Since Linux 7.1 the info word has
24 bits of vlen and 7 of kind; the additional bits were 0 before, so reading it the new way fits both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.types import BtfType, Kind
from pytest_ebpf.uapi.btf import IntEncoding

__all__ = ["HEAD_WORDS", "ITEM_WORDS", "Words", "read_record"]

Words = Sequence[int]

_SIGNED, _CHAR, _BOOL = int(IntEncoding.SIGNED), int(IntEncoding.CHAR), int(IntEncoding.BOOL)  # "&" of a flag costs 20x

# 32-bit words of a record: before the items (the 3 words of struct btf_type included), and per item (vlen of them).
HEAD_WORDS: dict[int, int] = {int(kind): 3 for kind in Kind if kind} | {
    Kind.INT: 4,
    Kind.ARRAY: 6,
    Kind.VAR: 4,
    Kind.DECL_TAG: 4,
}
ITEM_WORDS: dict[int, int] = {
    Kind.STRUCT: 3,
    Kind.UNION: 3,
    Kind.ENUM: 2,
    Kind.FUNC_PROTO: 2,
    Kind.DATASEC: 3,
    Kind.ENUM64: 3,
}


class _Record:
    """The first three words of a record, split, and the words after them."""

    __slots__ = ("info", "kflag", "kind", "name", "rest", "string", "type", "vlen")

    def __init__(self, words: Words, string: Callable[[int], str]) -> None:
        name_off, self.info, self.type = words[:3]
        self.rest = words[3:]
        self.kind = (self.info >> 24) & 0x7F
        self.vlen = self.info & 0xFFFFFF
        self.kflag = bool(self.info >> 31)
        self.name = string(name_off) if name_off else ""
        self.string = string


def read_record(words: Words, string: Callable[[int], str]) -> BtfType:
    """``words``: exactly one record, in native byte order. ``string``: name offset -> text."""
    record = _Record(words, string)
    read = _READERS.get(record.kind)
    return read(record) if read else _opaque(record)


def _int(r: _Record) -> BtfType:
    word = r.rest[0]
    encoding = word >> 24
    return t.Int(
        r.name,
        r.type,
        word & 0xFF,
        signed=bool(encoding & _SIGNED),
        is_char=bool(encoding & _CHAR),
        is_bool=bool(encoding & _BOOL),
        offset=(word >> 16) & 0xFF,
    )


def _array(r: _Record) -> BtfType:
    return t.Array(r.rest[0], r.rest[1], r.rest[2])


def _struct(r: _Record) -> BtfType:
    rest, string, members = r.rest, r.string, []
    for at in range(0, 3 * r.vlen, 3):
        name, where = rest[at], rest[at + 2]
        # with kind_flag the top byte is the width of a bitfield
        bits = where >> 24 if r.kflag else 0
        offset = where & 0xFFFFFF if r.kflag else where
        members.append(t.Member(string(name) if name else "", rest[at + 1], offset, bits))
    return t.Struct(r.name, r.type, tuple(members), is_union=r.kind == Kind.UNION)


def _enum(r: _Record) -> BtfType:
    rest, string, values = r.rest, r.string, []
    for at in range(0, 2 * r.vlen, 2):
        number = rest[at + 1]
        if r.kflag and number >> 31:
            number -= 1 << 32
        values.append((string(rest[at]), number))
    return t.Enum(r.name, r.type, tuple(values), signed=r.kflag)


def _enum64(r: _Record) -> BtfType:
    rest, string, values = r.rest, r.string, []
    for at in range(0, 3 * r.vlen, 3):
        number = rest[at + 1] | rest[at + 2] << 32
        if r.kflag and number >> 63:
            number -= 1 << 64
        values.append((string(rest[at]), number))
    return t.Enum(r.name, r.type, tuple(values), signed=r.kflag, is_64=True)


def _func_proto(r: _Record) -> BtfType:
    rest, string = r.rest, r.string
    params = tuple(t.Param(string(rest[at]) if rest[at] else "", rest[at + 1]) for at in range(0, 2 * r.vlen, 2))
    return t.FuncProto(r.type, params)


def _datasec(r: _Record) -> BtfType:
    rest = r.rest
    entries = tuple(t.SecVar(rest[at], rest[at + 1], rest[at + 2]) for at in range(0, 3 * r.vlen, 3))
    return t.DataSec(r.name, r.type, entries)


def _modifier(r: _Record) -> BtfType:
    return t.Modifier(Kind(r.kind), r.type, r.name, is_attr=r.kflag)


def _decl_tag(r: _Record) -> BtfType:
    component = r.rest[0]
    return t.DeclTag(r.name, r.type, component - (1 << 32) if component >> 31 else component, is_attr=r.kflag)


def _opaque(r: _Record) -> BtfType:
    data = b"".join(word.to_bytes(4, "little") for word in r.rest)
    return t.Opaque(r.kind, r.name, r.info, r.type, data)


_READERS: dict[int, Callable[[_Record], BtfType]] = {
    Kind.INT: _int,
    Kind.PTR: lambda r: t.Ptr(r.type),
    Kind.ARRAY: _array,
    Kind.STRUCT: _struct,
    Kind.UNION: _struct,
    Kind.ENUM: _enum,
    Kind.FWD: lambda r: t.Fwd(r.name, is_union=r.kflag),
    Kind.TYPEDEF: lambda r: t.Typedef(r.name, r.type),
    Kind.VOLATILE: _modifier,
    Kind.CONST: _modifier,
    Kind.RESTRICT: _modifier,
    Kind.FUNC: lambda r: t.Func(r.name, r.type, r.vlen),
    Kind.FUNC_PROTO: _func_proto,
    Kind.VAR: lambda r: t.Var(r.name, r.type, r.rest[0]),
    Kind.DATASEC: _datasec,
    Kind.FLOAT: lambda r: t.Float(r.name, r.type),
    Kind.DECL_TAG: _decl_tag,
    Kind.TYPE_TAG: _modifier,
    Kind.ENUM64: _enum64,
}
