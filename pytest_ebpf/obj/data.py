"""Global data: the data sections with their variables, and what BTF says of every section of variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import DataSec, Kind, Var
from pytest_ebpf.obj.elf import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHT_NOBITS,
    SHT_PROGBITS,
    STB_LOCAL,
    STB_WEAK,
    STT_OBJECT,
    Elf,
    Section,
    Symbol,
)
from pytest_ebpf.obj.legacy_maps import is_legacy_section
from pytest_ebpf.obj.object import DataReloc, DataSection, Problem, Variable
from pytest_ebpf.obj.targets import Targets

__all__ = ["data_kind", "fix_datasecs", "read_data"]

_NOT_DATA = frozenset(("license", "version", ".maps", ".eh_frame", ".kconfig", ".ksyms"))
_R_ABS32 = (3, 4)
_ANONYMOUS = re.compile(r"anon\.[0-9a-f]{32}\.[0-9]+")  # LLVM's names for what has none: constants of rustc
_ARENA = ".addr_space.1"  # what clang calls the section of variables with __arena


def data_kind(section: Section) -> str:
    """The ``kind`` of ``DataSection`` that a section becomes, "" for one that is no data."""
    if section.type not in (SHT_PROGBITS, SHT_NOBITS) or not section.size:
        return ""
    if not section.flags & SHF_ALLOC or section.flags & SHF_EXECINSTR:
        return ""
    if section.name in _NOT_DATA or is_legacy_section(section):
        return ""
    if section.name == _ARENA:
        return "arena"
    if section.type == SHT_NOBITS:
        return "bss"
    name = section.name.removeprefix("?")  # "?.struct_ops": not unless asked for
    for kind in ("data", "rodata", "bss", "struct_ops"):
        if name == f".{kind}" or name.startswith(f".{kind}."):
            return kind
    return "custom" if section.flags & SHF_WRITE else "rodata"


def read_data(elf: Elf, *, btf: Btf | None, targets: Targets) -> tuple[tuple[DataSection, ...], tuple[Problem, ...]]:
    """The data sections, and what is wrong with the pointers in them."""
    symbols: dict[int, list[Symbol]] = {}
    for symbol in elf.symbols:
        if symbol.type == STT_OBJECT and symbol.name:
            symbols.setdefault(symbol.section, []).append(symbol)
    sections = []
    problems: list[Problem] = []
    for section in elf.sections:
        if kind := data_kind(section):
            btf_id, types = _btf_types(btf, section.name)
            relocs, bad = _relocs(elf, section, targets=targets)
            problems += bad
            variables = _variables(section, symbols=symbols.get(section.index, []), types=types)
            sections.append(DataSection(section.name, kind, section.size, section.data, variables, relocs, btf_id))
    return tuple(sections), tuple(problems)


def _btf_types(btf: Btf | None, section: str) -> tuple[int, dict[str, int]]:
    """The DATASEC of a section and the types of its variables by name; (0, {}) without BTF."""
    if btf is None:
        return 0, {}
    for btf_id in btf.find(section, Kind.DATASEC):
        return btf_id, {var.name: var.type for var in _vars(btf, btf_id)}
    return 0, {}


def _vars(btf: Btf, datasec: int) -> Iterator[Var]:
    found = btf.type(datasec)
    for entry in found.vars if isinstance(found, DataSec) else ():
        var = btf.type(entry.type)
        if isinstance(var, Var):
            yield var


def _variables(section: Section, *, symbols: list[Symbol], types: dict[str, int]) -> tuple[Variable, ...]:
    return tuple(
        Variable(
            symbol.name,
            symbol.value,
            symbol.size,
            types.get(symbol.name, 0),
            is_global=symbol.bind != STB_LOCAL,
            is_weak=symbol.bind == STB_WEAK,
        )
        for symbol in sorted(symbols, key=lambda symbol: (symbol.value, symbol.name))
        if symbol.value + symbol.size <= section.size and not _ANONYMOUS.fullmatch(symbol.name)
    )


def _relocs(elf: Elf, section: Section, *, targets: Targets) -> tuple[tuple[DataReloc, ...], list[Problem]]:
    found = []
    problems = []
    for rel in elf.relocs.get(section.index, ()):
        symbol = elf.symbol(rel)
        width = 4 if rel.type in _R_ABS32 else 8
        addend = int.from_bytes(section.data[rel.offset : rel.offset + width], elf.byteorder)  # type: ignore[arg-type]
        target = targets.find(symbol, addend)
        if not target.kind or rel.offset + width > len(section.data):
            message = f"the pointer at byte {rel.offset:#x} leads nowhere that a loader knows"
            problems.append(Problem(section.name, symbol.name, message))
            continue
        kind = "func" if target.kind == "code" else target.kind
        found.append(DataReloc(rel.offset, kind, target.symbol, target.section, target.offset))
    return tuple(found), problems


def fix_datasecs(elf: Elf, *, btf: Btf | None) -> tuple[tuple[int, DataSec], ...]:
    """(type id, DATASEC) for each section of variables that the file has, with the size of the section and the
    offsets of the variables, in order: compilers leave them 0, and the kernel checks them."""
    if btf is None:
        return ()
    sections = {section.name: section for section in elf.sections}
    offsets = {(symbol.section, symbol.name): symbol for symbol in elf.symbols if symbol.name}
    fixed = []
    for type_id in btf.ids():
        found = btf.type(type_id) if btf.kind(type_id) == Kind.DATASEC else None
        section = sections.get(found.name) if isinstance(found, DataSec) else None
        if not section or not isinstance(found, DataSec):
            continue
        entries = []
        for entry in found.vars:
            symbol = offsets.get((section.index, btf.name(entry.type)))
            if symbol and symbol.value + symbol.size <= section.size:
                entry = replace(entry, offset=symbol.value, size=entry.size or symbol.size)
            entries.append(entry)
        entries.sort(key=lambda entry: entry.offset)
        fixed.append((type_id, replace(found, size=section.size, vars=tuple(entries))))
    return tuple(fixed)
