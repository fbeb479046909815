"""The path that failed: of all that the verifier walked, the instructions from the start of the program to the error.

At level 1 the kernel forgets the paths that end well, so the log is the path. At level 2 it prints every path; one
ends with ``exit`` or ``safe``, and the next takes up a branch that was put off, the last first. So a new path is the
beginning of the one before, up to that branch.
"""

from __future__ import annotations

import re
from functools import cached_property

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.verifier.log.lines import Kind
from pytest_ebpf.verifier.log.operands import Operands, read_operands
from pytest_ebpf.verifier.log.state import Register, parse_state
from pytest_ebpf.verifier.log.trace import Instruction, Trace, read_instruction

__all__ = ["Path", "Step", "Walk", "failing_path"]

_FROM = re.compile(r"from (\d+) to (\d+)")
_INDEX = re.compile(r"(\d+): ?(.*)", re.DOTALL)
_TARGET = re.compile(r"goto (?:pc)?([-+]\d+)")
_FAR = 2000  # steps back to look for a state


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the path: the instruction, how many calls deep it is, and the lines of the log that show the state
    after it (besides its own comment)."""

    insn: Instruction
    depth: int
    states: tuple[str, ...]

    @property
    def operands(self) -> Operands:
        """What it reads and writes."""
        return read_operands(self.insn.text)

    def after(self, name: str) -> Register | None:
        """The register after this step, where the log shows it."""
        for text in (*reversed(self.states), self.insn.comment):
            found = parse_state(text).get(name) if f"{name}=" in text or f"{name}_" in text else None
            if found is not None:
                return found
        return None


class Path:
    """The steps in order. ``complete`` is False when the beginning is missing (a log may have lost its head)."""

    def __init__(self, walk: Walk) -> None:
        trace, at, depths, extras = walk.trace, walk.at, walk.depths, walk.extras
        self._entry = walk.entry
        self.trace = trace
        self._at = at
        self._depths = depths
        self._extras = extras

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, position: int) -> Step:
        line = self._at[position]
        states = tuple(_state_text(self.trace.lines[number]) for number in self._extras.get(line, ()))
        return Step(read_instruction(self.trace.lines[line], line), self._depths[position], states)

    @cached_property
    def complete(self) -> bool:
        """Whether it starts at instruction 0 or at the start of a global function."""
        if not self._at:
            return False
        first = int(self.trace.lines[self._at[0]].partition(":")[0])
        return first == 0 or any(one.insn == first for one in self.trace.subprograms)

    def depth(self, position: int) -> int:
        """How many calls deep a step is."""
        return self._depths[position]

    def index(self, position: int) -> int:
        """The index of the instruction of a step."""
        return int(self.trace.lines[self._at[position]].partition(":")[0])

    def text(self, position: int) -> str:
        """The rest of the line of a step, from the instruction's text on; cheaper than the step itself."""
        line = self.trace.lines[self._at[position]]
        return line[line.find(") ") + 2 :]

    def known(self, name: str, *, before: int) -> Register | None:
        """The register or slot as the log shows it last before a step, unless it was written since (5.10 prints
        states rarely). None where the log does not show it."""
        depth = self._depths[before]
        number = int(name[1:]) if name[0] == "R" else -1
        for at in range(before - 1, max(-1, before - _FAR), -1):
            if self._depths[at] > depth:
                continue
            if self._depths[at] < depth and not 1 <= number <= 5:
                return None
            step = self[at]
            found = step.after(name)
            if found is not None:
                return found
            operands = step.operands
            if self._depths[at] < depth or operands.writes == number or (operands.clobbers and 0 < number <= 5):
                return None
        return self._shown(name, number, at=before)

    def _shown(self, name: str, number: int, *, at: int) -> Register | None:
        """From the instruction's own state, if it leaves the register alone, or from the state at the beginning."""
        own = self[at].after(name) if number >= 0 and self[at].operands.writes != number else None
        first = parse_state(_state_text(self.trace.lines[self._entry])).get(name) if self._entry >= 0 else None
        return own or (first if at < _FAR else None)

    def find_last(self, index: int, *, before: int | None = None) -> int:
        """The position of the last step at that instruction, -1 when there is none."""
        for position in range((len(self._at) if before is None else before) - 1, -1, -1):
            if self.index(position) == index:
                return position
        return -1


