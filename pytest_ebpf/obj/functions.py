"""Programs and subprograms: the functions of the code sections, with what their instructions refer to."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from pytest_ebpf.btf.functions import is_function
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.btf_ext import ExtInfo
from pytest_ebpf.obj.elf import (
    HIDDEN,
    SHF_EXECINSTR,
    SHN_COMMON,
    SHT_PROGBITS,
    STB_LOCAL,
    STB_WEAK,
    STT_FUNC,
    Elf,
    Rel,
    Section,
    Symbol,
    without_twins,
)
from pytest_ebpf.obj.insn import CALL, INSN_SIZE, LD_IMM64, slots_with_code
from pytest_ebpf.obj.object import JumpTable, Problem, ProgramDef, Reloc
from pytest_ebpf.obj.sections import SectionSpec, nearest_section, parse_section
from pytest_ebpf.obj.targets import JUMP_TABLES, Targets
from pytest_ebpf.uapi.insn import PseudoCall

__all__ = ["Functions", "read_functions"]

_FARTHEST = INSN_SIZE << 32  # the kernel's entries are u32 (struct bpf_insn_array_value)
_STALE = "was .BTF written anew after compiling (pahole -J)? then .BTF.ext speaks of the old one"
_STRIP = "llvm-strip -g keeps what a loader needs; -x and --strip-unneeded do not"


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of an object, and what is wrong with those that are left out."""

    programs: tuple[ProgramDef, ...]
    text: tuple[ProgramDef, ...]
    problems: tuple[Problem, ...]


