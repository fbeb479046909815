"""Counters of blocks and of ways out of branches, and what they say of lines."""

from __future__ import annotations

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.obj.insn import Insn
from pytest_ebpf.obj.object import LineInfo
from pytest_ebpf.rewrite.asm import EXIT, goto, load, mov, mov_imm
from pytest_ebpf.rewrite.coverage import Line, count_lines, plan_counters
from pytest_ebpf.rewrite.flow import find_flow

PROGRAM = (
    load(2, 1),  # 0: line 1
    mov_imm(0, 1),  # 1
    Insn(0x15, 2, 0, 1, 0),  # 2: if r2 == 0 goto 4
    mov(0, 2),  # 3: line 2
    Insn(EXIT),  # 4: line 3
)
LINES = tuple(LineInfo(slot, "x.c", line, 1, "", 0, 0, 0) for slot, line in ((0, 1), (3, 2), (4, 3)))


def test_each_block_has_a_counter_and_no_way_is_counted_twice() -> None:
    edits, counters = plan_counters(find_flow(PROGRAM), target=Handle(1, "boot"))
    assert counters.blocks == ((0, 3, 0), (3, 4, 1), (4, 5, 2))
    assert counters.total == 3
    assert set(edits) == {0, 3, 4}
    assert not any(edit.edge for edit in edits.values()), "the block behind the branch is reached from it alone"


def test_lines_branches_and_blocks() -> None:
    flow = find_flow(PROGRAM)
    _, counters = plan_counters(flow, target=Handle(1, "boot"))
    counted = count_lines(counters, [5, 2, 5], insns=PROGRAM, lines=LINES, alive=frozenset(range(3)))
    assert counted.lines == (Line("x.c", 1, 5), Line("x.c", 2, 2), Line("x.c", 3, 5))
    assert counted.branches == (("x.c", 1, (3, 2)),)
    assert counted.blocks == ((0, 3, 5), (3, 1, 2), (4, 1, 5))


def test_what_the_verifier_removed_cannot_run() -> None:
    _, counters = plan_counters(find_flow(PROGRAM), target=Handle(1, "boot"))
    counted = count_lines(counters, [5, 0, 5], insns=PROGRAM, lines=LINES, alive=frozenset({0, 2}))
    assert counted.lines[1] == Line("x.c", 2, None)
    assert counted.branches == (("x.c", 1, (5, None)),)


def test_a_branch_that_falls_into_a_loop() -> None:
    """Its way has a counter of its own, and goes on with a jump: old kernels take nothing else for a way back."""
    loop = (
        mov_imm(0, 0),
        Insn(0x15, 1, 0, 1, 0),
        Insn(0x05, off=-2),
        Insn(0x15, 2, 0, -2, 0),
        Insn(0x05, off=-4),
        Insn(EXIT),
    )
    edits, counters = plan_counters(find_flow(loop), target=Handle(1, "boot"))
    edges = [edit.edge for edit in edits.values() if edit.edge]
    assert edges
    assert len(edges) + len(counters.blocks) == counters.total
    assert all(edge[-1] == goto(0) for edge in edges)
