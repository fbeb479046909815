"""Counters in the programs of an object, and what they say about its source."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_ebpf.agent.ops import Handle, Info, InfoArray, InfoArrays
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.instrument.memory import Memory
from pytest_ebpf.live.instrument.parts import Parts
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.insn import LD_IMM64, unpack_insns
from pytest_ebpf.rewrite.coverage import Counted, Counters, count_lines, plan_counters
from pytest_ebpf.rewrite.edit import Edit
from pytest_ebpf.uapi.insn import PseudoLoad

__all__ = ["Counting", "ProgramCounts"]

_XLATED = InfoArray(32, 20)


@dataclass(frozen=True, slots=True)
class ProgramCounts:
    """What one program ran since the last look."""

    program: str
    counted: Counted


class Counting:
    """Counters for all programs of an object, in one map."""

    def __init__(self, session: Session, parts: Mapping[str, Parts]) -> None:
        self._session = session
        self._parts = parts
        self._bases: dict[str, int] = {}
        size = 0
        for name, found in parts.items():
            self._bases[name] = size
            size += 8 * 2 * (len(found.flow.blocks) + 1)
        self._memory = Memory(session, size=size, name="pe_coverage")
        self._id = self._memory.id
        self._counters: dict[str, Counters] = {}
        self._alive: dict[str, frozenset[int]] = {}
        self._before: list[int] = []

    def edits(self, parts: Parts) -> dict[int, Edit]:
        """The counters of a program."""
        edits, self._counters[parts.name] = plan_counters(
            parts.flow, target=self._memory.handle, base=self._bases[parts.name]
        )
        return edits

    def loaded(self, name: str, copy: Handle | None) -> None:
        """``copy`` has the counters now, None: nothing has. Which are left after verification says what cannot run."""
        if copy is None:
            self._alive.pop(name, None)
            return
        info = self._session.one(InfoArrays(copy, (_XLATED,)), Info)
        order = self._session.target.described.byteorder
        insns = unpack_insns(info.arrays[0], byteorder=order) if info.arrays and info.arrays[0] else ()
        counters, base = self._counters[name], self._bases[name]
        found = frozenset(
            (insns[slot + 1].imm - base) // 8
            for slot, insn in enumerate(insns[:-1])
            if insn.code == LD_IMM64 and insn.src == PseudoLoad.MAP_VALUE and insn.imm == self._id
        )
        everything = frozenset(range(counters.total))
        self._alive[name] = found & everything if insns else everything

    def read(self) -> list[ProgramCounts]:
        """What every counted program ran, and from now on anew. The counters go on: what an attached program counts
        while they are read would be lost if they were set to 0."""
        if not self._alive:
            return []
        now = self._memory.numbers(self._memory.read(size=self._memory.size))
        numbers = [one - before for one, before in zip(now, self._before or [0] * len(now), strict=True)]
        self._before = now
        counts = []
        for name, alive in self._alive.items():
            parts, base = self._parts[name], self._bases[name] // 8
            mine = numbers[base : base + self._counters[name].total]
            counted = count_lines(self._counters[name], mine, insns=parts.insns, lines=parts.lines, alive=alive)
            counts.append(ProgramCounts(name, counted))
        return counts
