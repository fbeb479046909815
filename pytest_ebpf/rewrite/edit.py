"""Instructions inserted into a program that is ready to be loaded: all that counts instructions moves with them.

That is jumps, calls of functions and their addresses, function and line records, the places of file descriptors, and
the targets of jump tables. Pure: an op goes in and an op comes out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from pytest_ebpf.agent.ops import FdPatch, ProgLoad
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.obj.insn import CALL, LD_IMM64, Insn, pack_insns, unpack_insns
from pytest_ebpf.rewrite.asm import EXIT, KEPT, Item, Kept, MapLoad, map_load, size_of
from pytest_ebpf.uapi.insn import InsnClass, PseudoCall, PseudoLoad

__all__ = ["Edit", "RewriteError", "Rewritten", "apply_edits", "jump_distance", "merge_edits"]

_SHORT = range(-(1 << 15), 1 << 15)  # what the 16 bits of a jump reach
_JUMPS = (InsnClass.JMP, InsnClass.JMP32)
_OPERATION = 0xF0
_LONG_GOTO = 0x06  # gotol (Linux 6.6): its distance is the immediate
_COMPUTED_GOTO = 0x0D  # gotox: its targets are in a jump table


class RewriteError(Exception):
    """This program cannot be rewritten; the message says why. It never reaches a test."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A change at one instruction. ``edge`` runs where the instruction before it goes on to it without a jump, ``head``
    however it is reached, ``instead`` in its place, ``after`` behind it where it does not jump."""

    edge: tuple[Item, ...] = ()
    head: tuple[Item, ...] = ()
    instead: tuple[Item, ...] = (KEPT,)
    after: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """``op`` to load, and where each slot went: ``places[slot]`` is where a jump to it leads now (inserted heads
    included), with one more for the end. ``tables``: (slot of the load, targets) of each jump table."""

    op: ProgLoad
    places: tuple[int, ...]
    tables: tuple[tuple[int, tuple[int, ...]], ...] = ()


def merge_edits(*layers: Mapping[int, Edit]) -> dict[int, Edit]:
    """Edits of several purposes as one. The heads of earlier layers come first; of ``instead`` the last layer that has
    one wins, and it runs between the heads and the ``after`` of all."""
    merged: dict[int, Edit] = {}
    for layer in layers:
        for slot, edit in layer.items():
            old = merged.get(slot)
            if old is not None:
                instead = edit.instead if edit.instead != (KEPT,) else old.instead
                edit = Edit(old.edge + edit.edge, old.head + edit.head, instead, edit.after + old.after)
            merged[slot] = edit
    return merged


def jump_distance(insn: Insn) -> int | None:
    """How far a jump, a call of a function or a load of its address leads, in slots from the next one. None for what
    leads nowhere else; a computed goto has its targets in a table."""
    if insn.code == LD_IMM64:
        return insn.imm if insn.src == PseudoLoad.FUNC else None
    if insn.code & 7 not in _JUMPS or insn.code in (EXIT, _COMPUTED_GOTO):
        return None
    if insn.code & _OPERATION == CALL & _OPERATION:
        return insn.imm if insn.code == CALL and insn.src == PseudoCall.CALL else None
    return insn.imm if insn.code == _LONG_GOTO else insn.off


def apply_edits(
    op: ProgLoad,
    edits: Mapping[int, Edit],
    *,
    byteorder: str,
    tables: Sequence[tuple[int, tuple[int, ...]]] = (),
) -> Rewritten:
    """``op`` with the edits made; their keys are slots of ``op``. RewriteError when a jump would become too long."""
    old = unpack_insns(op.insns, byteorder=byteorder)
    layout = _Layout(old, edits)
    insns: list[Insn] = []
    patches: list[FdPatch] = []
    for slot, insn in _starts(old):
        for item in layout.items(slot):
            if isinstance(item, MapLoad):
                patches.append(FdPatch(len(insns), item.target))
                insns += map_load(item)
            elif isinstance(item, Kept):
                changed = insn._replace(code=item.code or insn.code, imm=insn.imm + item.more) if any(item) else insn
                insns.append(_aimed(changed, slot, at=len(insns), layout=layout))
                insns += old[slot + 1 : slot + 2] if insn.code == LD_IMM64 else ()
            else:
                insns.append(item)
    patches += [replace(patch, insn=layout.moved(patch.insn)) for patch in op.patches if layout.keeps(patch.insn)]
    code = "<" if byteorder == "little" else ">"
    rewritten = replace(
        op,
        insns=pack_insns(insns, byteorder=byteorder),
        patches=tuple(patches),
        func_info=_moved_records(op.func_info, op.func_info_rec_size, places=layout.heads, code=code),
        line_info=_moved_records(op.line_info, op.line_info_rec_size, places=layout.heads, code=code),
    )
    moved = tuple((layout.moved(slot), tuple(layout.heads[target] for target in targets)) for slot, targets in tables)
    return Rewritten(rewritten, tuple(layout.heads), moved)


class _Layout:
    """Where everything goes. ``heads[slot]``: where a jump to the slot leads; ``own[slot]``: where the instruction
    itself is, -1 when it is gone. The second slot of a 64-bit load goes with the first."""

    def __init__(self, insns: Sequence[Insn], edits: Mapping[int, Edit]) -> None:
        self._edits = edits
        self.heads = [0] * (len(insns) + 1)
        self._own = [-1] * len(insns)
        at = 0
        for slot, insn in _starts(insns):
            edit = edits.get(slot)
            width = 2 if insn.code == LD_IMM64 else 1
            own = at
            if edit is None:
                self.heads[slot] = at
                at += width
            else:
                self.heads[slot] = at + size_of(edit.edge, kept=width)
                before = self.heads[slot] + size_of(edit.head, kept=width)
                where = next((at for at, item in enumerate(edit.instead) if isinstance(item, Kept)), -1)
                own = before + size_of(edit.instead[:where], kept=width) if where >= 0 else -1
                at = before + size_of(edit.instead, kept=width) + size_of(edit.after, kept=width)
            self._own[slot] = own
            if width == 2 and slot + 1 < len(insns):
                self.heads[slot + 1] = self._own[slot + 1] = own + 1 if own >= 0 else -1
        self.heads[len(insns)] = at

    def items(self, slot: int) -> tuple[Item, ...]:
        edit = self._edits.get(slot)
        return (KEPT,) if edit is None else edit.edge + edit.head + edit.instead + edit.after

    def keeps(self, slot: int) -> bool:
        return self._own[slot] >= 0

    def moved(self, slot: int) -> int:
        return self._own[slot]


def _starts(insns: Sequence[Insn]) -> Iterator[tuple[int, Insn]]:
    """Each instruction with its slot, without the second halves of 64-bit loads."""
    slot = 0
    while slot < len(insns):
        yield slot, insns[slot]
        slot += 2 if insns[slot].code == LD_IMM64 else 1


def _aimed(insn: Insn, slot: int, *, at: int, layout: _Layout) -> Insn:
    distance = jump_distance(insn)
    if distance is None:
        return insn
    target = slot + 1 + distance
    if not 0 <= target < len(layout.heads):
        raise RewriteError(f"instruction {slot} leads out of the program")
    new = layout.heads[target] - at - 1
    if insn.code in (LD_IMM64, CALL, _LONG_GOTO):
        return insn._replace(imm=new)
    if new not in _SHORT:
        raise RewriteError(f"the jump at instruction {slot} would have to reach {new} instructions far")
    return insn._replace(off=new)


def _moved_records(data: bytes, size: int, *, places: Sequence[int], code: str) -> bytes:
    """The kernel's function or line records, which begin with the slot that they are about."""
    if not data or not size:
        return data
    word = struct.Struct(code + "I")
    moved = bytearray(data)
    for at in range(0, len(data), size):
        word.pack_into(moved, at, places[word.unpack_from(data, at)[0]])
    return bytes(moved)
