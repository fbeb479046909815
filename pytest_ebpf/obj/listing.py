"""Instructions with what they come from: source lines, the names behind relocations, notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from pytest_ebpf.obj.disasm import InsnNames, WideLoad, disassemble
from pytest_ebpf.obj.insn import Insn, unpack_insns
from pytest_ebpf.obj.object import ObjectFile, ProgramDef, Reloc
from pytest_ebpf.uapi.insn import PseudoCall

__all__ = ["Listed", "Located", "SourceLine", "list_function", "list_insns", "object_names", "render_listing"]


class Located(Protocol):
    """A source line that begins at instruction slot ``insn``: ``obj.object.LineInfo``."""

    @property
    def insn(self) -> int: ...
    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def text(self) -> str: ...


class SourceLine(NamedTuple):
    """The least that is ``Located``."""

    insn: int
    file: str
    line: int
    text: str


class Listed(NamedTuple):
    """One instruction. ``source`` is set where a new source line begins; ``note`` is what else is to be said."""

    slot: int
    text: str
    source: Located | None = None
    note: str = ""


def list_insns(
    insns: Sequence[Insn],
    *,
    names: InsnNames,
    lines: Iterable[Located] = (),
    notes: Mapping[int, str] | None = None,
) -> Iterator[Listed]:
    """The instructions in order. ``notes``: by slot."""
    notes = notes or {}
    # line 0: made by the compiler, for no line in particular
    waiting = sorted((line for line in lines if line.line or line.text), key=lambda line: line.insn)
    at = 0
    last: tuple[str, int] | None = None
    for slot, text in disassemble(insns, names=names):
        source = None
        while at < len(waiting) and waiting[at].insn <= slot:
            source, at = waiting[at], at + 1
        if source is not None and (source.file, source.line) == last:
            source = None  # another column of the same line
        elif source is not None:
            last = (source.file, source.line)
        yield Listed(slot, text, source, notes.get(slot, ""))


def list_function(
    obj: ObjectFile, function: ProgramDef, *, helpers: Sequence[str] = (), notes: Mapping[int, str] | None = None
) -> list[Listed]:
    """A program or subprogram as the object file has it, before anything is linked or relocated.
    ``helpers``: names by number."""
    insns = unpack_insns(function.insns, byteorder=obj.byteorder)
    names = object_names(obj, function, helpers=helpers)
    return list(list_insns(insns, names=names, lines=function.line_info, notes=notes))


def object_names(obj: ObjectFile, function: ProgramDef, *, helpers: Sequence[str] = ()) -> InsnNames:
    """Names for what the relocations of a function refer to: ``map[counts]``, ``map[.rodata][0]+16``,
    ``subprog[callback]``, ``extern[jiffies]``, ``call pc#helper_of_mine``, ``call bpf_a_kfunc#-1``."""
    relocs = {reloc.insn: reloc for reloc in function.relocs}
    functions = {(one.section, one.section_offset): one.name for one in (*obj.programs, *obj.text)}

    def load(wide: WideLoad) -> str:
        reloc = relocs.get(wide.slot)
        return _loaded(reloc, functions) if reloc else ""

    def call(slot: int, insn: Insn) -> str:
        reloc = relocs.get(slot)
        if reloc is None or reloc.kind not in ("call", "kfunc"):
            return ""
        name = functions.get((reloc.section, reloc.offset), "") or reloc.symbol
        return f"#{name}" if insn.src == PseudoCall.CALL and reloc.kind == "call" else name

    return InsnNames(helpers, call, load)


def _loaded(reloc: Reloc, functions: Mapping[tuple[str, int], str]) -> str:
    if reloc.kind == "data":
        return f"map[{reloc.section}][0]+{reloc.offset}"
    if reloc.kind == "func":
        return f"subprog[{functions.get((reloc.section, reloc.offset), reloc.symbol)}]"
    return f"{'map' if reloc.kind == 'map' else reloc.kind}[{reloc.symbol}]"


def render_listing(listed: Iterable[Listed]) -> str:
    """Lines as in a verifier log: "; text of the line @ file:12", then "   4: (bf) r6 = r1"."""
    out = []
    for one in listed:
        if one.source is not None:
            file = one.source.file.rpartition("/")[2]
            place = f" @ {file}:{one.source.line}" if file else ""
            out.append(f"; {one.source.text}{place}")
        note = f"    ; {one.note}" if one.note else ""
        out.append(f"{one.slot:4}: {one.text}{note}")
    return "\n".join(out)