def _state_text(line: str) -> str:
    """The state in a line of kind STATE or BRANCH."""
    found = re.match(r"(?:from \d+ to \d+(?: \(speculative execution\))?:|\d+:)", line)
    return line[found.end() :].strip() if found else line.strip()


def failing_path(trace: Trace) -> Path:
    """The path of the log's last state. For an accepted program that is the path walked last."""
    walk = Walk(trace)
    handlers = {
        Kind.INSN: walk.insn,
        Kind.STATE: walk.state,
        Kind.BRANCH: walk.branch,
        Kind.PRUNED: walk.pruned,
        Kind.CALL: walk.call,
        Kind.SUBPROG: walk.subprog,
    }
    for number, kind in enumerate(trace.kinds):
        handler = handlers.get(kind)  # type: ignore[call-overload]
        if handler is not None:
            handler(number, trace.lines[number])
    return Path(walk)


class Walk:
    """Follows the verifier through the log."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.at: list[int] = []  # lines of the instructions of the path
        self.depths: list[int] = []
        self.extras: dict[int, list[int]] = {}  # line of an instruction -> lines with states after it
        self._places: dict[int, list[int]] = {}  # index -> positions in the path from which a branch may be taken up
        self._targets: dict[int, list[int]] = {}  # index jumped to -> positions of such conditional jumps
        self._keys: list[tuple[int, int]] = []  # of every step: its index, and where it may jump to or -1
        self._depth = 0
        self._ended = False
        self.entry = -1  # the line with the state at the beginning

    def insn(self, number: int, line: str) -> None:
        index = int(line.partition(":")[0])
        if self._ended:
            self._resume(index)
        position = len(self.at)
        self.at.append(number)
        self.depths.append(self._depth)
        self._places.setdefault(index, []).append(position)
        target = -1
        if "if " in line[:16] and (jump := _TARGET.search(line)):
            target = index + 1 + int(jump[1])
            self._targets.setdefault(target, []).append(position)
        self._keys.append((index, target))
        if "(95) exit" in line[:24] and self._depth == 0:
            self._ended = True

    def state(self, number: int, line: str) -> None:
        if self._ended:
            found = _INDEX.match(line)
            if found is None:
                return
            self._resume(int(found[1]))
        if self.at:
            self.extras.setdefault(self.at[-1], []).append(number)
        else:
            self.entry = number

    def branch(self, number: int, line: str) -> None:
        found = _FROM.match(line)
        assert found is not None
        places = self._places.get(int(found[1]))
        self._cut(places.pop() if places else None)
        frame = re.search(r": frame(\d+):", line)
        self._depth = int(frame[1]) if frame else 0
        if self.at:
            self.extras[self.at[-1]] = [number]
        self._ended = False

    def pruned(self, number: int, line: str) -> None:
        self._ended = True

    def call(self, number: int, line: str) -> None:
        if line.startswith("callee:"):
            self._depth += 1
        elif line.startswith("to caller at"):
            self._depth = max(0, self._depth - 1)

    def subprog(self, number: int, line: str) -> None:
        """A global function is checked on its own: the path starts anew."""
        if line.startswith("Validating"):
            self._cut(None)
            self._depth = 0
            self._ended = False

    def _resume(self, index: int) -> None:
        """The path ended and no ``from`` line shows which branch comes next (5.10 and 5.15 at level 2)."""
        self._ended = False
        targets = self._targets.get(index)
        self._cut(targets.pop() if targets else None)
        self._depth = self.depths[-1] if self.depths else 0

    def _cut(self, position: int | None) -> None:
        """Keep the path up to and with that step; nothing of it, when the step is not known."""
        keep = 0 if position is None else position + 1
        for number, (index, target) in zip(self.at[keep:], self._keys[keep:], strict=True):
            self.extras.pop(number, None)
            for positions in (self._places[index], self._targets.get(target, [])):
                while positions and positions[-1] >= keep:
                    positions.pop()
        del self.at[keep:], self.depths[keep:], self._keys[keep:]
