"""Counters in a program: one for each basic block, and one for each way out of a branch that no block counts.

They are u64 numbers in the value of an array map. What the program holds in registers stays there: a counter uses
registers whose value nobody reads, or keeps some on unused stack meanwhile. It adds without a lock: of runs on several
processors at once some may be lost, but never the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_ebpf.agent.ops import Obj
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.insn import Insn
from pytest_ebpf.obj.object import LineInfo
from pytest_ebpf.plan.link import line_at
from pytest_ebpf.rewrite.asm import Item, MapLoad, add_imm, goto, load, store
from pytest_ebpf.rewrite.edit import Edit, RewriteError
from pytest_ebpf.rewrite.flow import Block, Flow
from pytest_ebpf.rewrite.scratch import find_scratch
from pytest_ebpf.rewrite.sites import CallSite

__all__ = ["Branch", "Counted", "Counters", "Line", "block_ends", "count_lines", "plan_counters"]

_LEAVES, _THROWS = "bpf_tail_call", "bpf_throw"


@dataclass(frozen=True, slots=True)
class Branch:
    """A conditional jump at ``slot``. Counters (-1: not counted): ``block`` of the block that it ends, ``falls`` of
    going on without the jump, ``target`` of the block that it jumps to."""

    slot: int
    block: int
    falls: int
    target: int


@dataclass(frozen=True, slots=True)
class Counters:
    """``blocks``: (start, end, counter) of each block; counter -1: no register was free there. ``total``: how many
    counters there are, each of 8 bytes."""

    blocks: tuple[tuple[int, int, int], ...]
    branches: tuple[Branch, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Line:
    """A source line, or a branch of one. ``hits`` None: the verifier proved that it cannot run here."""

    file: str
    line: int
    hits: int | None


@dataclass(frozen=True, slots=True)
class Counted:
    """What ran. ``branches``: (file, line, ways) with the hits of each way in turn: jumped or not. ``blocks``: (first
    slot, instructions, hits) of each block. Hits None: the verifier proved that it cannot run here."""

    lines: tuple[Line, ...]
    branches: tuple[tuple[str, int, tuple[int | None, int | None]], ...]
    blocks: tuple[tuple[int, int, int | None], ...]


def block_ends(sites: Sequence[CallSite]) -> frozenset[int]:
    """Where a block begins because the call before it may not come back: it jumps into another program, or throws (a
    function that throws leaves its callers, too)."""
    throws = any(site.function == _THROWS for site in sites)
    return frozenset(
        site.slot + 1 for site in sites if site.function in (_LEAVES, _THROWS) or (throws and site.kind == "function")
    )


def plan_counters(flow: Flow, *, target: Obj, base: int = 0) -> tuple[dict[int, Edit], Counters]:
    """``base``: the offset of the first counter in the value of ``target``."""
    edits: dict[int, Edit] = {}
    blocks: list[tuple[int, int, int]] = []
    edges: dict[int, int] = {}  # start of the block that a branch falls into -> counter of that
    own: dict[int, int] = {}
    number = 0
    by_start = {block.start: block for block in flow.blocks}
    into = {b.falls for b in flow.blocks if len(b.following) == 2 and b.falls in by_start and by_start[b.falls].jumped}
    for block in flow.blocks:
        code = _count(flow, block, target=target, offset=base + 8 * number)
        if code is None:
            blocks.append((block.start, block.end, -1))
            continue
        own[block.start] = number
        number += 1
        edge: tuple[Item, ...] = ()
        if block.start in into:
            # The jump to the next instruction: old kernels let only jumps lead back into a loop.
            edge = (*(_count(flow, block, target=target, offset=base + 8 * number) or ()), goto(0))
            edges[block.start] = number
            number += 1
        edits[block.start] = Edit(edge=edge, head=code)
        blocks.append((block.start, block.end, own[block.start]))
    return edits, Counters(tuple(blocks), tuple(_branches(flow, own=own, edges=edges)), number)


def _branches(flow: Flow, *, own: Mapping[int, int], edges: Mapping[int, int]) -> Iterator[Branch]:
    for block in flow.blocks:
        if len(set(block.following)) == 2 and block.falls >= 0:
            falls = edges.get(block.falls, own.get(block.falls, -1))
            target = own.get(next(start for start in block.following if start != block.falls), -1)
            yield Branch(block.last, own.get(block.start, -1), falls, target)


def _count(flow: Flow, block: Block, *, target: Obj, offset: int) -> tuple[Item, ...] | None:
    try:
        scratch = find_scratch(flow, block.start, count=2)
    except RewriteError:
        return None
    at, number = scratch.registers
    step = (MapLoad(at, target, offset), load(number, at), add_imm(number, 1), store(at, number))
    return (*scratch.save, *step, *scratch.restore)


def count_lines(
    counters: Counters,
    counts: Sequence[int],
    *,
    insns: Sequence[Insn],
    lines: Sequence[LineInfo],
    alive: frozenset[int],
) -> Counted:
    """``counts``: by counter. ``alive``: the counters that the verifier left in the program. A line counts as often as
    the block of it that ran most."""
    hits: dict[tuple[str, int], int | None] = {}
    blocks: list[tuple[int, int, int | None]] = []
    for start, end, counter in counters.blocks:
        if counter < 0:
            continue
        count = counts[counter] if counter in alive else None
        size = sum(1 for slot in range(start, end) if insns[slot].code)
        blocks.append((start, size, count))
        for row in _lines_of(lines, start=start, end=end):
            key = (row.file, row.line)
            hits[key] = _most(hits.get(key), count) if key in hits else count
    found = tuple(Line(file, line, count) for (file, line), count in sorted(hits.items()))
    return Counted(found, tuple(_ways(counters, counts, lines=lines, alive=alive)), tuple(blocks))


def _most(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else max(one, other)


def _lines_of(lines: Sequence[LineInfo], *, start: int, end: int) -> Iterator[LineInfo]:
    """The lines that begin in a block. (One that began in the block before may have nothing to do with this one, if
    that is reached from elsewhere.)"""
    return (row for row in lines if start <= row.insn < end and row.line)


def _ways(
    counters: Counters, counts: Sequence[int], *, lines: Sequence[LineInfo], alive: frozenset[int]
) -> Iterator[tuple[str, int, tuple[int | None, int | None]]]:
    for branch in counters.branches:
        row = line_at(lines, branch.slot)
        if row is None or not row.line or branch.block < 0 or branch.falls < 0:
            continue
        if branch.block not in alive:
            yield row.file, row.line, (None, None)  # so that the branches of a line have one number on all kernels
            continue
        falls = counts[branch.falls] if branch.falls in alive else None
        jumps = counts[branch.block] - (falls or 0) if branch.target < 0 or branch.target in alive else None
        yield row.file, row.line, (jumps, falls)
