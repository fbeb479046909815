"""A program and the functions it calls, prepared for one kernel: relocated, linked, with BTF.ext records."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import itemgetter

from pytest_ebpf.agent.ops import FdPatch, Obj
from pytest_ebpf.errors import PlanError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.insn import Code, signed32
from pytest_ebpf.obj.object import DataSection, Extern, LineInfo, ObjectFile, ProgramDef, Reloc
from pytest_ebpf.plan.core_reloc import Relocator
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.kconfig import KCONFIG, Kconfig
from pytest_ebpf.plan.ksyms import Ksym, call_kfunc, find_ksym, load_address
from pytest_ebpf.plan.link import (
    Fixup,
    Linked,
    Prepared,
    exception_callbacks,
    find_callback,
    function_index,
    jump_table_name,
    line_at,
    link,
)
from pytest_ebpf.plan.program_overrides import why_lost
from pytest_ebpf.uapi.insn import PseudoLoad

__all__ = ["FUNC_INFO_SIZE", "LINE_INFO_SIZE", "Preparer", "Records", "digest", "pack_records", "patches"]

FUNC_INFO_SIZE, LINE_INFO_SIZE = 8, 16  # struct bpf_func_info, bpf_line_info
_ELSEWHERE = {"map": "map", "data": "variable", "func": "function"}  # externs that another object must define
_KERNEL_RECORD = itemgetter(*map(LineInfo._fields.index, ("insn", "file_off", "line_off", "line_col")))
_LOADS = ("map", "data", "func", "extern")  # relocations of instructions that take two slots


class Preparer:
    """Prepares the programs of one object. Shared parts (subprograms, symbols) are prepared once."""

    __slots__ = (
        "_callbacks",
        "_externs",
        "_functions",
        "_kconfig",
        "_ksyms",
        "_linked",
        "_pointers",
        "_prepared",
        "_relocator",
        "_starts",
        "facts",
        "maps",
        "modules",
        "obj",
    )

    def __init__(
        self,
        obj: ObjectFile,
        facts: Facts,
        *,
        kconfig: Kconfig | None,
        maps: frozenset[str],
        starts: Mapping[str, int] | None = None,
    ) -> None:
        self.obj = obj
        self.facts = facts
        self.maps = maps
        self._kconfig = kconfig
        self._functions = function_index(obj)
        self._callbacks = exception_callbacks(obj)
        self._externs = {extern.name: (extern, number) for number, extern in enumerate(obj.externs)}
        self._relocator = _relocator(obj, facts)
        self._starts = starts or {}  # of sections that are a part of their map
        self._pointers = {
            section.name: section for section in obj.data if section.relocs and section.kind != "struct_ops"
        }
        self._linked: dict[tuple[str, int], Linked] = {}
        self.modules: list[str] = []  # modules whose kfuncs are called, in the order of fd_array from 1 on
        self._prepared: dict[tuple[str, int], Prepared] = {}
        self._ksyms: dict[str, Ksym] = {}

    def link(self, program: ProgramDef) -> Linked:
        """Raises PlanError when this kernel lacks something that the program needs."""
        key = (program.section, program.section_offset)
        found = self._linked.get(key)
        if found is None:
            found = self._linked[key] = link(
                program,
                self._functions,
                prepare=self._prepare,
                byteorder=self.obj.byteorder,
                callback=find_callback(self.obj, program, names=self._callbacks.get(program.btf_id, ())),
                lost={problem.symbol: problem.message for problem in self.obj.problems if problem.symbol},
            )
        return found

    def _prepare(self, function: ProgramDef) -> Prepared:
        key = (function.section, function.section_offset)
        found = self._prepared.get(key)
        if found is None:
            found = self._prepared[key] = self._relocate(function)
        return found

    def _relocate(self, function: ProgramDef) -> Prepared:
        insns = Code(function.insns, byteorder=self.obj.byteorder)
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
        for table in function.jump_tables:
            if table.insn + 1 >= len(insns):
                raise PlanError(f"{function.name} is cut off: it ends within a 64-bit load of {table.name!r}")
            fixups.append(_load(insns, table.insn, name=jump_table_name(function, table), offset=0))
        return Prepared(function, bytes(insns.data), tuple(fixups), notes)

    def _map_load(self, insns: Code, reloc: Reloc, *, function: ProgramDef) -> Fixup:
        name = reloc.symbol if reloc.kind == "map" else reloc.section
        if name not in self.maps and not self.facts.global_data and reloc.kind == "data":
            raise PlanError(f"{function.name} uses global variables", feature="global data", since="5.2")
        if name not in self.maps:
            why = why_lost(self.obj, "map").get(name)
            what = (
                f"map {name!r}, which cannot be read: {why}" if why else f"{name!r}, which is not a map of the object"
            )
            raise PlanError(f"{function.name} uses {what}")
        if reloc.kind == "data" and (pointer := self._pointers.get(name)):
            _check_pointers(function, reloc, section=pointer)
        offset = None if reloc.kind == "map" else reloc.offset + self._starts.get(name, 0)
        return _load(insns, reloc.insn, name=name, offset=offset)

    def _extern_load(self, insns: Code, reloc: Reloc) -> list[Fixup]:
        extern, _ = self._extern(reloc.symbol)
        if extern.kind != "kconfig":
            ksym = self._ksym(extern)
            load_address(insns, reloc.insn, ksym=ksym)
            return [Fixup(reloc.insn + 1, "", module=ksym.module)] if ksym.module else []
        kconfig = self._kconfig
        if kconfig is None or extern.name not in kconfig.layout.variables:
            raise PlanError(f"extern {extern.name} has no BTF: its type is not known")
        if extern.name in kconfig.missing:
            raise PlanError(kconfig.missing[extern.name])
        offset, _ = kconfig.layout.variables[extern.name]
        return [_load(insns, reloc.insn, name=KCONFIG, offset=offset)]

    def _kfunc_call(self, insns: Code, reloc: Reloc, *, function: ProgramDef) -> str:
        extern, number = self._extern(reloc.symbol)
        ksym = self._ksym(extern)
        if not call_kfunc(insns, reloc.insn, ksym=ksym, number=number, btf_index=self._btf_index(ksym.module)):
            return ""
        line = line_at(function.line_info, reloc.insn)
        where = f" ({line.file}:{line.line} `{line.text.strip()}`)" if line else ""
        return f"kfunc {extern.name}() is missing in this kernel{where}; guard it with bpf_ksym_exists()"

    def _btf_index(self, module: str) -> int:
        if not module:
            return 0
        if module not in self.modules:
            self.modules.append(module)
        return 1 + self.modules.index(module)

    def _extern(self, name: str) -> tuple[Extern, int]:
        if name not in self._externs:
            raise PlanError(f"nothing defines {name!r}, and it is not declared __ksym or __kconfig")
        extern, number = self._externs[name]
        if extern.kind in _ELSEWHERE:
            raise PlanError(
                f"{_ELSEWHERE[extern.kind]} {name!r} is declared extern, and nothing in {self.obj.name} defines it",
                hint="load it together with the object that does: bpf.load([code, other]); or declare it __ksym",
            )
        return extern, number

    def _ksym(self, extern: Extern) -> Ksym:
        found = self._ksyms.get(extern.name)
        if found is None:
            found = self._ksyms[extern.name] = find_ksym(extern, self.obj, facts=self.facts)
        return found


def _relocator(obj: ObjectFile, facts: Facts) -> Relocator | None:
    """Types given instead of the kernel's are used alone: the modules are those of another kernel."""
    if obj.btf is None:
        return None
    if facts.core_btf is not None:
        return Relocator(obj.btf, facts.core_btf)
    return Relocator(obj.btf, facts.btf, modules=tuple((facts.modules or {}).values()))


