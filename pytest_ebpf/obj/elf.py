"""The ELF file around an eBPF object: sections, symbols, relocations.

Four tables of fixed rows, unpacked from their bytes: pyelftools takes ten times as long for them, a third of the whole
load of a small object. Numbers: the System V ABI, and e_machine 247 = EM_BPF.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import starmap
from typing import Any, NamedTuple

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass, field

__all__ = [
    "SHF_ALLOC",
    "SHF_EXECINSTR",
    "SHF_WRITE",
    "SHT_NOBITS",
    "SHT_PROGBITS",
    "SHN_COMMON",
    "HIDDEN",
    "STB_LOCAL",
    "STB_WEAK",
    "STT_FUNC",
    "STT_NOTYPE",
    "STT_OBJECT",
    "STT_SECTION",
    "Elf",
    "Rel",
    "Section",
    "Symbol",
    "read_elf",
    "read_relocs",
    "twin_names",
    "without_twins",
]

SHT_PROGBITS, SHT_SYMTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 1, 2, 4, 8, 9
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION = 0, 1, 2, 3
SHN_COMMON = 0xFFF2  # the section index of a variable that the linker has to make room for
HIDDEN = (1, 2)  # STV_INTERNAL, STV_HIDDEN

_ET_REL, _EM_NONE, _EM_BPF = 1, 0, 247
_SHT_NULL = 0
_SHOFF, _SHENTSIZE, _SHN_XINDEX = 40, 58, 0xFFFF
_SHT_CREL = 0x40000014  # LLVM's compact relocations
_LLVM_BITCODE = (b"BC\xc0\xde", b"\xde\xc0\x17\x0b")
_MAX_NAME = 2048
_MAX_SECTION = 0xFFFFFFFF  # a map's value_size is a u32
_MACHINES = {
    3: "x86",
    8: "MIPS",
    20: "PowerPC",
    21: "PowerPC 64",
    22: "s390",
    40: "ARM",
    62: "x86-64",
    183: "AArch64",
    243: "RISC-V",
    258: "LoongArch",
}
_COMPILE = "compile with: clang -O2 -g -target bpf -c prog.c -o prog.o"


class _Header(NamedTuple):
    """An Elf64_Shdr."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


@dataclass(frozen=True, slots=True)
class Section:
    """``data`` is empty for SHT_NOBITS, whose ``size`` may be anything."""

    index: int
    name: str
    type: int
    flags: int
    size: int
    link: int
    info: int
    align: int
    data: bytes = field(repr=False)


class Symbol(NamedTuple):
    """``section``: index of its section, 0 for one that is defined elsewhere. ``value``: bytes into the section.
    ``visibility``: STV_*."""

    name: str
    type: int
    bind: int
    section: int
    value: int
    size: int
    visibility: int = 0


class Rel(NamedTuple):
    """``offset``: bytes into the section to change. ``type``: R_BPF_*. ``symbol``: index."""

    offset: int
    type: int
    symbol: int


@dataclass(frozen=True, slots=True)
class Elf:
    """``relocs``: section index -> its relocations, by offset; only for sections that a loader uses (SHF_ALLOC)."""

    name: str
    byteorder: str
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocs: dict[int, tuple[Rel, ...]]

    def section(self, name: str) -> Section | None:
        return next((s for s in self.sections if s.name == name), None)

    def symbol(self, rel: Rel) -> Symbol:
        """The symbol of a relocation; ObjectError when there is no such entry."""
        if rel.symbol >= len(self.symbols):
            raise ObjectError(
                f"relocation against symbol {rel.symbol} of {len(self.symbols)}", path=self.name, offset=rel.offset
            )
        return self.symbols[rel.symbol]

    def home(self, symbol: Symbol) -> Section | None:
        """The section that defines a symbol, None when no section of this file does."""
        return self.sections[symbol.section] if 0 < symbol.section < len(self.sections) else None


def without_twins(symbols: Iterable[Symbol]) -> list[Symbol]:
    """The symbols of one section, without the local ones at the place of a global one: Zig (0.16) writes
    ``program.counts`` beside ``counts``."""
    symbols = list(symbols)
    places = {symbol.value for symbol in symbols if symbol.bind != STB_LOCAL}
    return [symbol for symbol in symbols if symbol.bind != STB_LOCAL or symbol.value not in places]


