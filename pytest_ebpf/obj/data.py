"""Global data: the data sections with their variables, and what BTF says of every section of variables."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import DataSec, SecVar, Var
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
    twin_names,
    without_twins,
)
from pytest_ebpf.obj.legacy_maps import is_legacy_section
from pytest_ebpf.obj.object import DataReloc, DataSection, Problem, Variable
from pytest_ebpf.obj.static_names import number_statics
from pytest_ebpf.obj.targets import Targets

__all__ = ["data_kind", "fix_datasecs", "read_data"]

_NOT_DATA = frozenset(("license", "version", ".maps", ".eh_frame", ".kconfig", ".ksyms"))
_R_ABS32 = (3, 4)
_ANONYMOUS = re.compile(r"anon\.[0-9a-f]{32}\.[0-9]+|__anon_[0-9]+")  # constants that have no name: of rustc, of Zig
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
    name = section.name.removeprefix("?")  # "?.struct_ops": not unless asked for
    for kind in ("data", "rodata", "bss", "struct_ops", "percpu"):
        if name == f".{kind}" or name.startswith(f".{kind}."):
            return kind
    if section.type == SHT_NOBITS:
        return "bss"
    return "custom" if section.flags & SHF_WRITE else "rodata"


def read_data(elf: Elf, *, btf: Btf | None, targets: Targets) -> tuple[tuple[DataSection, ...], tuple[Problem, ...]]:
    """The data sections, and what is wrong with the pointers in them."""
    symbols: dict[int, list[Symbol]] = {}
    for symbol in elf.symbols:
        if symbol.type == STT_OBJECT and symbol.name:
            symbols.setdefault(symbol.section, []).append(symbol)
    sections = []
    problems: list[Problem] = []
    orphans = _orphans(elf, btf)
    for section in elf.sections:
        if kind := data_kind(section):
            btf_id, types = _btf_types(btf, section.name, orphans=orphans)
            relocs, bad = _relocs(elf, section, targets=targets)
            problems += bad
            variables = _variables(section, symbols=symbols.get(section.index, []), types=types)
            sections.append(DataSection(section.name, kind, section.size, section.data, variables, relocs, btf_id))
    return number_statics(sections), tuple(problems)


def _btf_types(btf: Btf | None, section: str, *, orphans: dict[str, list[int]]) -> tuple[int, dict[str, list[int]]]:
    """The DATASEC of a section and the types of its variables by name, those of one name in the order of their places;
    (0, ``orphans``) when it has none."""
    if btf is None:
        return 0, {}
    for btf_id in btf.datasecs(section):
        types: dict[str, list[int]] = {}
        for var in _vars(btf, btf_id):
            types.setdefault(var.name, []).append(var.type)
        return btf_id, types
    return 0, orphans


def _orphans(elf: Elf, btf: Btf | None) -> dict[str, list[int]]:
    """Types of variables whose section BTF calls otherwise than ELF: clang 14 with -fdata-sections."""
    if btf is None:
        return {}
    names = {section.name for section in elf.sections}
    sections = [at for at in btf.datasecs() if btf.name(at) not in names]
    return {var.name: [var.type] for at in sections for var in _vars(btf, at)}


def _vars(btf: Btf, datasec: int) -> Iterator[Var]:
    """By their offsets: the output of a linker has several static variables of one name."""
    found = btf.type(datasec)
    for entry in sorted(found.vars, key=lambda entry: entry.offset) if isinstance(found, DataSec) else ():
        var = btf.type(entry.type)
        if isinstance(var, Var):
            yield var


def _variables(section: Section, *, symbols: list[Symbol], types: dict[str, list[int]]) -> tuple[Variable, ...]:
    variables = []
    seen: dict[str, int] = {}
    local = {name: twin for twin, name in twin_names(symbols).items()}
    for symbol in sorted(without_twins(symbols), key=lambda symbol: (symbol.value, symbol.name)):
        if symbol.value + symbol.size > section.size or _ANONYMOUS.fullmatch(symbol.name):
            continue
        var_name = "" if symbol.name in types else local.get(symbol.name, "")
        ids, number = types.get(var_name or symbol.name, [0]), seen.get(symbol.name, 0)
        seen[symbol.name] = number + 1
        variables.append(
            Variable(
                symbol.name,
                symbol.value,
                symbol.size,
                ids[min(number, len(ids) - 1)],
                is_global=symbol.bind != STB_LOCAL,
                is_weak=symbol.bind == STB_WEAK,
                var_name=var_name,
            )
        )
    return tuple(variables)


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
    symbols: dict[tuple[int, str], list[Symbol]] = {}
    for symbol in elf.symbols:
        if symbol.name:
            symbols.setdefault((symbol.section, symbol.name), []).append(symbol)
    for same in symbols.values():
        if len(same) > 1:
            same.sort(key=lambda symbol: symbol.value)
    fixed = []
    for type_id in btf.datasecs():
        found = btf.type(type_id)
        section = sections.get(found.name) if isinstance(found, DataSec) else None
        if not section or not isinstance(found, DataSec):
            continue
        entries = []
        seen: dict[str, int] = {}
        for entry in sorted(found.vars, key=lambda entry: entry.offset):
            name = btf.name(entry.type)
            same = symbols.get((section.index, name), [])
            found_at = same[min(seen.get(name, 0), len(same) - 1)] if same else None
            seen[name] = seen.get(name, 0) + 1
            if found_at and found_at.value + found_at.size <= section.size:
                entry = SecVar(entry.type, found_at.value, entry.size or found_at.size)
            entries.append(entry)
        entries.sort(key=lambda entry: entry.offset)
        fixed.append((type_id, DataSec(found.name, section.size, tuple(entries))))
    return tuple(fixed)
