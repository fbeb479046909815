"""Blocks, what is read later, what was written before, and how deep the stack is used."""

from __future__ import annotations

from pytest_ebpf.obj.insn import CALL, LD_IMM64, Insn
from pytest_ebpf.rewrite.asm import EXIT, load, mov, mov_imm, store
from pytest_ebpf.rewrite.flow import find_flow
from pytest_ebpf.rewrite.scratch import find_scratch

BRANCH = (
    load(2, 1),  # 0
    mov_imm(0, 1),  # 1
    Insn(0x15, 2, 0, 1, 0),  # 2: if r2 == 0 goto 4
    mov(0, 2),  # 3
    Insn(EXIT),  # 4
)
CALLS = (
    mov(6, 1),  # 0
    store(10, 1, off=-8),  # 1
    mov(2, 10),  # 2
    Insn(0x07, 2, imm=-16),  # 3
    Insn(LD_IMM64, 1, 1),  # 4
    Insn(0),
    Insn(CALL, imm=1),  # 6
    Insn(CALL, 0, 1, 0, 1),  # 7: the function at 9
    Insn(EXIT),  # 8
    mov_imm(0, 0),  # 9
    Insn(EXIT),  # 10
)


def bits(number: int) -> set[int]:
    return {register for register in range(11) if number >> register & 1}


def test_blocks() -> None:
    flow = find_flow(BRANCH)
    assert [(b.start, b.end, b.following, b.falls, b.jumped) for b in flow.blocks] == [
        (0, 3, (3, 4), 3, False),
        (3, 4, (4,), 4, False),
        (4, 5, (), -1, True),
    ]


def test_registers_that_are_read_later() -> None:
    flow = find_flow(BRANCH)
    assert [bits(live) for live in flow.live[:5]] == [{1}, {2}, {0, 2}, {2}, {0}]


def test_registers_that_were_written() -> None:
    flow = find_flow(CALLS)
    assert bits(flow.set_[6]) == {1, 2, 6, 10}
    assert bits(flow.set_[7]) == {0, 6, 10}, "a call leaves r0 and r6 to r9"
    assert bits(flow.set_[9]) == {10}, "of a function nothing is known"


def test_functions_and_their_stack() -> None:
    flow = find_flow(CALLS)
    assert flow.functions == (0, 9)
    assert flow.depth == {0: -16, 9: 0}
    assert (flow.function_at(8), flow.function_at(9)) == (0, 9)


def test_scratch_registers_are_dead_ones_before_saved_ones() -> None:
    flow = find_flow(CALLS)
    assert find_scratch(flow, 9, count=2).registers == (0, 1)
    full = find_scratch(flow, 6, count=6)
    assert set(full.registers) > {0, 7, 8, 9, 6}
    assert len(full.save) == len(full.restore) == 1


def test_unused_arguments_of_a_call_count_as_read() -> None:
    """How many a helper takes is not asked here, so none is taken for free that might be an argument."""
    flow = find_flow(CALLS)
    assert {1, 2, 3, 4, 5} <= bits(flow.live[6])
