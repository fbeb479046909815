"""Linking: a main program and the functions it reaches become one run of instructions.

Each function is appended once per main program, in the order it is found; calls and function addresses then hold the
distance. Line and function records move with their instructions. As in libbpf (bpf_object__append_subprog_code), but
a callee may be in any section.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence

from pytest_ebpf.btf.types import DeclTag
from pytest_ebpf.errors import PlanError
from pytest_ebpf.frozen import dataclass, field, replace
from pytest_ebpf.obj.insn import INSN_SIZE, Code, Insn
from pytest_ebpf.obj.object import JumpTable, LineInfo, ObjectFile, ProgramDef, Reloc
from pytest_ebpf.uapi.insn import PseudoCall, PseudoLoad

__all__ = [
    "Fixup",
    "Linked",
    "Prepared",
    "exception_callbacks",
    "find_callback",
    "function_index",
    "jump_table_name",
    "line_at",
    "link",
]


@dataclass(frozen=True, slots=True)
class Fixup:
    """Slot ``insn`` loads map ``map``, or (``offset`` not None) the address ``offset`` bytes into its value; or it
    holds the fd of the BTF of kernel module ``module``."""

    insn: int
    map: str
    offset: int | None = None
    module: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A function relocated for a kernel, except what depends on its place in the program."""

    definition: ProgramDef
    insns: bytes
    fixups: tuple[Fixup, ...] = ()
    notes: Mapping[int, str] = field(default_factory=dict)

    @property
    def calls(self) -> tuple[Reloc, ...]:
        return tuple(reloc for reloc in self.definition.relocs if reloc.kind in ("call", "func"))


