"""Type values to BTF bytes: new BTF (``BtfBuilder``), or a copy of BTF with types replaced (``rewrite_btf``).

The copy keeps every type id and every string offset, so .BTF.ext records of the original stay valid.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import BtfType
from pytest_ebpf.uapi.numbers import BTF_MAGIC

__all__ = ["BtfBuilder", "encode_type", "rewrite_btf"]

_Intern = Callable[[str], int]
_Record = tuple[int, int, int, list[int]]  # vlen, kind_flag, size or type, the words after


class BtfBuilder:
    """Collects types; ``add`` returns the id that ``type`` fields of later types use (void is 0).

    >>> builder = BtfBuilder()
    >>> u32 = builder.add(t.Int("u32", 4, 32))
    >>> builder.add(t.Ptr(u32))
    2
    """

    def __init__(self, *, byteorder: str = "little", strings: bytes = b"\0", next_id: int = 1) -> None:
        self.byteorder = byteorder
        self._next_id = next_id
        self._records: list[bytes] = []
        self._old = bytes(strings or b"\0")
        self._strings = bytearray(self._old)
        self._offsets: dict[str, int] = {"": 0}

    def string(self, text: str) -> int:
        """The offset of ``text`` in the strings, to which it is added if missing."""
        if text not in self._offsets:
            encoded = text.encode() + b"\0"
            known = self._old.find(b"\0" + encoded)
            self._offsets[text] = known + 1 if known >= 0 else len(self._strings)
            if known < 0:
                self._strings += encoded
        return self._offsets[text]

    def add(self, type_: BtfType) -> int:
        return self.add_record(encode_type(type_, byteorder=self.byteorder, intern=self.string))

    def add_record(self, record: bytes) -> int:
        """Add a record unchanged: a type copied from the BTF whose strings this builder started with."""
        self.add_records(record, count=1)
        return self._next_id - 1

    def add_records(self, records: bytes, *, count: int) -> None:
        """Add several such records."""
        self._records.append(records)
        self._next_id += count

    def build(self) -> bytes:
        types = b"".join(self._records)
        code = "<" if self.byteorder == "little" else ">"
        head = struct.pack(code + "HBBIIIII", BTF_MAGIC, 1, 0, 24, 0, len(types), len(types), len(self._strings))
        return head + types + bytes(self._strings)


def rewrite_btf(btf: Btf, replace: Mapping[int, BtfType], *, append: Iterable[BtfType] = ()) -> bytes:
    """``btf`` (not split) with the types in ``replace`` (by id) instead of its own, and ``append`` after the last.

    The new header has 24 bytes, which every kernel accepts.
    """
    if btf.base:
        raise ValueError("split BTF cannot be rewritten on its own")
    builder = BtfBuilder(byteorder=btf.byteorder, strings=btf.strings)
    at = btf.first_id
    for type_id in (*sorted(replace), len(btf)):
        if at < type_id:
            builder.add_records(btf.raw_records(at, type_id), count=type_id - at)
        if type_id < len(btf):
            builder.add(replace[type_id])
        at = type_id + 1
    for type_ in append:
        builder.add(type_)
    return builder.build()


def encode_type(type_: BtfType, *, byteorder: str, intern: _Intern) -> bytes:
    """One record. ``intern``: text -> string offset. struct.error (an overflow) when a field does not fit."""
    vlen, kind_flag, size_or_type, words = _ENCODERS[type(type_)](type_, intern)
    if isinstance(type_, t.Opaque):
        info = type_.info
    else:
        info = kind_flag << 31 | type_.kind << 24 | vlen
    code = "<" if byteorder == "little" else ">"
    return struct.pack(f"{code}{3 + len(words)}I", intern(type_.name), info, size_or_type, *words)


def _int(type_: t.Int, intern: _Intern) -> _Record:
    encoding = type_.signed | type_.is_char << 1 | type_.is_bool << 2
    return 0, 0, type_.size, [encoding << 24 | type_.offset << 16 | type_.bits]


def _struct(type_: t.Struct, intern: _Intern) -> _Record:
    has_bitfields = any(member.bit_size for member in type_.members)
    words = []
    for member in type_.members:
        words += [intern(member.name), member.type, member.bit_size << 24 | member.bit_offset]
    return len(type_.members), int(has_bitfields), type_.size, words


def _enum(type_: t.Enum, intern: _Intern) -> _Record:
    words = []
    for name, number in type_.values:
        words += [intern(name), number & 0xFFFFFFFF]
        if type_.is_64:
            words.append((number >> 32) & 0xFFFFFFFF)
    return len(type_.values), int(type_.signed), type_.size, words


def _func_proto(type_: t.FuncProto, intern: _Intern) -> _Record:
    words = []
    for param in type_.params:
        words += [intern(param.name), param.type]
    return len(type_.params), 0, type_.ret, words


def _datasec(type_: t.DataSec, intern: _Intern) -> _Record:
    words = []
    for entry in type_.vars:
        words += [entry.type, entry.offset, entry.size]
    return len(type_.vars), 0, type_.size, words


def _opaque(type_: t.Opaque, intern: _Intern) -> _Record:
    raw = type_.data
    return 0, 0, type_.type, [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)]


_ENCODERS: dict[type, Callable[[Any, _Intern], _Record]] = {
    t.Int: _int,
    t.Ptr: lambda type_, intern: (0, 0, type_.type, []),
    t.Array: lambda type_, intern: (0, 0, 0, [type_.type, type_.index_type, type_.nelems]),
    t.Struct: _struct,
    t.Enum: _enum,
    t.Fwd: lambda type_, intern: (0, int(type_.is_union), 0, []),
    t.Typedef: lambda type_, intern: (0, 0, type_.type, []),
    t.Modifier: lambda type_, intern: (0, int(type_.is_attr), type_.type, []),
    t.Func: lambda type_, intern: (type_.linkage, 0, type_.type, []),
    t.FuncProto: _func_proto,
    t.Var: lambda type_, intern: (0, 0, type_.type, [type_.linkage]),
    t.DataSec: _datasec,
    t.Float: lambda type_, intern: (0, 0, type_.size, []),
    t.DeclTag: lambda type_, intern: (0, int(type_.is_attr), type_.type, [type_.component & 0xFFFFFFFF]),
    t.Opaque: _opaque,
}
