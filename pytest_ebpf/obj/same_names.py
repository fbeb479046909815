"""Sections of one name become one section, as ``ld -r`` makes them.

LLVM writes several sections of the same name: ``__attribute__((retain))`` gives a variable or function a section of
its own, and so does ``#[used] #[link_section]`` of Rust with LLVM 22. Everything after this module looks sections up by
name (BTF, relocations, maps, programs), which is right only when a name means one section.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.elf import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHT_NOBITS,
    SHT_PROGBITS,
    Elf,
    Rel,
    Section,
    Symbol,
    read_relocs,
)

__all__ = ["merge_same_names"]

_KIND_FLAGS = SHF_WRITE | SHF_ALLOC | SHF_EXECINSTR
_MOST_BYTES = 1 << 28  # of a section whose uninitialised part is written out


def merge_same_names(elf: Elf) -> Elf:
    """``elf``, in which a name means one section of code or data. Indices of sections do not change: the first section
    of a name has the contents of all, and the others are empty. Symbols and relocations move with the bytes;
    ``relocs`` then has those of .BTF.ext too, which tell the section that a row is about.

    ObjectError for sections of one name of which one is code and another data, or one is writable and another is not.
    """
    same = _same_names(elf.sections)
    if not same:
        return elf
    sections = list(elf.sections)
    moves: dict[int, tuple[int, int]] = {}  # index of a section -> (index of the first of that name, bytes it moves by)
    for found in same:
        whole, bases = _whole(found, path=elf.name)
        for section, base in zip(found, bases, strict=True):
            moves[section.index] = (whole.index, base)
            sections[section.index] = replace(section, size=0, data=b"")
        sections[whole.index] = whole
    relocs: dict[int, list[Rel]] = {}
    for index, rows in {**elf.relocs, **read_relocs(elf, ".BTF.ext")}.items():
        first, base = moves.get(index, (index, 0))
        relocs.setdefault(first, []).extend(row._replace(offset=row.offset + base) for row in rows)
    return Elf(
        elf.name,
        elf.byteorder,
        tuple(sections),
        tuple(_moved(symbol, moves) for symbol in elf.symbols),
        {index: tuple(sorted(rows)) for index, rows in relocs.items()},
    )


def _same_names(sections: Sequence[Section]) -> list[list[Section]]:
    """The sections of code and data that share their name with others."""
    found: dict[str, list[Section]] = {}
    for section in sections:
        if section.flags & SHF_ALLOC and section.type in (SHT_PROGBITS, SHT_NOBITS):
            found.setdefault(section.name, []).append(section)
    return [same for same in found.values() if len(same) > 1]


def _moved(symbol: Symbol, moves: dict[int, tuple[int, int]]) -> Symbol:
    if symbol.section not in moves:
        return symbol
    first, base = moves[symbol.section]
    return symbol._replace(section=first, value=symbol.value + base)


def _whole(found: Sequence[Section], *, path: str) -> tuple[Section, list[int]]:
    """The first section with the contents of all, and where the contents of each begin in it."""
    first = found[0]
    bases: list[int] = []
    size = 0
    for section in found:
        if (section.flags ^ first.flags) & _KIND_FLAGS:
            message = f"it has both {_words(first)} and {_words(section)} under this name"
            hint = "give one of the two another section name"
            raise ObjectError(message, path=path, section=first.name, hint=hint)
        align = max(section.align, 1)
        bases.append(-(-size // align) * align)
        size = bases[-1] + section.size
    align = max(section.align for section in found)
    if all(section.type == SHT_NOBITS for section in found):
        return replace(first, size=size, align=align), bases
    if size > _MOST_BYTES:
        raise ObjectError(f"sections of {size:,} bytes in all", path=path, section=first.name)
    return replace(first, type=SHT_PROGBITS, size=size, align=align, data=_joined(found, bases, size=size)), bases


def _words(section: Section) -> str:
    if section.flags & SHF_EXECINSTR:
        return "code"
    return "variables" if section.flags & SHF_WRITE else "constants"


def _joined(found: Iterable[Section], bases: Iterable[int], *, size: int) -> bytes:
    data = bytearray(size)
    for section, base in zip(found, bases, strict=True):
        data[base : base + len(section.data)] = section.data
    return bytes(data)