@dataclass(frozen=True, slots=True)
class Linked:
    """A whole program. ``jump_tables``: name of a fixup -> the instructions that its entries lead to.
    ``starts``: (slot, function) of each part, the main program first. ``func_info`` and
    ``line_info`` are empty unless every part has them: the kernel takes all or none."""

    insns: bytes
    fixups: tuple[Fixup, ...]
    notes: Mapping[int, str]
    starts: tuple[tuple[int, ProgramDef], ...]
    func_info: tuple[tuple[int, int], ...]
    line_info: tuple[LineInfo, ...]
    jump_tables: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def table_slots(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """(slot, targets) of each load of the address of a jump table."""
        if not self.jump_tables:
            return ()
        return tuple((f.insn, self.jump_tables[f.map]) for f in self.fixups if f.map in self.jump_tables)


FunctionIndex = Mapping[tuple[str, int], ProgramDef]


def function_index(obj: ObjectFile) -> FunctionIndex:
    """Every function of an object by (section, byte offset)."""
    return {(f.section, f.section_offset): f for f in (*obj.text, *obj.programs)}


_LONGEST = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS, since Linux 5.2; before and for the unprivileged 4,096


def link(
    main: ProgramDef,
    functions: FunctionIndex,
    *,
    prepare: Callable[[ProgramDef], Prepared],
    byteorder: str = "little",
    lost: Mapping[str, str] | None = None,
    callback: ProgramDef | None = None,
) -> Linked:
    """Append what ``main`` reaches and set the distances. ``lost``: name -> reason, of functions that cannot be read.
    ``callback``: the exception callback of ``main``, which no instruction calls.

    The order is libbpf's, so that instruction numbers are those that other tools show: a function follows the first
    call of it, with all that it calls itself; the callback comes last. PlanError when a callee does not exist, or when
    the whole is longer than any kernel takes.
    """
    starts: dict[tuple[str, int], int] = {}
    parts: list[Prepared] = []
    open_calls: list[tuple[ProgramDef, Iterator[Reloc]]] = []
    end = 0
    for first in (main, callback):
        function = first if first is None or _place(first) not in starts else None
        while function is not None or open_calls:
            if function is not None:
                starts[_place(function)] = end
                end = _end(main, function, start=end)
                parts.append(prepare(function))
                open_calls.append((function, iter(parts[-1].calls)))
            caller, calls = open_calls[-1]
            found = (_callee(caller, reloc, functions=functions, lost=lost) for reloc in calls)
            function = next((callee for callee in found if _place(callee) not in starts), None)
            if function is None:
                open_calls.pop()
    return _join(parts, starts=starts, functions=functions, byteorder=byteorder)


def _end(main: ProgramDef, part: ProgramDef, *, start: int) -> int:
    end = start + len(part.insns) // INSN_SIZE
    if end > _LONGEST:
        whole = f"{end:,} instructions" + (" with the functions it calls" if part is not main else "")
        raise PlanError(f"{main.name} has {whole}; kernels take {_LONGEST:,}", hint="split it up with tail calls")
    return end


def _place(function: ProgramDef) -> tuple[str, int]:
    return function.section, function.section_offset


def _callee(
    caller: ProgramDef, reloc: Reloc, *, functions: FunctionIndex, lost: Mapping[str, str] | None = None
) -> ProgramDef:
    callee = functions.get((reloc.section, reloc.offset))
    if callee is None:
        if lost and reloc.symbol in lost:
            raise PlanError(f"{caller.name} calls {reloc.symbol}, which cannot be read: {lost[reloc.symbol]}")
        raise PlanError(
            f"{caller.name} calls {reloc.symbol or 'a function'} at {reloc.section}+{reloc.offset:#x}, "
            "where no function starts"
        )
    return callee


def _join(
    parts: list[Prepared], *, starts: dict[tuple[str, int], int], functions: FunctionIndex, byteorder: str
) -> Linked:
    insns = Code(b"".join(part.insns for part in parts), byteorder=byteorder)
    fixups: list[Fixup] = []
    notes: dict[int, str] = {}
    tables: dict[str, tuple[int, ...]] = {}
    for part in parts:
        start = starts[_place(part.definition)]
        fixups += [replace(fixup, insn=start + fixup.insn) for fixup in part.fixups] if start else part.fixups
        for table in part.definition.jump_tables:
            name = jump_table_name(part.definition, table)
            tables[name] = tuple(start + target for target in table.targets)
        notes.update((start + insn, text) for insn, text in part.notes.items())
        for reloc in part.calls:
            callee = _callee(part.definition, reloc, functions=functions)
            at = start + reloc.insn
            insns[at] = _aimed(insns[at], reloc.kind, distance=starts[_place(callee)] - at - 1)
            if reloc.kind == "func":
                insns[at + 1] = insns[at + 1]._replace(imm=0)
    placed = tuple((starts[_place(part.definition)], part.definition) for part in parts)
    return Linked(
        insns=bytes(insns.data),
        fixups=tuple(fixups),
        notes=notes,
        starts=placed,
        func_info=_func_info(placed),
        line_info=_line_info(placed),
        jump_tables=tables,
    )


def jump_table_name(function: ProgramDef, table: JumpTable) -> str:
    """What fixups call a jump table: no map of an object can be called so."""
    return f"{function.section}+{function.section_offset:#x} {table.name}"


def _aimed(insn: Insn, kind: str, *, distance: int) -> Insn:
    return insn._replace(src=PseudoCall.CALL if kind == "call" else PseudoLoad.FUNC, imm=distance)


def _func_info(placed: tuple[tuple[int, ProgramDef], ...]) -> tuple[tuple[int, int], ...]:
    """The kernel wants exactly one row per function (check_btf_func). As with libbpf, a program that .BTF.ext does not
    list (its section was renamed after compiling) has none, whatever BTF calls by its name."""
    rows: list[tuple[int, int]] = []
    for start, function in placed:
        own = next((row.type_id for row in function.func_info if row.insn == 0), function.btf_id if rows else 0)
        if not own:
            return ()
        rows.append((start, own))
    return tuple(rows)


def _moved(row: LineInfo, start: int) -> LineInfo:
    return tuple.__new__(LineInfo, (start + row[0], *row[1:]))  # faster than LineInfo(): no Python call


def _line_info(placed: tuple[tuple[int, ProgramDef], ...]) -> tuple[LineInfo, ...]:
    """The kernel wants a row at the first instruction of each function (check_btf_line)."""
    rows: list[LineInfo] = []
    for start, function in placed:
        if not function.line_info or function.line_info[0].insn:
            return ()
        rows += [_moved(row, start) for row in function.line_info] if start else function.line_info
    return tuple(rows)


def line_at(lines: Sequence[LineInfo], insn: int) -> LineInfo | None:
    """The row that covers slot ``insn``: the last one that begins at or before it. ``lines`` are sorted."""
    index = bisect_right(lines, insn, key=lambda row: row.insn)
    return lines[index - 1] if index else None


# Exception callbacks: what runs in the place of a program that throws (bpf_throw(), Linux 6.7). The program names its
# callback in BTF alone: __exception_cb(f) is a declaration tag "exception_callback:f" on its FUNC. Nothing calls it.
_TAG = "exception_callback:"


def exception_callbacks(obj: ObjectFile) -> dict[int, tuple[str, ...]]:
    """FUNC id -> names of the functions that it names as its exception callback. More than one is the kernel's to
    refuse."""
    btf = obj.btf
    if btf is None or _TAG.encode() not in btf.strings:
        return {}
    found: dict[int, tuple[str, ...]] = {}
    for _, type_ in btf:
        if isinstance(type_, DeclTag) and type_.component < 0 and type_.name.startswith(_TAG):
            found[type_.type] = (*found.get(type_.type, ()), type_.name.removeprefix(_TAG))
    return found


def find_callback(obj: ObjectFile, program: ProgramDef, *, names: tuple[str, ...]) -> ProgramDef | None:
    """The callback of ``program``. PlanError when it is not a global function of the object.

    None also when several are named: the verifier refuses that by its own words ("multiple exception callback tags for
    main subprog", kernel/bpf/verifier.c), and libbpf leaves it to it too (bpf_object__collect_relos).
    """
    if len(names) != 1:
        return None
    for function in (*obj.text, *obj.programs):
        if function.name == names[0] and function.is_global:
            return function
    raise PlanError(
        f"{program.name}: its exception callback {names[0]!r} is not a global function of this object",
        hint="an exception callback is a function that is not static, for example __noinline int f(__u64 cookie)",
    )
