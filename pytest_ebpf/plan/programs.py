"""A program and what it reaches, made ready for one kernel: relocated, linked, with its records."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_ebpf.agent.ops import FdPatch, Obj
from pytest_ebpf.errors import PlanError
from pytest_ebpf.obj.insn import PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, Insn, pack_insns, unpack_insns
from pytest_ebpf.obj.object import Extern, LineInfo, ObjectFile, ProgramDef, Reloc
from pytest_ebpf.plan.core_reloc import Relocator
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.kconfig import KCONFIG, Kconfig
from pytest_ebpf.plan.ksyms import Ksym, call_kfunc, find_ksym, load_address
from pytest_ebpf.plan.lines import line_at
from pytest_ebpf.plan.link import Fixup, Linked, Prepared, function_index, link

__all__ = ["FUNC_INFO_SIZE", "LINE_INFO_SIZE", "Preparer", "Records", "pack_records", "patches"]

FUNC_INFO_SIZE, LINE_INFO_SIZE = 8, 16  # struct bpf_func_info, bpf_line_info
_LOADS = ("map", "data", "func", "extern")  # relocations of instructions that take two slots


class Preparer:
    """Makes the programs of one object ready; what programs share (subprograms, symbols) is done once."""

    __slots__ = ("_externs", "_functions", "_kconfig", "_ksyms", "_prepared", "_relocator", "facts", "maps", "obj")

    def __init__(self, obj: ObjectFile, facts: Facts, *, kconfig: Kconfig | None, maps: frozenset[str]) -> None:
        self.obj = obj
        self.facts = facts
        self.maps = maps
        self._kconfig = kconfig
        self._functions = function_index(obj)
        self._externs = {extern.name: (extern, number) for number, extern in enumerate(obj.externs)}
        self._relocator = Relocator(obj.btf, facts.btf) if obj.btf is not None else None
        self._prepared: dict[tuple[str, int], Prepared] = {}
        self._ksyms: dict[str, Ksym] = {}

    def link(self, program: ProgramDef) -> Linked:
        """Raises PlanError when this kernel lacks what the program cannot do without."""
        return link(program, self._functions, prepare=self._prepare)

    def _prepare(self, function: ProgramDef) -> Prepared:
        key = (function.section, function.section_offset)
        found = self._prepared.get(key)
        if found is None:
            found = self._prepared[key] = self._relocate(function)
        return found

    def _relocate(self, function: ProgramDef) -> Prepared:
        insns = list(unpack_insns(function.insns, byteorder=self.obj.byteorder))
        notes: dict[int, str] = {}
        if function.core:
            if self._relocator is None:
                raise PlanError(f"{function.name} has CO-RE relocations, but its object has no BTF")
            notes.update(self._relocator.relocate(insns, function.core, lines=function.line_info))
        fixups = []
        for reloc in function.relocs:
            if reloc.kind in _LOADS and reloc.insn + 1 >= len(insns):
                raise PlanError(f"{function.name} is cut off: it ends within a 64-bit load of {reloc.symbol!r}")
            if reloc.kind in ("map", "data"):
                fixups.append(self._map_load(insns, reloc, function=function))
            elif reloc.kind == "extern":
                fixups += self._extern_load(insns, reloc)
            elif reloc.kind == "kfunc" and (note := self._kfunc_call(insns, reloc, function=function)):
                notes[reloc.insn] = note
        return Prepared(function, tuple(insns), tuple(fixups), notes)

    def _map_load(self, insns: list[Insn], reloc: Reloc, *, function: ProgramDef) -> Fixup:
        name = reloc.symbol if reloc.kind == "map" else reloc.section
        if name not in self.maps:
            raise PlanError(f"{function.name} uses {name!r}, which this object does not define as a map")
        return _load(insns, reloc.insn, name=name, offset=None if reloc.kind == "map" else reloc.offset)

    def _extern_load(self, insns: list[Insn], reloc: Reloc) -> list[Fixup]:
        extern, _ = self._extern(reloc.symbol)
        if extern.kind != "kconfig":
            load_address(insns, reloc.insn, ksym=self._ksym(extern))
            return []
        kconfig = self._kconfig
        if kconfig is None or extern.name not in kconfig.layout.variables:
            raise PlanError(f"extern {extern.name} has no BTF: its type is not known")
        if extern.name in kconfig.missing:
            raise PlanError(kconfig.missing[extern.name])
        offset, _ = kconfig.layout.variables[extern.name]
        return [_load(insns, reloc.insn, name=KCONFIG, offset=offset)]

    def _kfunc_call(self, insns: list[Insn], reloc: Reloc, *, function: ProgramDef) -> str:
        extern, number = self._extern(reloc.symbol)
        if not call_kfunc(insns, reloc.insn, ksym=self._ksym(extern), number=number):
            return ""
        line = line_at(function.line_info, reloc.insn)
        where = f" ({line.file}:{line.line} `{line.text.strip()}`)" if line else ""
        return f"kfunc {extern.name}() is missing in this kernel{where}; guard it with bpf_ksym_exists()"

    def _extern(self, name: str) -> tuple[Extern, int]:
        if name not in self._externs:
            raise PlanError(f"nothing defines {name!r}, and it is not declared __ksym or __kconfig")
        return self._externs[name]

    def _ksym(self, extern: Extern) -> Ksym:
        found = self._ksyms.get(extern.name)
        if found is None:
            found = self._ksyms[extern.name] = find_ksym(extern, self.obj, facts=self.facts)
        return found


def _load(insns: list[Insn], index: int, *, name: str, offset: int | None) -> Fixup:
    src = PSEUDO_MAP_FD if offset is None else PSEUDO_MAP_VALUE
    insns[index] = insns[index]._replace(src=src, imm=0)
    insns[index + 1] = insns[index + 1]._replace(imm=offset or 0)
    return Fixup(index, name, offset)


def patches(linked: Linked, maps: Mapping[str, Obj]) -> tuple[FdPatch, ...]:
    """Where the file descriptors of maps go."""
    return tuple(FdPatch(fixup.insn, maps[fixup.map]) for fixup in linked.fixups)


@dataclass(frozen=True, slots=True)
class Records:
    """Instructions and the kernel's func_info and line_info records, packed."""

    insns: bytes
    func_info: bytes
    line_info: bytes


def pack_records(linked: Linked, *, byteorder: str) -> Records:
    """The records in the byte order of the object."""
    code = "<" if byteorder == "little" else ">"
    return Records(
        insns=pack_insns(linked.insns, byteorder=byteorder),
        func_info=b"".join(struct.pack(code + "II", insn, type_id) for insn, type_id in linked.func_info),
        line_info=b"".join(_line_record(row, code=code) for row in linked.line_info),
    )


def _line_record(row: LineInfo, *, code: str) -> bytes:
    return struct.pack(code + "IIII", row.insn, row.file_off, row.line_off, row.line_col)