def digest(linked: Linked, *, byteorder: str) -> bytes:
    """SHA-256 of a program as the kernel calculates it (bpf_prog_calc_tag, Linux 6.18): map references are zero."""
    insns = Code(linked.insns, byteorder=byteorder)
    for fixup in linked.fixups:
        if not fixup.module:
            insns[fixup.insn] = insns[fixup.insn]._replace(imm=0)
            insns[fixup.insn + 1] = insns[fixup.insn + 1]._replace(imm=0)
    return hashlib.sha256(insns.data).digest()


def _check_pointers(function: ProgramDef, reloc: Reloc, *, section: DataSection) -> None:
    """PlanError for a program that uses a variable with an address in it: its map holds bytes, and addresses of maps
    and functions are only in instructions. Without this the verifier calls what it reads a scalar, or nobody does."""
    used = next((v for v in section.variables if v.offset <= reloc.offset < v.offset + max(v.size, 1)), None)
    if used is None:
        return
    for pointer in section.relocs:
        if used.offset <= pointer.offset < used.offset + used.size:
            target = pointer.target or f"{pointer.section}+{pointer.addend:#x}"
            raise PlanError(
                f"{function.name} uses {used.name!r} in {section.name}, which holds the address of {target}: no loader "
                "can put one into a global variable",
                hint="keep an index there, and choose with a switch or from an array of arrays",
            )


def _load(insns: Code, index: int, *, name: str, offset: int | None) -> Fixup:
    src = PseudoLoad.MAP_FD if offset is None else PseudoLoad.MAP_VALUE
    insns.set_load(index, src=src, high=signed32(offset or 0))  # of an arena it may be over 2 GiB
    return Fixup(index, name, offset)


def patches(
    linked: Linked, maps: Mapping[str, Obj], *, module: Callable[[str], Obj] | None = None
) -> tuple[FdPatch, ...]:
    """The instructions that take file descriptors of maps and of the BTF of modules."""
    return tuple(
        FdPatch(fixup.insn, module(fixup.module) if fixup.module and module else maps[fixup.map])
        for fixup in linked.fixups
    )


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
        insns=linked.insns,
        func_info=b"".join(struct.pack(code + "II", insn, type_id) for insn, type_id in linked.func_info),
        line_info=_line_records(linked.line_info, code=code),
    )


def _line_records(rows: Sequence[LineInfo], *, code: str) -> bytes:
    """struct bpf_line_info, one after the other."""
    words = chain.from_iterable(map(_KERNEL_RECORD, rows))
    return struct.pack(f"{code}{4 * len(rows)}I", *words)
