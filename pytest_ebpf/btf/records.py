"""One BTF record (an index into 32-bit words) to one type value.

Layout: include/uapi/linux/btf.h, struct btf_type and what follows it per kind. Since Linux 7.1 the info word has
24 bits of vlen and 7 of kind; the additional bits were 0 before, so reading it the new way fits both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.types import BtfType, Kind
from pytest_ebpf.uapi.btf import IntEncoding

__all__ = ["HEAD_WORDS", "ITEM_WORDS", "Words", "read_opaque", "read_record"]

Words: TypeAlias = Sequence[int]
_String: TypeAlias = Callable[[int], str]

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


def read_record(words: Words, at: int, *, string: Callable[[int], str]) -> BtfType | None:
    """The type whose record begins at word ``at`` of a table that holds it whole, in native byte order. ``string``:
    name offset -> text. None for a kind that is not known here: ``read_opaque`` takes its length."""
    read = _READERS.get((words[at + 1] >> 24) & 0x7F)
    return read(words, at, string=string) if read is not None else None


def read_opaque(words: Words, *, string: Callable[[int], str]) -> BtfType:
    """``words``: exactly one record."""
    name, info, type_ = words[:3]
    data = b"".join(word.to_bytes(4, "little") for word in words[3:])
    return t.Opaque((info >> 24) & 0x7F, string(name), info, type_, data)


# The readers take the three words of struct btf_type (name, info, size or type) by their place, as a load reads
# hundreds of records.


def _int(words: Words, at: int, *, string: _String) -> BtfType:
    word = words[at + 3]
    encoding = word >> 24
    return t.Int(
        string(words[at]),
        words[at + 2],
        word & 0xFF,
        bool(encoding & _SIGNED),
        bool(encoding & _CHAR),
        bool(encoding & _BOOL),
        (word >> 16) & 0xFF,
    )


def _ptr(words: Words, at: int, *, string: _String) -> BtfType:
    return t.Ptr(words[at + 2])


def _array(words: Words, at: int, *, string: _String) -> BtfType:
    return t.Array(words[at + 3], words[at + 4], words[at + 5])


def _struct(words: Words, at: int, *, string: _String) -> BtfType:
    info = words[at + 1]
    rows = _rows(words, at, width=3)
    if info >> 31:  # kind_flag: the top byte is the width of a bitfield
        members = [t.Member(string(name), kind, place & 0xFFFFFF, place >> 24) for name, kind, place in rows]
    else:
        members = [t.Member(string(name), kind, place) for name, kind, place in rows]
    return t.Struct(string(words[at]), words[at + 2], tuple(members), (info >> 24) & 0x7F == _UNION)


def _enum(words: Words, at: int, *, string: _String) -> BtfType:
    signed = bool(words[at + 1] >> 31)
    values = [
        (string(name), number - (1 << 32) if signed and number >> 31 else number)
        for name, number in _rows(words, at, width=2)
    ]
    return t.Enum(string(words[at]), words[at + 2], tuple(values), signed)


def _enum64(words: Words, at: int, *, string: _String) -> BtfType:
    signed = bool(words[at + 1] >> 31)
    values = []
    for name, low, high in _rows(words, at, width=3):
        number = low | high << 32
        values.append((string(name), number - (1 << 64) if signed and number >> 63 else number))
    return t.Enum(string(words[at]), words[at + 2], tuple(values), signed, is_64=True)


def _fwd(words: Words, at: int, *, string: _String) -> BtfType:
    return t.Fwd(string(words[at]), bool(words[at + 1] >> 31))


def _typedef(words: Words, at: int, *, string: _String) -> BtfType:
    return t.Typedef(string(words[at]), words[at + 2])


def _func(words: Words, at: int, *, string: _String) -> BtfType:
    return t.Func(string(words[at]), words[at + 2], words[at + 1] & 0xFFFFFF)


def _func_proto(words: Words, at: int, *, string: _String) -> BtfType:
    return t.FuncProto(words[at + 2], tuple([t.Param(string(name), kind) for name, kind in _rows(words, at, width=2)]))


def _var(words: Words, at: int, *, string: _String) -> BtfType:
    return t.Var(string(words[at]), words[at + 2], words[at + 3])


def _datasec(words: Words, at: int, *, string: _String) -> BtfType:
    entries = tuple([t.SecVar(kind, offset, size) for kind, offset, size in _rows(words, at, width=3)])
    return t.DataSec(string(words[at]), words[at + 2], entries)


def _float(words: Words, at: int, *, string: _String) -> BtfType:
    return t.Float(string(words[at]), words[at + 2])


def _modifier(words: Words, at: int, *, string: _String) -> BtfType:
    info = words[at + 1]
    return t.Modifier(_KINDS[(info >> 24) & 0x7F], words[at + 2], string(words[at]), bool(info >> 31))


def _decl_tag(words: Words, at: int, *, string: _String) -> BtfType:
    component = words[at + 3]
    signed = component - (1 << 32) if component >> 31 else component
    return t.DeclTag(string(words[at]), words[at + 2], signed, bool(words[at + 1] >> 31))


def _rows(words: Words, at: int, *, width: int) -> Iterator[tuple[int, ...]]:
    """The items behind the head of a record, ``width`` words each."""
    first = at + 3
    items = iter(words[first : first + width * (words[at + 1] & 0xFFFFFF)])
    return zip(*[items] * width, strict=True)


class _Reader(Protocol):
    def __call__(self, words: Words, at: int, *, string: _String) -> BtfType: ...


_KINDS = {int(kind): kind for kind in Kind}
_UNION = int(Kind.UNION)
_READERS: dict[int, _Reader] = {
    Kind.INT: _int,
    Kind.PTR: _ptr,
    Kind.ARRAY: _array,
    Kind.STRUCT: _struct,
    Kind.UNION: _struct,
    Kind.ENUM: _enum,
    Kind.FWD: _fwd,
    Kind.TYPEDEF: _typedef,
    Kind.VOLATILE: _modifier,
    Kind.CONST: _modifier,
    Kind.RESTRICT: _modifier,
    Kind.FUNC: _func,
    Kind.FUNC_PROTO: _func_proto,
    Kind.VAR: _var,
    Kind.DATASEC: _datasec,
    Kind.FLOAT: _float,
    Kind.DECL_TAG: _decl_tag,
    Kind.TYPE_TAG: _modifier,
    Kind.ENUM64: _enum64,
}