class _BadFunctionError(Exception):
    """This function cannot be used; the message says why, and ``hint`` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class _Code:
    """A section of code and what to look its references up in. ``stale`` collects names of functions whose records in
    .BTF.ext were dropped."""

    elf: Elf
    section: Section
    targets: Targets
    ext: ExtInfo
    rels: tuple[Rel, ...]
    stale: list[str]


def read_functions(elf: Elf, *, targets: Targets, ext: ExtInfo) -> Functions:
    """Every function of the object.

    A program is a function that is not static, outside of .text; the others are subprograms. (libbpf refuses objects
    with static functions elsewhere; cilium/ebpf takes them for subprograms, and so does this.)
    """
    programs: list[ProgramDef] = []
    text: list[ProgramDef] = []
    problems: list[Problem] = []
    stale: list[str] = []
    for section, symbols in _code_sections(elf):
        is_text = section.name == ".text" or section.name.startswith(".text.")
        spec = None if is_text else parse_section(section.name)
        code = _Code(elf, section, targets, ext, elf.relocs.get(section.index, ()), stale)
        for symbol in symbols:
            is_program = not is_text and symbol.bind != STB_LOCAL
            try:
                function = _function(code, symbol, spec=spec if is_program else None, after=_next(symbols, symbol))
            except _BadFunctionError as error:
                costs = "program" if spec is not None and is_program else ""
                problems.append(Problem(section.name, symbol.name, str(error), error.hint, costs))
                continue
            (programs if is_program else text).append(function)
            if is_program and spec is None:
                problems.append(_unknown_section(section.name, symbol.name))
        if spec and not symbols:
            message = "code without a function symbol"
            problems.append(Problem(section.name, "", message, "was the object stripped? " + _STRIP, costs="program"))
    if stale:
        message = "its records do not fit the .BTF of this object; those of these functions are left out: "
        problems.append(Problem(".BTF.ext", "", message + ", ".join(stale), _STALE))
    return Functions(tuple(programs), tuple(text), (*problems, *_static_programs(programs, text)))


def _static_programs(programs: Sequence[ProgramDef], text: Sequence[ProgramDef]) -> Iterator[Problem]:
    """Static functions in a section of programs that nothing calls: no loader takes them for programs."""
    statics = [function for function in text if not function.is_global and parse_section(function.section) is not None]
    if not statics:
        return
    functions = (*programs, *text)
    called = {(r.section, r.offset) for f in functions for r in f.relocs if r.kind in ("call", "func")}
    for function in statics:
        if (function.section, function.section_offset) not in called:
            hint = "remove the word static; a function that is no program belongs in no section"
            message = "it is static, and nothing calls it: programs are global functions"
            yield Problem(function.section, function.name, message, hint, costs="program")


def _code_sections(elf: Elf) -> Iterator[tuple[Section, list[Symbol]]]:
    members: dict[int, list[Symbol]] = {}
    for symbol in elf.symbols:
        if symbol.type == STT_FUNC and symbol.section:
            members.setdefault(symbol.section, []).append(symbol)
    for section in elf.sections:
        if section.type == SHT_PROGBITS and section.flags & SHF_EXECINSTR and section.size:
            symbols = without_twins(members.get(section.index, ()))
            symbols.sort(key=lambda symbol: symbol.value)
            if sum(min(symbol.size, section.size) for symbol in symbols) > 16 * section.size:
                raise ObjectError("its functions overlap: the file is damaged", path=elf.name, section=section.name)
            yield section, symbols


def _next(symbols: list[Symbol], symbol: Symbol) -> int | None:
    """Where the next function of the section begins."""
    at = bisect_left(symbols, symbol.value + 1, key=lambda other: other.value)
    return symbols[at].value if at < len(symbols) else None


def _unknown_section(section: str, program: str) -> Problem:
    near = nearest_section(section)
    hint = f'did you mean SEC("{near}")?' if near else 'a section names the program type: SEC("xdp"), SEC("kprobe/…")'
    return Problem(section, program, "no program type goes by this section name; the program is left out", hint)


def _function(code: _Code, symbol: Symbol, *, spec: SectionSpec | None, after: int | None) -> ProgramDef:
    section = code.section
    start = symbol.value
    # hand-written assembly may leave the size out
    end = start + symbol.size if symbol.size else after or section.size
    if start % INSN_SIZE or end % INSN_SIZE or not start < end <= len(section.data):
        raise _BadFunctionError(f"bytes {start:#x} to {end:#x} are not whole instructions of this section")
    insns = section.data[start:end]
    try:
        info = code.ext.within(section.name, start=start, end=end)
    except ObjectError as error:
        raise _BadFunctionError(f"its CO-RE records do not fit the object's BTF: {error}", _STALE) from None
    if info.is_stale:
        code.stale.append(symbol.name)
    relocs = _relocs(code, start=start, insns=insns)
    return ProgramDef(
        name=symbol.name,
        section=section.name,
        spec=spec,
        insns=insns,
        section_offset=start,
        is_global=symbol.bind != STB_LOCAL,
        is_weak=symbol.bind == STB_WEAK,
        is_hidden=symbol.bind != STB_LOCAL and symbol.visibility in HIDDEN,
        btf_id=info.func_info[0].type_id if info.func_info else _find_func(code, symbol.name),
        relocs=tuple(reloc for reloc in relocs if reloc.kind != "jump"),
        jump_tables=tuple(_jump_table(code, r, start=start) for r in relocs if r.kind == "jump"),
        core=info.core,
        func_info=info.func_info,
        line_info=info.line_info,
    )


def _jump_table(code: _Code, reloc: Reloc, *, start: int) -> JumpTable:
    """The entries are offsets in bytes, of 8 bytes each, into the section of the function that jumps. One behind the
    function's end is the verifier's to refuse, as with libbpf (create_jt_map); one before its start has no number.
    """
    section = code.elf.section(JUMP_TABLES)
    assert section is not None
    sizes = {s.value: s.size for s in code.elf.symbols if s.section == section.index and s.name == reloc.symbol}
    data = section.data[reloc.offset : reloc.offset + sizes.get(reloc.offset, 0)]
    order = "<" if code.elf.byteorder == "little" else ">"
    places = struct.unpack(f"{order}{len(data) // 8}Q", data[: len(data) // 8 * 8])
    if not places or any(place % INSN_SIZE or not start <= place < start + _FARTHEST for place in places):
        raise _BadFunctionError(f"instruction {reloc.insn}: jump table {reloc.symbol!r} leads out of the function")
    return JumpTable(reloc.insn, reloc.symbol, tuple((place - start) // INSN_SIZE for place in places))


def _find_func(code: _Code, name: str) -> int:
    btf = code.ext.btf
    found = btf.find(name, Kind.FUNC) if btf is not None else ()
    return found[0] if found and btf is not None and is_function(btf, found[0]) else 0


def _relocs(code: _Code, *, start: int, insns: bytes) -> tuple[Reloc, ...]:
    first = bisect_left(code.rels, (start,))
    after = bisect_left(code.rels, (start + len(insns),), first)
    found = [_reloc(code, rel, start=start, insns=insns) for rel in code.rels[first:after]]
    named = {reloc.insn for reloc in found}
    regs = slice(None, None, INSN_SIZE)
    sources = insns[1:][regs]
    shift = 4 if code.elf.byteorder == "little" else 0
    for slot in slots_with_code(insns, CALL):
        if (sources[slot] >> shift) & 15 == PseudoCall.CALL and slot not in named:
            offset = start + (slot + 1 + _imm(code, insns, slot=slot)) * INSN_SIZE
            found.append(_call(code, slot, section=code.section.index, offset=offset))
    return tuple(sorted(found))


def _reloc(code: _Code, rel: Rel, *, start: int, insns: bytes) -> Reloc:
    slot, rest = divmod(rel.offset - start, INSN_SIZE)
    opcode = insns[slot * INSN_SIZE]
    symbol = code.elf.symbol(rel)
    if rest or opcode not in (LD_IMM64, CALL):
        raise _BadFunctionError(f"instruction {slot} (opcode {opcode:#04x}) cannot refer to {symbol.name!r}")
    imm = _imm(code, insns, slot=slot)
    if opcode == CALL:
        if symbol.section == 0 and symbol.name:
            return Reloc(slot, "kfunc", symbol.name)
        return _call(code, slot, section=symbol.section, offset=symbol.value + (imm + 1) * INSN_SIZE)
    target = code.targets.find(symbol, imm)
    if symbol.section == SHN_COMMON:
        message = f"instruction {slot} refers to common symbol {symbol.name!r}, which is in no section"
        raise _BadFunctionError(message, f"compile with -fno-common, or give {symbol.name} an initial value")
    if not target.kind:
        where = f"byte {target.offset:#x} of section {target.section}" if target.section else f"symbol {symbol.name!r}"
        raise _BadFunctionError(f"instruction {slot} refers to {where}, which is no map, data or function")
    kind = "func" if target.kind == "code" else target.kind
    return Reloc(slot, kind, target.symbol, target.section, target.offset)


def _call(code: _Code, slot: int, *, section: int, offset: int) -> Reloc:
    name = code.targets.functions.get((section, offset))
    sections = code.elf.sections
    if name is None or not 0 < section < len(sections):
        where = sections[section].name if 0 < section < len(sections) else "?"
        raise _BadFunctionError(
            f"instruction {slot} calls byte {offset:#x} of section {where}, where no function starts",
            "were the symbols of static functions stripped? " + _STRIP,
        )
    return Reloc(slot, "call", name, sections[section].name, offset)


def _imm(code: _Code, insns: bytes, *, slot: int) -> int:
    at = slot * INSN_SIZE + 4
    return int.from_bytes(insns[at : at + 4], code.elf.byteorder, signed=True)  # type: ignore[arg-type]
