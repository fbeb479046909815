"""The trace of a log: all its lines, each with its kind; instructions, sources and states as values when asked for.

Splitting and classifying is the whole parse: 50 MB/s and more. The content of a line is read on first use.
``render`` gives the text back byte for byte.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import overload

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.verifier.log.lines import Kind, kinds_of, source_of, split_insn
from pytest_ebpf.verifier.log.state import State, parse_state
from pytest_ebpf.verifier.log.values import SourceLine
from pytest_ebpf.verifier.rejection.rules import matches

__all__ = [
    "Branch",
    "Instruction",
    "Instructions",
    "PrecisionMark",
    "Subprogram",
    "Trace",
    "parse_trace",
    "read_instruction",
]

_INSN = re.compile(r"(\d+): \(([0-9a-f]{2})\) ([^;]*?)(?: *; ?(.*))?\r?$", re.DOTALL)
_GLUED = re.compile(r" (?=\d+: (?:frame\d+: ?)?(?:R\d|fp-|refs=))")
_IS_STATE = re.compile(r"\s*(?:frame\d+:|R\d+(?:_\w+)?=|fp-?\d+(?:_\w+)?=|refs=|(?:async_)?cb\b|$)")
_BRANCH = re.compile(r"from (\d+) to (\d+)( \(speculative execution\))?:(.*)")
_MARK = re.compile(r"(?:mark_precise: frame(\d+): )?regs=(\S*) stack=(\S*) before (\d+): ")
_HEADING = re.compile(r"(?:stack use/def )?subprog#\d+[: ]")
_SUBPROG = re.compile(r"func#(\d+) @(\d+)")
_REPORT = "Verification failed: "
_MOST_MESSAGES = 1000  # a log has a few; a text with more is not a log, and the rest is not matched against the rules


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction as the verifier walked it; in a loop there is one per round.

    ``index`` counts 8-byte slots, ``code`` is the opcode, ``text`` the disassembly. ``comment`` is what stands behind
    ``;``: the state after it, "" where the kernel printed none. ``line`` is the line of the log, counted from 0.
    """

    index: int
    code: int
    text: str
    comment: str
    line: int

    @property
    def state(self) -> State:
        """The registers that this instruction touched, after it."""
        return parse_state(self.comment)

    def __str__(self) -> str:
        return f"{self.index}: ({self.code:02x}) {self.text}"


@dataclass(frozen=True, slots=True)
class Branch:
    """``from 6 to 2: ...``: the verifier takes up another path, with the state it had there."""

    origin: int
    target: int
    speculative: bool
    comment: str
    line: int

    @property
    def state(self) -> State:
        """The registers at the start of the path."""
        return parse_state(self.comment)


@dataclass(frozen=True, slots=True)
class PrecisionMark:
    """``mark_precise``: these registers and stack slots must be known exactly before that instruction. The sets are in
    the kernel's spelling: names since 6.4 (``r2,r6``), masks in hexadecimal before."""

    frame: int
    registers: str
    stack: str
    insn: int
    line: int


@dataclass(frozen=True, slots=True)
class Subprogram:
    """``func#1 @5``: function number 1 starts at instruction 5."""

    number: int
    insn: int


class Instructions(Sequence[Instruction]):
    """The instructions of a trace in the order walked; each is read from its line when it is asked for."""

    def __init__(self, lines: list[str], at: list[int]) -> None:
        self._lines = lines
        self._at = at

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, position: int) -> Instruction: ...
    @overload
    def __getitem__(self, position: slice) -> list[Instruction]: ...
    def __getitem__(self, position: int | slice) -> Instruction | list[Instruction]:
        if isinstance(position, slice):
            return [read_instruction(self._lines[at], at) for at in self._at[position]]
        at = self._at[position]
        return read_instruction(self._lines[at], at)


def read_instruction(text: str, line: int) -> Instruction:
    """The instruction of a line of kind INSN. At level 1 (6.1 and later) the next state may hang behind it without a
    semicolon, and a source line with one."""
    glued = _GLUED.split(split_insn(text)[0], maxsplit=1)
    found = _INSN.match(glued[0])
    assert found is not None, text
    comment = found[4] or ""
    if not _IS_STATE.match(comment):
        comment = ""
    if len(glued) > 1 and not comment:
        comment = glued[1].partition(": ")[2]
    return Instruction(int(found[1]), int(found[2], 16), found[3].rstrip(), comment.strip(), line)