def twin_names(symbols: Iterable[Symbol]) -> dict[str, str]:
    """Name of a local symbol -> name of the global one at its place. BTF of Zig has the former."""
    found: dict[int, dict[bool, str]] = {}
    for symbol in symbols:
        if symbol.name:
            found.setdefault(symbol.value, {})[symbol.bind == STB_LOCAL] = symbol.name
    return {both[True]: both[False] for both in found.values() if len(both) == 2}


def read_elf(data: bytes, *, name: str) -> Elf:
    """The ELF object in ``data``. ObjectError for anything that is not a relocatable eBPF object of 64 bits."""
    byteorder = _check_head(data, name=name)
    code = "<" if byteorder == "little" else ">"
    sections = tuple(_sections(data, code=code, name=name))
    _check_overlap(sections, size=len(data), name=name)
    table = next((s for s in sections if s.type == SHT_SYMTAB), None)
    symbols = _symbols(table, sections=sections, code=code, path=name) if table else ()
    wanted = {section.index for section in sections if section.flags & SHF_ALLOC}
    return Elf(name, byteorder, sections, symbols, _relocs(sections, wanted=wanted, code=code, name=name))


def read_relocs(elf: Elf, section: str) -> dict[int, tuple[Rel, ...]]:
    """The relocations of sections of this name, which ``read_elf`` leaves out when no loader uses them."""
    wanted = {found.index for found in elf.sections if found.name == section}
    return _relocs(elf.sections, wanted=wanted, code="<" if elf.byteorder == "little" else ">", name=elf.name)


def _check_overlap(sections: tuple[Section, ...], *, size: int, name: str) -> None:
    """Compilers never let sections share bytes; a file that does could make 1 MB look like 10 GB."""
    if sum(len(section.data) for section in sections) > 2 * size:
        raise ObjectError("its sections overlap: the file is damaged", path=name)
    for section in sections:
        if section.size > _MAX_SECTION:
            raise ObjectError(f"a section of {section.size:,} bytes", path=name, section=section.name)


def _check_head(data: bytes, *, name: str) -> str:
    """The byte order, after holding the first bytes of the ELF header against what an eBPF object has."""
    if not data:
        raise ObjectError("the file is empty", path=name, hint="did the compiler fail? " + _COMPILE)
    if data[:4] != b"\x7fELF":
        hint = "compile without -flto. " + _COMPILE if data[:4] in _LLVM_BITCODE else _COMPILE
        raise ObjectError(f"not an ELF object: {_looks_like(data)}", path=name, hint=hint)
    if len(data) < 64:
        raise _cut_off(f"{len(data)} bytes do not hold an ELF header", path=name)
    byteorder = {1: "little", 2: "big"}.get(data[5], "")
    if not byteorder:
        raise ObjectError(f"ELF of unknown byte order {data[5]}", path=name, offset=5)
    kind, machine = struct.unpack_from(("<" if byteorder == "little" else ">") + "HH", data, 16)
    if machine not in (_EM_BPF, _EM_NONE):  # libbpf takes both: some assemblers leave the machine out
        found = _MACHINES.get(machine, f"ELF machine {machine}")
        raise ObjectError(f"an object for {found}, not for BPF", path=name, hint=_COMPILE)
    if data[4] != 2 or kind != _ET_REL:
        raise ObjectError("not a relocatable 64-bit object", path=name, hint="give the .o file itself: " + _COMPILE)
    return byteorder


def _looks_like(data: bytes) -> str:
    head = data[:256]
    if data[:4] in _LLVM_BITCODE:
        return "it is LLVM bitcode, as clang writes it with -flto"
    if b"\0" in head:
        return f"it starts with the bytes {head[:4].hex(' ')}"
    line = next((line for line in head.decode("utf-8", "backslashreplace").splitlines() if line.strip()), "")
    return f"it is text, starting with {line.strip()[:40]!r}"


def _cut_off(what: str, *, path: str, section: str = "", offset: int | None = None) -> ObjectError:
    hint = "was the build or the copy interrupted? build the object again"
    return ObjectError(f"the file is cut off: {what}", path=path, section=section, offset=offset, hint=hint)


