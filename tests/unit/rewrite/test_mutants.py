"""Which slips a compiled program can have, in the terms of C."""

from __future__ import annotations

from pytest_ebpf.agent.ops import ProgLoad
from pytest_ebpf.obj.insn import CALL, Insn, pack_insns, unpack_insns
from pytest_ebpf.obj.object import LineInfo
from pytest_ebpf.rewrite.asm import EXIT, FRAME, load, mov, mov_imm, store
from pytest_ebpf.rewrite.edit import apply_edits
from pytest_ebpf.rewrite.flow import find_flow
from pytest_ebpf.rewrite.mutants import Mutant, find_mutants
from pytest_ebpf.rewrite.sites import CallSite, Signature

PROGRAM = (
    load(2, 1),  # 0
    Insn(0x25, 2, 0, 2, 64),  # 1: if r2 > 64 goto 4
    Insn(0xDC, 2, imm=16),  # 2: be16
    store(1, 2, off=4, size=2),  # 3
    mov(3, FRAME),  # 4
    Insn(0x07, 3, imm=-8),  # 5: r3 += -8, an address of the stack
    Insn(CALL, imm=5),  # 6
    Insn(0x15, 0, 0, 0, 7),  # 7: if r0 == 7 goto 8
    mov_imm(0, 2),  # 8
    Insn(EXIT),  # 9
)
LINES = (LineInfo(0, "x.c", 3, 1, "if (length > 64)", 0, 0, 0), LineInfo(3, "x.c", 5, 1, "ip->check = sum;", 0, 0, 0))
SITE = CallSite(6, "bpf_ktime_get_ns", "helper", Signature("unsigned", ()), None)


def mutants(slots: frozenset[int] = frozenset(range(10))) -> list[Mutant]:
    return list(find_mutants(PROGRAM, sites=(SITE,), lines=LINES, flow=find_flow(PROGRAM), slots=slots))


def test_every_kind() -> None:
    assert [(m.slot, m.kind, m.change) for m in mutants()] == [
        (1, "branch inverted", "> became <="),
        (1, "bound off by one", "> became >="),
        (1, "comparison flipped", "> became <"),
        (2, "byte swap dropped", "the bytes of 16 bits stay as they are"),
        (3, "checksum update removed", "the assignment is left out"),
        (6, "call result ignored", "bpf_ktime_get_ns() counts as 0"),
        (7, "branch inverted", "== became !="),
        (7, "constant changed", "7 became 8"),
        (8, "constant changed", "= 2 became = 3"),
    ]


def test_only_what_some_test_runs() -> None:
    assert {m.slot for m in mutants(frozenset({1, 8}))} == {1, 8}


def test_each_changes_its_instruction_and_nothing_else() -> None:
    op = ProgLoad(6, pack_insns(PROGRAM), "GPL")
    for mutant in mutants():
        insns = unpack_insns(apply_edits(op, {mutant.slot: mutant.edit}, byteorder="little").op.insns)
        if len(insns) == len(PROGRAM):
            assert [at for at, pair in enumerate(zip(insns, PROGRAM, strict=True)) if pair[0] != pair[1]] == [
                mutant.slot
            ]
        else:
            assert insns[7] == mov_imm(0, 0)
    (inverted,) = [m for m in mutants() if m.slot == 1 and m.kind == "branch inverted"]
    insns = unpack_insns(apply_edits(op, {1: inverted.edit}, byteorder="little").op.insns)
    assert insns[1] == Insn(0xB5, 2, 0, 2, 64)