class Trace:
    """All lines of a log. ``lines`` are without their newlines, ``kinds`` has a byte (``Kind``) for each."""

    def __init__(self, lines: list[str], kinds: bytes) -> None:
        self.lines = lines
        self.kinds = kinds

    def render(self) -> str:
        """The log again, byte for byte."""
        return "\n".join(self.lines)

    def at(self, *kinds: Kind) -> list[int]:
        """The numbers of the lines of these kinds, from 0."""
        wanted = bytes(kinds)
        return [number for number, kind in enumerate(self.kinds) if kind in wanted]

    def count(self, kind: Kind) -> int:
        """How many lines are of that kind."""
        return self.kinds.count(kind)

    @cached_property
    def instructions(self) -> Instructions:
        """Every instruction walked, in order."""
        return Instructions(self.lines, self.at(Kind.INSN))

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Where the verifier took up another path."""
        found = ((_BRANCH.match(self.lines[at]), at) for at in self.at(Kind.BRANCH))
        return tuple(Branch(int(m[1]), int(m[2]), m[3] is not None, m[4].strip(), at) for m, at in found if m)

    @property
    def states(self) -> tuple[tuple[int, State], ...]:
        """States that are printed on separate lines: (line, state)."""
        return tuple((at, parse_state(_without_index(self.lines[at]))) for at in self.at(Kind.STATE))

    @property
    def sources(self) -> tuple[tuple[int, SourceLine], ...]:
        """Source lines quoted: (line of the log, source)."""
        found = ((at, source_of(self.lines[at])) for at in self.at(Kind.SOURCE))
        return tuple((at, SourceLine(*source)) for at, source in found if source)

    @property
    def precision(self) -> tuple[PrecisionMark, ...]:
        """Marks of precision that name an instruction."""
        found = ((_MARK.match(self.lines[at]), at) for at in self.at(Kind.PRECISION))
        return tuple(PrecisionMark(int(m[1] or 0), m[2], m[3], int(m[4]), at) for m, at in found if m)

    @property
    def subprograms(self) -> tuple[Subprogram, ...]:
        """The functions and where they start (level 2)."""
        found = (_SUBPROG.match(self.lines[at]) for at in self.at(Kind.SUBPROG))
        return tuple(Subprogram(int(m[1]), int(m[2])) for m in found if m)

    @cached_property
    def unknown(self) -> tuple[str, ...]:
        """Lines that neither a shape nor a rule knows. They are kept; here they are to be counted and looked at."""
        messages = [self.lines[at] for at in self.at(Kind.MESSAGE)]
        looked_at, rest = messages[:_MOST_MESSAGES], messages[_MOST_MESSAGES:]
        known = (next(matches(line.strip()), None) is not None or "processed " in line for line in looked_at)
        return (*(line for line, told in zip(looked_at, known, strict=True) if not told), *rest)

    def source_at(self, line: int) -> SourceLine | None:
        """The source line in force at a line of the log; one without its text (GCC) only where there is no other."""
        places = self._source_lines
        index = bisect_right(places, line)
        bare: SourceLine | None = None
        while index:
            index -= 1
            if found := source_of(self.lines[places[index]]):
                source = SourceLine(*found)
                if source.text:
                    return source
                bare = bare or source
        return bare

    @cached_property
    def _source_lines(self) -> list[int]:
        return self.at(Kind.SOURCE)


def _without_index(line: str) -> str:
    return re.sub(r"^\d+: ?", "", line)


def parse_trace(text: str) -> Trace:
    """All of a log, at any log level. Never raises."""
    lines = text.split("\n")
    kinds = kinds_of(lines)
    if _REPORT in text:
        kinds = _mark_reports(lines, kinds)
    if "subprog#" in text:
        kinds = _mark_listings(lines, kinds)
    return Trace(lines, kinds)


def _mark_listings(lines: list[str], kinds: bytes) -> bytes:
    """The listings that 7.1 and later print before the walk: no instruction in them was walked."""
    marked = bytearray(kinds)
    for start, line in enumerate(lines):
        if kinds[start] == Kind.ANALYSIS and _HEADING.match(line):
            at = start + 1
            while at < len(lines) and kinds[at] in (Kind.INSN, Kind.ANALYSIS) and not _HEADING.match(lines[at]):
                marked[at] = Kind.ANALYSIS
                at += 1
    return bytes(marked)


def _mark_reports(lines: list[str], kinds: bytes) -> bytes:
    """7.3's reports: from the headline on, headings at the margin and what is indented below them."""
    marked = bytearray(kinds)
    for start in (number for number, line in enumerate(lines) if line.startswith(_REPORT)):
        marked[start] = Kind.REPORT
        for number in _report_lines(lines, start):
            marked[number] = Kind.REPORT
    return bytes(marked)


def _report_lines(lines: list[str], start: int) -> Iterator[int]:
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if line[:1] not in ("", " ", "\t", "\r") and not re.match(r"[A-Z][A-Za-z ]*:\r?$", line):
            return
        yield number
