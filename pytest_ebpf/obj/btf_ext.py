"""The .BTF.ext section: function, line and CO-RE records, per code section.

Layout: Documentation/bpf/btf.rst. The header may be 24 bytes (no CO-RE), 32, or longer; a record may be longer than
what is known of it.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pytest_ebpf.btf.functions import is_function
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.object import CoreReloc, FuncInfo, LineInfo
from pytest_ebpf.uapi.numbers import BTF_MAGIC

__all__ = ["ExtInfo", "InsnInfo", "parse_ext"]

_Rows = dict[str, list[tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class InsnInfo:
    """What is known of the instructions of one function, with ``insn`` counted from its start. ``is_stale``: records
    were dropped, since the BTF that they refer to is not the object's."""

    func_info: tuple[FuncInfo, ...] = ()
    line_info: tuple[LineInfo, ...] = ()
    core: tuple[CoreReloc, ...] = ()
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class ExtInfo:
    """Rows per section name, sorted; their first field is the byte offset of the instruction in the section."""

    btf: Btf | None
    funcs: _Rows
    lines: _Rows
    core: _Rows

    def without(self, sections: Iterable[str], *, path: str) -> ExtInfo:
        """Without the records of sections of which several have the same name and nothing tells which is meant.
        ObjectError when one is a CO-RE record: the program would read the wrong bytes without it."""
        names = frozenset(sections)
        for name in names & self.core.keys():
            message = "CO-RE records of several sections of one name, and no relocation tells them apart"
            raise ObjectError(
                message, path=path, section=name, hint="strip with llvm-strip -g, which keeps .rel.BTF.ext"
            )
        funcs, lines = ({n: rows for n, rows in table.items() if n not in names} for table in (self.funcs, self.lines))
        return ExtInfo(self.btf, funcs, lines, self.core)

    def within(self, section: str, *, start: int, end: int) -> InsnInfo:
        """The records of the function at bytes ``start`` to ``end`` of a section."""
        btf = self.btf
        if btf is None:
            return InsnInfo()
        funcs = _cut(self.funcs.get(section, []), start=start, end=end)
        core = _cut(self.core.get(section, []), start=start, end=end)
        is_stale = any(type_id >= len(btf) for _, type_id in funcs)
        lines: tuple[LineInfo, ...] = ()
        try:
            lines = _line_info(_cut(self.lines.get(section, []), start=start, end=end), btf=btf, start=start)
        except ObjectError:  # their texts are not in the strings of this BTF
            is_stale = True
        return InsnInfo(
            tuple(FuncInfo((at - start) // 8, type_id) for at, type_id in funcs if is_function(btf, type_id)),
            lines,
            _core_relocs(core, btf=btf, start=start),
            is_stale,
        )


def _core_relocs(rows: list[tuple[int, ...]], *, btf: Btf, start: int) -> tuple[CoreReloc, ...]:
    accesses = {offset: btf.string(offset) for offset in {row[2] for row in rows}}
    return tuple([CoreReloc((at - start) // 8, type_id, accesses[access], kind) for at, type_id, access, kind in rows])


def _line_info(rows: list[tuple[int, ...]], *, btf: Btf, start: int) -> tuple[LineInfo, ...]:
    """There are thousands of these in an object, and each of their texts many times."""
    new = tuple.__new__  # what LineInfo() calls, without the call between
    files = {offset: btf.string(offset) for offset in {row[1] for row in rows}}
    texts = {offset: btf.string(offset).strip() for offset in {row[2] for row in rows}}
    return tuple(
        [
            new(LineInfo, ((at - start) // 8, files[file], where >> 10, where & 0x3FF, texts[line], file, line, where))
            for at, file, line, where in rows
        ]
    )


def _cut(rows: list[tuple[int, ...]], *, start: int, end: int) -> list[tuple[int, ...]]:
    first = bisect_left(rows, (start,))
    return rows[first : bisect_left(rows, (end,), first)]


def parse_ext(data: bytes, *, btf: Btf | None, name: str, bases: Mapping[int, int] | None = None) -> ExtInfo:
    """``data``: the .BTF.ext section (b"": nothing). ``name``: the file's, for messages. ``bases``: byte of ``data``
    that has an instruction offset -> bytes to add to it; only for objects whose code was moved (``same_names``)."""
    if not data or btf is None:
        return ExtInfo(btf, {}, {}, {})
    code = "<" if btf.byteorder == "little" else ">"
    if len(data) < 24:
        raise _error(f"header cut off after {len(data)} bytes", name=name)
    magic, version, length, *spans = struct.unpack_from(code + "HBxIIIII", data)
    if magic != BTF_MAGIC or version != 1 or not 24 <= length <= len(data):
        raise _error(f"unknown header (magic {magic:#x}, version {version}, {length} bytes)", name=name)
    if length >= 32:
        spans += struct.unpack_from(code + "II", data, 24)
    tables: list[_Rows] = []
    for index, fields in enumerate((2, 4, 4)):
        start, size = spans[2 * index : 2 * index + 2] or (0, 0)
        if length + start + size > len(data):
            raise _error("a table ends after the section does", name=name, offset=length + start)
        table = data[length + start : length + start + size]
        table = _moved(table, bases, at=length + start, code=code) if bases else table
        tables.append(_read_table(table, fields=fields, code=code, string=btf.string, name=name))
    return ExtInfo(btf, *tables)


def _moved(table: bytes, bases: Mapping[int, int], *, at: int, code: str) -> bytes:
    """``table``, which begins at byte ``at`` of the section, with ``bases`` added to its instruction offsets."""
    word = struct.Struct(code + "I")
    moved = bytearray(table)
    for place, base in bases.items():
        if at <= place <= at + len(table) - word.size:
            (offset,) = word.unpack_from(moved, place - at)
            word.pack_into(moved, place - at, (offset + base) & 0xFFFFFFFF)
    return bytes(moved)


def _read_table(data: bytes, *, fields: int, code: str, string: Callable[[int], str], name: str) -> _Rows:
    """``fields``: how many 32-bit fields of a record are known."""
    rows: _Rows = {}
    if not data:
        return rows
    head = struct.Struct(code + "II")
    size = int.from_bytes(data[:4], "little" if code == "<" else "big")
    if len(data) < 4 or size < 4 * fields or size > 0x10000:
        raise _error(f"records of {size} bytes", name=name)
    record = struct.Struct(f"{code}{fields}I{size - 4 * fields}x")
    at = 4
    while at < len(data):
        if at + 8 > len(data):
            raise _error("a table is cut off", name=name, offset=at)
        section_off, count = head.unpack_from(data, at)
        end = at + 8 + count * size
        if end > len(data):
            raise _error(f"{count} records of {size} bytes do not fit", name=name, offset=at)
        rows.setdefault(string(section_off), []).extend(_unpack(record, data[at + 8 : end]))
        at = end
    for table in rows.values():
        table.sort()
    return rows


def _unpack(record: struct.Struct, data: bytes) -> Any:
    return record.iter_unpack(data)


def _error(message: str, *, name: str, offset: int | None = None) -> ObjectError:
    return ObjectError(message, path=name, section=".BTF.ext", offset=offset)
