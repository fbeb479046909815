"""Mutants of a compiled program: one instruction changed, as a slip of the programmer would change it.

Each change keeps the places of all instructions or is an edit, so a mutant is a copy like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.obj.insn import Insn
from pytest_ebpf.obj.object import LineInfo
from pytest_ebpf.plan.link import line_at
from pytest_ebpf.rewrite.asm import FRAME, KEPT, mov_imm
from pytest_ebpf.rewrite.edit import Edit
from pytest_ebpf.rewrite.flow import Flow
from pytest_ebpf.rewrite.libraries import library_of, own_line
from pytest_ebpf.rewrite.sites import CallSite
from pytest_ebpf.uapi.insn import InsnClass

__all__ = ["Mutant", "find_mutants"]

_JUMPS = (InsnClass.JMP, InsnClass.JMP32)
_ALU = (InsnClass.ALU, InsnClass.ALU64)
# Operations of conditional jumps: as C writes the condition to jump, its opposite, off by one, turned round.
_CONDITIONS: Mapping[int, tuple[str, int, int, int]] = {
    0x10: ("==", 0x50, 0, 0),
    0x50: ("!=", 0x10, 0, 0),
    0x20: (">", 0xB0, 0x30, 0xA0),
    0x30: (">=", 0xA0, 0x20, 0xB0),
    0xA0: ("<", 0x30, 0xB0, 0x20),
    0xB0: ("<=", 0x20, 0xA0, 0x30),
    0x60: ("> (signed)", 0xD0, 0x70, 0xC0),
    0x70: (">= (signed)", 0xC0, 0x60, 0xD0),
    0xC0: ("< (signed)", 0x70, 0xD0, 0x60),
    0xD0: ("<= (signed)", 0x60, 0xC0, 0x70),
}
_OPERATIONS: Mapping[int, str] = {
    0x00: "+=",
    0x10: "-=",
    0x20: "*=",
    0x40: "|=",
    0x50: "&=",
    0x60: "<<=",
    0x70: ">>=",
    0xA0: "^=",
    0xB0: "=",
}
_MOV, _END = 0xB0, 0xD0
_LOGGING = ("error!(", "warn!(", "info!(", "debug!(", "trace!(", "log!(")  # aya-log writes what stands there
_CHECKSUMS = ("bpf_l3_csum_replace", "bpf_l4_csum_replace", "bpf_csum_update")


@dataclass(frozen=True, slots=True)
class Mutant:
    """``kind``: one of "comparison flipped", "bound off by one", "branch inverted", "byte swap dropped", "constant
    changed", "call result ignored", "checksum update removed", "store removed". ``change``: in the terms of C."""

    slot: int
    kind: str
    change: str
    line: LineInfo | None
    edit: Edit = field(compare=False)

    @property
    def key(self) -> str:
        """What tells it from the others of its program."""
        return f"{self.slot}:{self.kind}:{self.change}"


def find_mutants(
    insns: Sequence[Insn], *, sites: Sequence[CallSite], lines: Sequence[LineInfo], flow: Flow, slots: frozenset[int]
) -> Iterator[Mutant]:
    """Mutants of the instructions in ``slots``, those that some test runs, without inlined ones of libraries, in which
    the programmer of this program makes no slips. The result of a call that nobody reads cannot be ignored."""
    calls = {site.slot: site for site in sites if flow.live[site.slot + 1] & 1 or site.function in _CHECKSUMS}
    for slot, insn in enumerate(insns):
        if slot in slots and insn.code:
            row = line_at(lines, slot)
            if row is not None and library_of(row.file):
                continue
            row = own_line(lines, slot, start=flow.function_at(slot))
            if row is not None and row.text.startswith(_LOGGING):
                continue
            for kind, change, edit in _changes(insns, slot, site=calls.get(slot), text=row.text if row else ""):
                yield Mutant(slot, kind, change, row, edit)


def _changes(insns: Sequence[Insn], slot: int, *, site: CallSite | None, text: str) -> Iterator[tuple[str, str, Edit]]:
    insn = insns[slot]
    kind = insn.code & 7
    if site is not None:
        yield from _calls(site)
    elif kind in _JUMPS and insn.code & 0xF0 in _CONDITIONS:
        yield from _jumps(insn)
    elif kind in _ALU:
        yield from _alu(insns, slot)
    elif kind in (InsnClass.ST, InsnClass.STX) and insn.dst != FRAME and insn.code & 0xE0 == 0x60:
        name = "checksum update removed" if "check" in text or "csum" in text else "store removed"
        yield name, "the assignment is left out", Edit(instead=(_nop(),))


def _nop() -> Insn:
    return Insn(0x05)  # goto +0


def _calls(site: CallSite) -> Iterator[tuple[str, str, Edit]]:
    name = site.function
    if name in _CHECKSUMS:
        yield "checksum update removed", f"{name}() is not called", Edit(instead=(mov_imm(0, 0),))
    elif site.signature.returns in ("signed", "unsigned"):
        yield "call result ignored", f"{name}() counts as 0", Edit(after=(mov_imm(0, 0),))


def _jumps(insn: Insn) -> Iterator[tuple[str, str, Edit]]:
    text, opposite, near, turned = _CONDITIONS[insn.code & 0xF0]
    rest = insn.code & ~0xF0

    def other(operation: int) -> Edit:
        return Edit(instead=(KEPT._replace(code=rest | operation),))

    yield "branch inverted", f"{text} became {_CONDITIONS[opposite][0]}", other(opposite)
    if near:
        yield "bound off by one", f"{text} became {_CONDITIONS[near][0]}", other(near)
        yield "comparison flipped", f"{text} became {_CONDITIONS[turned][0]}", other(turned)
    elif not insn.code & 8 and insn.imm:
        yield "constant changed", f"{insn.imm} became {insn.imm + 1}", Edit(instead=(KEPT._replace(more=1),))


def _alu(insns: Sequence[Insn], slot: int) -> Iterator[tuple[str, str, Edit]]:
    insn = insns[slot]
    operation = insn.code & 0xF0
    if operation == _END:
        if insn.imm < 64:
            yield "byte swap dropped", f"the bytes of {insn.imm} bits stay as they are", Edit(instead=(_nop(),))
    elif operation in _OPERATIONS and not insn.code & 8 and not _of_the_stack(insns, slot):
        new = insn.imm + 1 if insn.imm != 0x7FFFFFFF else 0
        sign = _OPERATIONS[operation]
        yield "constant changed", f"{sign} {insn.imm} became {sign} {new}", Edit(instead=(insn._replace(imm=new),))


def _of_the_stack(insns: Sequence[Insn], slot: int) -> bool:
    """Whether it makes an address of the stack: ``r2 = r10; r2 += -8``, which no line of C has."""
    insn = insns[slot]
    for before in range(slot - 1, max(-1, slot - 6), -1):
        if insns[before].dst == insn.dst and insns[before].code & 7 in _ALU:
            return insns[before].code == 0xBF and insns[before].src == FRAME and insn.imm < 0
    return False
