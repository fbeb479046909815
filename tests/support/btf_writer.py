"""BTF bytes for tests, written field by field from the kernel's description of the format.

Deliberately not built on pytest_ebpf.btf.write: a mistake there must not be able to hide one in the parser.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

KINDS = {
    "int": 1, "ptr": 2, "array": 3, "struct": 4, "union": 5, "enum": 6, "fwd": 7, "typedef": 8, "volatile": 9,
    "const": 10, "restrict": 11, "func": 12, "func_proto": 13, "var": 14, "datasec": 15, "float": 16,
    "decl_tag": 17, "type_tag": 18, "enum64": 19,
}  # fmt: skip


class BtfWriter:
    """Each method adds one type and gives its id."""

    def __init__(self, *, byteorder: str = "little", first_id: int = 1, first_string: int = 0) -> None:
        self.byteorder = byteorder
        self.code = "<" if byteorder == "little" else ">"
        self.records: list[bytes] = []
        self.first_id = first_id
        self.first_string = first_string
        self.strings = b"\0" if not first_string else b""
        self.offsets: dict[str, int] = {"": 0}

    def string(self, text: str) -> int:
        if text not in self.offsets:
            self.offsets[text] = self.first_string + len(self.strings)
            self.strings += text.encode() + b"\0"
        return self.offsets[text]

    def raw(self, name: str, kind: int, size_or_type: int, *words: int, vlen: int = 0, kflag: bool = False) -> int:
        info = kflag << 31 | kind << 24 | vlen
        values = (self.string(name), info, size_or_type, *words)
        self.records.append(struct.pack(f"{self.code}{len(values)}I", *values))
        return self.first_id + len(self.records) - 1

    def int(
        self, name: str, size: int, *, signed: bool = False, char: bool = False, bool_: bool = False, bits: int = 0
    ) -> int:
        encoding = signed | char << 1 | bool_ << 2
        return self.raw(name, KINDS["int"], size, encoding << 24 | (bits or 8 * size))

    def ptr(self, type_: int) -> int:
        return self.raw("", KINDS["ptr"], type_)

    def array(self, type_: int, count: int, *, index: int = 0) -> int:
        return self.raw("", KINDS["array"], 0, type_, index, count)

    def struct(self, name: str, size: int, members: Sequence[tuple[str, int, int]], *, kind: str = "struct") -> int:
        """``members``: (name, type, bit offset)."""
        words = [word for n, type_, offset in members for word in (self.string(n), type_, offset)]
        return self.raw(name, KINDS[kind], size, *words, vlen=len(members))

    def bitfields(self, name: str, size: int, members: Sequence[tuple[str, int, int, int]]) -> int:
        """``members``: (name, type, bit offset, bits); 0 bits for a plain member."""
        words = [word for n, type_, offset, bits in members for word in (self.string(n), type_, bits << 24 | offset)]
        return self.raw(name, KINDS["struct"], size, *words, vlen=len(members), kflag=True)

    def enum(self, name: str, values: Sequence[tuple[str, int]], *, size: int = 4, signed: bool = False) -> int:
        words = [word for n, number in values for word in (self.string(n), number & 0xFFFFFFFF)]
        return self.raw(name, KINDS["enum"], size, *words, vlen=len(values), kflag=signed)

    def enum64(self, name: str, values: Sequence[tuple[str, int]], *, signed: bool = False) -> int:
        words = [w for n, v in values for w in (self.string(n), v & 0xFFFFFFFF, v >> 32 & 0xFFFFFFFF)]
        return self.raw(name, KINDS["enum64"], 8, *words, vlen=len(values), kflag=signed)

    def fwd(self, name: str, *, union: bool = False) -> int:
        return self.raw(name, KINDS["fwd"], 0, kflag=union)

    def typedef(self, name: str, type_: int) -> int:
        return self.raw(name, KINDS["typedef"], type_)

    def modifier(self, kind: str, type_: int, *, name: str = "") -> int:
        return self.raw(name, KINDS[kind], type_)

    def func_proto(self, ret: int, params: Sequence[tuple[str, int]] = ()) -> int:
        words = [word for n, type_ in params for word in (self.string(n), type_)]
        return self.raw("", KINDS["func_proto"], ret, *words, vlen=len(params))

    def func(self, name: str, proto: int, *, linkage: int = 1) -> int:
        return self.raw(name, KINDS["func"], proto, vlen=linkage)

    def var(self, name: str, type_: int, *, linkage: int = 1) -> int:
        return self.raw(name, KINDS["var"], type_, linkage)

    def datasec(self, name: str, entries: Sequence[tuple[int, int, int]], *, size: int = 0) -> int:
        """``entries``: (type, offset, size)."""
        return self.raw(name, KINDS["datasec"], size, *[word for row in entries for word in row], vlen=len(entries))

    def float(self, name: str, size: int) -> int:
        return self.raw(name, KINDS["float"], size)

    def decl_tag(self, name: str, type_: int, *, component: int = -1) -> int:
        return self.raw(name, KINDS["decl_tag"], type_, component & 0xFFFFFFFF)

    def build(self, *, layout: bytes = b"") -> bytes:
        types = b"".join(self.records)
        length = 32 if layout else 24
        spans = [0, len(types), len(types), len(self.strings)]
        if layout:
            spans += [len(types) + len(self.strings), len(layout)]
        head = struct.pack(f"{self.code}HBBI{len(spans)}I", 0xEB9F, 1, 0, length, *spans)
        return head + types + self.strings + layout


class BtfExtWriter:
    """.BTF.ext: rows are lists of words per section; the first word is the byte offset of the instruction."""

    def __init__(self, btf: BtfWriter, *, record_sizes: tuple[int, int, int] = (8, 16, 16)) -> None:
        self.btf = btf
        self.sizes = record_sizes
        self.tables: list[dict[str, list[tuple[int, ...]]]] = [{}, {}, {}]

    def func(self, section: str, offset: int, type_: int) -> None:
        self.tables[0].setdefault(section, []).append((offset, type_))

    def line(self, section: str, offset: int, *, file: str, text: str, line: int, col: int = 1) -> None:
        row = (offset, self.btf.string(file), self.btf.string(text), line << 10 | col)
        self.tables[1].setdefault(section, []).append(row)

    def core(self, section: str, offset: int, *, type_: int, access: str, kind: int) -> None:
        self.tables[2].setdefault(section, []).append((offset, type_, self.btf.string(access), kind))

    def build(self, *, header: int = 32) -> bytes:
        code = self.btf.code
        tables = []
        for rows, size in zip(self.tables, self.sizes, strict=True):
            table = struct.pack(f"{code}I", size) if rows else b""
            for section, records in rows.items():
                table += struct.pack(f"{code}II", self.btf.string(section), len(records))
                for record in records:
                    table += struct.pack(f"{code}{len(record)}I", *record).ljust(size, b"\0")
            tables.append(table)
        if header < 32:
            assert not tables.pop(), "a header of 24 bytes has no room for CO-RE records"
        spans, at = [], 0
        for table in tables:
            spans += [at, len(table)]
            at += len(table)
        head = struct.pack(f"{code}HBBI{len(spans)}I", 0xEB9F, 1, 0, header, *spans)
        return head.ljust(header, b"\0") + b"".join(tables)


def minimal_btf() -> bytes:
    """One type: int, 4 bytes, signed."""
    strings = b"\0int\0"
    types = struct.pack("=III", 1, 1 << 24, 4) + struct.pack("=I", 1 << 24 | 32)
    return struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings
