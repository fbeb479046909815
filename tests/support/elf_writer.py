"""ELF files for tests, written byte by byte: what compilers make, and what they never would."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

EM_BPF = 247
PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, REL = 1, 2, 3, 4, 8, 9
WRITE, ALLOC, EXEC = 1, 2, 4
LOCAL, GLOBAL, WEAK = 0, 1, 2
NOTYPE, OBJECT, FUNC, SECTION = 0, 1, 2, 3


@dataclass
class _Section:
    name: str
    type: int
    flags: int
    data: bytes
    size: int
    link: int = 0
    info: int = 0
    entry: int = 0


@dataclass
class ElfWriter:
    """Sections and symbols are named by the indices that ``section`` and ``symbol`` give."""

    byteorder: str = "little"
    machine: int = EM_BPF
    type: int = 1
    elf_class: int = 2
    sections: list[_Section] = field(default_factory=lambda: [_Section("", 0, 0, b"", 0)])
    symbols: list[bytes] = field(default_factory=lambda: [bytes(24)])
    names: bytes = b"\0"

    @property
    def code(self) -> str:
        return "<" if self.byteorder == "little" else ">"

    def section(
        self, name: str, data: bytes = b"", *, type: int = PROGBITS, flags: int = ALLOC, size: int = -1, info: int = 0
    ) -> int:
        self.sections.append(_Section(name, type, flags, data, len(data) if size < 0 else size, info=info))
        return len(self.sections) - 1

    def symbol(
        self,
        name: str,
        section: int = 0,
        *,
        value: int = 0,
        size: int = 0,
        type: int = OBJECT,
        bind: int = GLOBAL,
        hidden: bool = False,
    ) -> int:
        at = 0
        if name:
            at = len(self.names)
            self.names += name.encode() + b"\0"
        self.symbols.append(struct.pack(self.code + "IBBHQQ", at, bind << 4 | type, 2 * hidden, section, value, size))
        return len(self.symbols) - 1

    def rel(self, section: int, rows: list[tuple[int, int, int]], *, type: int = REL) -> None:
        """``rows``: (offset, symbol, R_BPF type)."""
        data = b"".join(struct.pack(self.code + "QQ", offset, symbol << 32 | kind) for offset, symbol, kind in rows)
        if type == RELA:
            data = b"".join(
                struct.pack(self.code + "QQQ", offset, symbol << 32 | kind, 0) for offset, symbol, kind in rows
            )
        self.section(f".rel{self.sections[section].name}", data, type=type, flags=0, info=section)
        self.sections[-1].entry = 24 if type == RELA else 16

    def build(self) -> bytes:
        sections = [*self.sections]
        strings = len(sections)
        sections.append(_Section(".strtab", STRTAB, 0, self.names, len(self.names)))
        symbols = b"".join(self.symbols)
        sections.append(_Section(".symtab", SYMTAB, 0, symbols, len(symbols), link=strings, info=1, entry=24))
        names = b"\0"
        offsets = []
        for section in [*sections, _Section(".shstrtab", STRTAB, 0, b"", 0)]:
            offsets.append(len(names) if section.name else 0)
            names += section.name.encode() + b"\0" if section.name else b""
        sections.append(_Section(".shstrtab", STRTAB, 0, names, len(names)))
        body, headers = b"", b""
        for section, name in zip(sections, offsets, strict=True):
            link = strings + 1 if section.type in (REL, RELA) else section.link
            headers += struct.pack(
                self.code + "IIQQQQIIQQ",
                name, section.type, section.flags, 0, 64 + len(body), section.size,
                link, section.info, 8, section.entry,
            )  # fmt: skip
            body += section.data.ljust(-(-len(section.data) // 8) * 8, b"\0")
        return self._header(64 + len(body), len(sections)) + body + headers

    def _header(self, table: int, count: int) -> bytes:
        ident = b"\x7fELF" + bytes((self.elf_class, 1 if self.byteorder == "little" else 2, 1)) + bytes(9)
        return ident + struct.pack(
            self.code + "HHIQQQIHHHHHH", self.type, self.machine, 1, 0, 0, table, 0, 64, 0, 0, 64, count, count - 1
        )
