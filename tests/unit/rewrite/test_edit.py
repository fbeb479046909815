"""What counts instructions moves with them: jumps, calls, addresses, records, file descriptors, jump tables."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from pytest_ebpf.agent.ops import FdPatch, Handle, ProgLoad
from pytest_ebpf.obj.insn import CALL, LD_IMM64, Insn, pack_insns, unpack_insns
from pytest_ebpf.rewrite.asm import EXIT, KEPT, MapLoad, mov_imm
from pytest_ebpf.rewrite.edit import Edit, RewriteError, Rewritten, apply_edits, jump_distance, merge_edits

MAP, OTHER = Handle(1, "boot"), Handle(2, "boot")
NOP = mov_imm(0, 77)
PROGRAM = (
    mov_imm(0, 0),  # 0
    Insn(0x15, 1, 0, 4, 0),  # 1: if r1 == 0 goto 6
    Insn(LD_IMM64, 1, 1),  # 2: a map
    Insn(0),
    Insn(CALL, 0, 1, 0, 4),  # 4: the function at 9
    Insn(0x05, off=2),  # 5: goto 8
    Insn(LD_IMM64, 2, 4, 0, 2),  # 6: the address of the function at 9
    Insn(0),
    Insn(EXIT),  # 8
    Insn(0x06, imm=0),  # 9: gotol 10
    Insn(0x5E, 1, 2, -2, 0),  # 10: if w1 != w2 goto 9
    Insn(EXIT),  # 11
)


def load(insns: Sequence[Insn], *, byteorder: str = "little") -> ProgLoad:
    code = "<" if byteorder == "little" else ">"
    return ProgLoad(
        type=6,
        insns=pack_insns(insns, byteorder=byteorder),
        license="GPL",
        patches=(FdPatch(2, MAP),),
        func_info=struct.pack(code + "IIII", 0, 5, 9, 6),
        func_info_rec_size=8,
        line_info=struct.pack(code + "12I", 0, 1, 1, 1, 6, 2, 2, 2, 9, 3, 3, 3),
        line_info_rec_size=16,
    )


def words(data: bytes, *, fields: int, byteorder: str = "little") -> list[int]:
    return [row[0] for row in struct.iter_unpack(f"{'<' if byteorder == 'little' else '>'}{fields}I", data)]


def targets(insns: Sequence[Insn]) -> list[int]:
    """What each jump, call and address leads to."""
    found = []
    for slot, insn in enumerate(insns):
        distance = jump_distance(insn) if insn.code else None
        if distance is not None:
            found.append(slot + 1 + distance)
    return found


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_nothing_to_do(byteorder: str) -> None:
    op = load(PROGRAM, byteorder=byteorder)
    assert apply_edits(op, {}, byteorder=byteorder) == Rewritten(op, tuple(range(13)))


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_everything_moves(byteorder: str) -> None:
    """Heads run however one gets there, edges only without a jump, the rest where it says."""
    edits = {
        6: Edit(edge=(NOP,), head=(NOP, NOP)),
        4: Edit(after=(MapLoad(3, OTHER, 24),)),
        9: Edit(head=(NOP,)),
        0: Edit(instead=(NOP, NOP)),
    }
    done = apply_edits(load(PROGRAM, byteorder=byteorder), edits, byteorder=byteorder, tables=[(2, (6, 9))])
    insns = unpack_insns(done.op.insns, byteorder=byteorder)
    assert targets(insns) == [10, 15, 14, 15, 17, 15]
    assert insns[5] == PROGRAM[4]._replace(imm=9)
    assert insns[6:8] == (Insn(LD_IMM64, 3, 2), Insn(0, imm=24))
    assert set(done.op.patches) == {FdPatch(3, MAP), FdPatch(6, OTHER)}
    assert words(done.op.func_info, fields=2, byteorder=byteorder) == [0, 15]
    assert words(done.op.line_info, fields=4, byteorder=byteorder) == [0, 10, 15]
    assert done.tables == ((3, (10, 15)),)


def test_what_is_gone_has_no_file_descriptor() -> None:
    done = apply_edits(load(PROGRAM), {2: Edit(instead=(NOP,))}, byteorder="little")
    assert done.op.patches == ()


def test_a_jump_that_becomes_too_long() -> None:
    far = (Insn(0x05, off=2), NOP, NOP, Insn(EXIT))
    with pytest.raises(RewriteError, match="the jump at instruction 0 would have to reach 40002 instructions far"):
        apply_edits(ProgLoad(6, pack_insns(far), "GPL"), {1: Edit(head=(NOP,) * 40_000)}, byteorder="little")


def test_layers_of_edits() -> None:
    one, two, three = (mov_imm(0, number) for number in (1, 2, 3))
    merged = merge_edits(
        {5: Edit(head=(one,), after=(one,))}, {5: Edit(head=(two,), after=(two,))}, {5: Edit(instead=(three,))}
    )
    assert merged == {5: Edit(head=(one, two), instead=(three,), after=(two, one))}
    assert merge_edits({1: Edit(instead=(three,))}, {1: Edit(edge=(one,))}) == {1: Edit(edge=(one,), instead=(three,))}
    assert Edit().instead == (KEPT,)