def _sections(data: bytes, *, code: str, name: str) -> Iterator[Section]:
    headers, names_index = _section_headers(data, code=code, name=name)
    names = b""
    if names_index < len(headers):
        names = _contents(data, header=headers[names_index], path=name, section=".shstrtab")
    for index, header in enumerate(headers):
        name_at, type_, flags, _, _, size, link, info, align, _ = header
        section = _text(names, name_at)
        contents = _contents(data, header=header, path=name, section=section)
        yield Section(index, section, type_, flags, size, link, info, align, contents)


def _section_headers(data: bytes, *, code: str, name: str) -> tuple[list[_Header], int]:
    """The section headers, and the index of the section that holds their names. A file of more sections than 16 bits
    count has the two numbers in its first section header."""
    (start,) = struct.unpack_from(code + "Q", data, _SHOFF)
    entry, count, names = struct.unpack_from(code + "HHH", data, _SHENTSIZE)
    row = struct.Struct(code + "IIQQQQIIQQ")
    if start and start + row.size <= len(data) and (not count or names == _SHN_XINDEX):
        first = _Header(*row.unpack_from(data, start))
        count, names = count or first.size, first.link if names == _SHN_XINDEX else names
    if not start or not count:
        raise ObjectError("an ELF file without sections", path=name, hint=_COMPILE)
    if entry != row.size or start + count * entry > len(data):
        raise _cut_off(f"{count} section headers from byte {start} on, in {len(data)} bytes", path=name)
    table = memoryview(data)[start : start + count * entry]
    return list(starmap(_Header, row.iter_unpack(table))), names


def _contents(data: bytes, *, header: _Header, path: str, section: str) -> bytes:
    if header.type in (SHT_NOBITS, _SHT_NULL):
        return b""
    start, size = header.offset, header.size
    if section.startswith(".debug_"):
        size = 0  # nothing here reads DWARF, and there is a lot of it
    if start + size > len(data):
        raise _cut_off(f"it ends at byte {len(data)}, the section at {start + size}", path=path, section=section)
    return data[start : start + size]


def _text(table: bytes, offset: int) -> str:
    """A NUL-terminated name; "" when it is not in the table, cut where no compiler's name ends."""
    end = table.find(b"\0", offset, offset + _MAX_NAME)
    return table[offset : end if end >= 0 else offset + _MAX_NAME].decode("utf-8", "backslashreplace")


def _symbols(table: Section, *, sections: tuple[Section, ...], code: str, path: str) -> tuple[Symbol, ...]:
    names = sections[table.link].data if table.link < len(sections) else b""
    rows = _rows(table, code + "IBBHQQ", path=path)
    return tuple(
        Symbol(_text(names, name) if name else "", info & 15, info >> 4, section, value, size, other & 3)
        for name, info, other, section, value, size in rows
    )


def _relocs(sections: tuple[Section, ...], *, wanted: set[int], code: str, name: str) -> dict[int, tuple[Rel, ...]]:
    """``wanted``: indices of the sections whose relocations to read."""
    found: dict[int, list[Rel]] = {}
    for section in sections:
        if section.info not in wanted:
            continue
        if section.type == _SHT_CREL:
            hint = "compile without -Wa,--crel: no loader of eBPF reads compact relocations"
            raise ObjectError("relocations in the compact form (SHT_CREL)", path=name, section=section.name, hint=hint)
        if section.type not in (SHT_REL, SHT_RELA):
            continue
        if section.type == SHT_RELA:
            hint = "BPF compilers write REL relocations; which tool made this file?"
            raise ObjectError("relocations with addends", path=name, section=section.name, hint=hint)
        rows = _rows(section, code + "QQ", path=name)
        found.setdefault(section.info, []).extend(Rel(at, info & 0xFFFFFFFF, info >> 32) for at, info in rows)
    return {index: tuple(sorted(rels)) for index, rels in found.items()}


def _rows(section: Section, layout: str, *, path: str) -> Iterator[tuple[Any, ...]]:
    row = struct.Struct(layout)
    if len(section.data) % row.size:
        raise ObjectError(f"{len(section.data)} bytes are not rows of {row.size}", path=path, section=section.name)
    return row.iter_unpack(section.data)
