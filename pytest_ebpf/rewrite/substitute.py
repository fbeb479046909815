"""Calls led to functions of the same object instead, before it is planned: no instruction moves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.insn import CALL, Code, slots_with_code
from pytest_ebpf.obj.object import ObjectFile, ProgramDef, Reloc
from pytest_ebpf.uapi.insn import PseudoCall

__all__ = ["called_names", "substitute_calls", "without_calls_to"]


def called_names(obj: ObjectFile, *, helpers: Sequence[str]) -> frozenset[str]:
    """Every helper, kfunc and function that the functions of an object call."""
    return frozenset(
        name
        for function in (*obj.programs, *obj.text)
        for _, name in _calls(function, byteorder=obj.byteorder, helpers=helpers)
    )


def substitute_calls(
    obj: ObjectFile, targets: Mapping[str, ProgramDef], *, helpers: Sequence[str], except_in: Collection[str]
) -> ObjectFile:
    """``obj`` with the calls of each name in ``targets`` leading to a function of ``obj``, but for those in the
    functions named ``except_in``: a double may call what it stands in for."""

    def changed(function: ProgramDef) -> ProgramDef:
        if function.name in except_in:
            return function
        insns = Code(function.insns, byteorder=obj.byteorder)
        relocs = {reloc.insn: reloc for reloc in function.relocs}
        for slot, name in _calls(function, byteorder=obj.byteorder, helpers=helpers):
            target = targets.get(name)
            if target is not None:
                insns[slot] = insns[slot]._replace(src=PseudoCall.CALL, off=0, imm=-1)
                relocs[slot] = Reloc(slot, "call", target.name, target.section, target.section_offset)
        return replace(function, insns=bytes(insns.data), relocs=tuple(sorted(relocs.values())))

    return replace(obj, programs=tuple(map(changed, obj.programs)), text=tuple(map(changed, obj.text)))


def without_calls_to(obj: ObjectFile, names: Collection[str]) -> ObjectFile:
    """``obj`` with the kfuncs of these names declared weak, so that a kernel without them is none that cannot load it:
    their calls are replaced before the load."""
    if not any(extern.name in names and not extern.is_weak for extern in obj.externs):
        return obj
    externs = tuple(replace(e, is_weak=True) if e.name in names and e.kind == "kfunc" else e for e in obj.externs)
    return replace(obj, externs=externs)


def _calls(function: ProgramDef, *, byteorder: str, helpers: Sequence[str]) -> list[tuple[int, str]]:
    insns = Code(function.insns, byteorder=byteorder)
    relocs = {reloc.insn: reloc for reloc in function.relocs if reloc.kind in ("call", "kfunc")}
    found = []
    for slot in slots_with_code(function.insns, CALL):
        insn = insns[slot]
        if slot in relocs:
            found.append((slot, relocs[slot].symbol))
        elif insn.src == 0 and 0 <= insn.imm < len(helpers):
            found.append((slot, helpers[insn.imm]))
    return found
