"""Why a program was rejected: the class, the line, the instruction, what the registers held and how that came about."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import overload

from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.verifier.explain.advice import advice_for
from pytest_ebpf.verifier.explain.caret import Span, span_of
from pytest_ebpf.verifier.explain.error_path import Path, failing_path
from pytest_ebpf.verifier.explain.fault import Fault
from pytest_ebpf.verifier.explain.register_text import describe
from pytest_ebpf.verifier.explain.value_origin import Cause, branches_since, origin_of
from pytest_ebpf.verifier.log.state import Register
from pytest_ebpf.verifier.log.trace import Instruction, Trace, parse_trace
from pytest_ebpf.verifier.log.values import Diagnosis, LineInfoLike, ParsedLog, SourceLine, locate
from pytest_ebpf.verifier.rejection.classify import Rejection, classify

__all__ = ["Explanation", "Happened", "explain"]

_REGISTER = re.compile(r"\bR(\d+)\b")
_ARGUMENT = re.compile(r"\b(?:arg#|trusted arg)(\d)\b")  # counted from 0; "arg #2" is by kernel, so not used
_PROVEN = re.compile(r"\bR(\d+)\(id=\d+,off=-?\d+,r=(\d+)\)")
# Classes where what matters is a section or an object opened by a call, not the value of a register.
_OPENERS = {
    "lock": re.compile(r"call \S*(?:lock|preempt_disable|irq_save|rcu_read)"),
    "object-state": re.compile(r"call \S*(?:dynptr|iter_|irq_save)"),
}
# Rules whose message names the type of the register.
_TELL_TYPES = (
    "null-deref",
    "null-arith",
    "null-arg-type",
    "scalar-deref",
    "mem-access",
    "arg-type",
    "pointer-kind-arith",
)
# Calls after which pointers are numbers: to what they release, and into a packet that may have moved.
_MOVES = re.compile(
    r"submit|discard|release|_put|destroy|drop|adjust|pull_data|change_|store_bytes|push|pop|csum|clone"
)
_END = 20_000  # characters before the end of the log that advice looks at
_CALL = 0x85  # BPF_JMP | BPF_CALL
_NEAR = 2  # lines of source and instructions shown around the one at fault


@dataclass(frozen=True, slots=True)
class Happened:
    """A step on the way to the error: the source line, the instruction, and what it did to the registers."""

    source: SourceLine | None
    insn: Instruction
    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A rejection explained. ``source`` and ``insn`` are None where the log does not show them (level 4). ``context``
    are the source lines around, ``around`` the instructions around; ``registers`` those that matter, as they were
    just before; ``path`` how that came about, oldest first. ``report`` is 7.3's own diagnosis. ``span``: the part of
    ``source.text`` that the instruction came from (all of it where its column is not known)."""

    rejection: Rejection
    source: SourceLine | None = None
    context: tuple[SourceLine, ...] = ()
    insn: Instruction | None = None
    around: tuple[Instruction, ...] = ()
    registers: tuple[Register, ...] = ()
    path: tuple[Happened, ...] = ()
    path_complete: bool = True
    report: Diagnosis | None = None
    span: Span | None = None

    def below(self, root: str) -> Explanation:
        """The same, with source files that are in the directory ``root`` named from there on."""
        return replace(
            self,
            source=_named_from(root, self.source),
            context=tuple(_named_from(root, line) for line in self.context),
            path=tuple(replace(step, source=_named_from(root, step.source)) for step in self.path),
        )


@overload
def _named_from(root: str, source: SourceLine) -> SourceLine: ...
@overload
def _named_from(root: str, source: SourceLine | None) -> SourceLine | None: ...
def _named_from(root: str, source: SourceLine | None) -> SourceLine | None:
    if source is None or not source.file:
        return source
    return replace(source, file=source.file.removeprefix(f"{root}/"))


def explain(
    log: ParsedLog, *, line_info: Sequence[LineInfoLike] = (), trace: Trace | None = None
) -> Explanation | None:
    """The explanation of a rejection; None for an accepted program.

    ``line_info`` (of the object) gives source lines their file and number where the kernel prints the text alone, and
    source lines at all at log level 4. ``trace``: the parsed trace of the log, if the caller has it.
    """
    rejection = classify(log)
    if rejection is None:
        return None
    if rejection.class_id == "no-verdict":  # what stands last in such a log is not where the error is
        return Explanation(rejection, report=log.diagnosis)
    trace = trace or parse_trace(log.text)
    path = failing_path(trace)
    rows = line_info or log.line_info
    sources = _Sources(trace, rows)
    last = _failing_step(path, log)
    source = locate(log, rows) if rows else log.source_line
    replaced = _replaced(log)
    at = replaced or (path[last].insn if last >= 0 else None)
    fault = Fault(rejection, source=_text(source), log=log.text[-_END:])
    if at is None or last < 0:
        return Explanation(advice_for(fault), source, _context(sources.all, source), at, report=log.diagnosis)
    source = source or sources.of(at)
    end = last if replaced is None else last + 1
    registers = tuple(_registers(path, rejection, last=last))
    causes = _causes(path, rejection, last=last)
    return Explanation(
        advice_for(replace(fault, insn=at.text, source=_text(source), registers=registers, causes=causes)),
        source,
        _context(sources.all, source),
        at,
        tuple(path[position].insn for position in range(max(0, end - _NEAR), end)),
        registers,
        tuple(Happened(sources.of(cause.insn), cause.insn, cause.kind, cause.what) for cause in causes),
        path.complete,
        log.diagnosis,
        span_of(source, insn=at.index, line_info=rows) if source is not None else None,
    )


def _text(source: SourceLine | None) -> str:
    return source.text if source is not None else ""


def _replaced(log: ParsedLog) -> Instruction | None:
    """The instruction at fault where libbpf wrote its own words over it: a call that it had put there itself."""
    found = re.search(rf"^ *{log.error_insn}: (<invalid [^>]+>) *$", log.text, re.MULTILINE)
    if found is None:
        return None
    return Instruction(int(log.error_insn or 0), _CALL, found[1], "", log.text.count("\n", 0, found.start()))


def _failing_step(path: Path, log: ParsedLog) -> int:
    """The step at fault: the last one, unless the message names another (a loop, the head of a jump)."""
    if not len(path):
        return -1
    last = len(path) - 1
    if log.error_insn is None or path.index(last) == log.error_insn:
        return last
    named = path.find_last(log.error_insn)
    return named if named >= 0 else last


def _wanted(path: Path, rejection: Rejection, *, last: int) -> list[int]:
    """The registers that matter, by number: those that the message names, else those that the instruction reads."""
    named = [int(number) for number in _REGISTER.findall(rejection.message)]
    named += [int(number) + 1 for number in _ARGUMENT.findall(rejection.message)]
    step = path[last]
    reads = list(step.operands.reads)
    if step.insn.text == "exit":
        reads = [0]
    return [number for number in dict.fromkeys(named or reads) if number <= 10]


def _registers(path: Path, rejection: Rejection, *, last: int) -> Iterator[Register]:
    if rejection.class_id in _OPENERS or rejection.class_id == "leaked-ref":
        return
    wanted = _wanted(path, rejection, last=last)
    step = path[last]
    for number in dict.fromkeys((*wanted, *step.operands.reads)):
        found = path.known(f"R{number}", before=last) or _told(f"R{number}", rejection)
        if found is not None:
            yield _corrected(found, rejection)
        elif rejection.class_id == "uninit-read" and rejection.field("reg") in ("", f"R{number}"):
            yield Register(f"R{number}", "", "")
    slot = step.operands.slot
    if slot is not None and slot[0] == 10:
        found = path.known(f"fp{slot[1] - slot[1] % 8}", before=last)
        if found is not None:
            yield found


def _told(name: str, rejection: Rejection) -> Register | None:
    """What the message alone shows about a register: 5.10 and 5.15 print almost no states at level 1."""
    proven = _PROVEN.search(rejection.message)
    if proven is not None and name == f"R{proven[1]}":
        return Register(name, "pkt", proven[0], attributes=(("r", proven[2]),))
    kind = rejection.field("what")
    if name != rejection.field("reg") or rejection.rule_id not in _TELL_TYPES or not kind:
        return None
    return Register(name, "scalar" if kind in ("inv", "imm") else kind, "" if kind == "imm" else kind)


def _corrected(register: Register, rejection: Rejection) -> Register:
    """The register as the message has it, where that is newer than what was printed: the trace shows only registers
    that an instruction names, and others change with them."""
    proven = _PROVEN.search(rejection.message)
    if proven is not None and register.name == f"R{proven[1]}" and register.type == "pkt":
        others = tuple((name, value) for name, value in register.attributes if name != "r")
        return replace(register, attributes=(*others, ("r", proven[2])))
    if rejection.rule_id == "scalar-deref" and register.name == rejection.field("reg") and register.type != "scalar":
        return Register(register.name, "scalar", "", attributes=(("lost", describe(register)),))
    return register


def _causes(path: Path, rejection: Rejection, *, last: int) -> list[Cause]:
    """Where the state began, and the branches taken since."""
    began = _openings(path, rejection, last=last)
    if not began:
        for register in _wanted(path, rejection, last=last)[:2]:
            began += origin_of(path, register, before=last)
        began += [cause for cause in _operand_origins(path, began) if cause.position not in {b.position for b in began}]
    if not began:
        return _once(branches_since(path, max(0, last - 64), before=last)[-8:])
    start = min(cause.position for cause in began)
    steps = {cause.position: cause for cause in branches_since(path, start, before=last)}
    steps |= {cause.position: cause for cause in began if cause.position != last}
    if rejection.rule_id == "scalar-deref":
        steps |= {cause.position: cause for cause in _lost(path, rejection, last=last)}
    return _once([steps[position] for position in sorted(steps)])


def _operand_origins(path: Path, began: list[Cause]) -> list[Cause]:
    """Where the numbers came from that were added to a pointer on the way (``r0 += r6``: R6)."""
    found: list[Cause] = []
    for cause in began[-3:]:
        operands = path[cause.position].operands
        if operands.keeps:
            for register in operands.reads[1:]:
                found += origin_of(path, register, before=cause.position)
    return found


def _lost(path: Path, rejection: Rejection, *, last: int) -> list[Cause]:
    """The call that made a number of a pointer: what it points to was released, or the packet moved."""
    name = rejection.field("reg")
    known = path.known(name, before=last)
    if known is None or known.type == "scalar":
        return []
    for position in range(last - 1, -1, -1):
        text = path.text(position)
        if text.startswith("call ") and (_MOVES.search(text) or text.startswith("call pc")):
            return [Cause(position, path[position].insn, "update", f"{name} is not a pointer after this call")]
    return []


def _openings(path: Path, rejection: Rejection, *, last: int) -> list[Cause]:
    if rejection.class_id == "leaked-ref" and (number := rejection.field("at")):
        position = path.find_last(int(number))
        if position >= 0:
            return [Cause(position, path[position].insn, "acquire", f"acquired here (id {rejection.field('id')})")]
    opener = _OPENERS.get(rejection.class_id)
    if opener is None:
        return []
    for position in range(last - 1, -1, -1):
        if opener.match(path.text(position)):
            return [Cause(position, path[position].insn, "acquire", "entered or made here")]
    return []


def _once(causes: list[Cause]) -> list[Cause]:
    """Of the rounds of a loop the last: an instruction is listed once."""
    latest = {cause.insn.index: cause for cause in causes}
    return [cause for cause in causes if latest[cause.insn.index] is cause]


def _context(known: Sequence[SourceLine], source: SourceLine | None) -> tuple[SourceLine, ...]:
    """Lines of the same file next to the one at fault, as far as the log or the object quotes them."""
    if source is None:
        return ()
    if source.line is None:
        return (source,)
    near = {
        one.line: one
        for one in known
        if one.line is not None and one.file == source.file and abs(one.line - source.line) <= _NEAR
    }
    near[source.line] = source
    return tuple(near[line] for line in sorted(near))


class _Sources:
    """Which source line an instruction belongs to: from line info where there is some, else from the log."""

    def __init__(self, trace: Trace, rows: Sequence[LineInfoLike]) -> None:
        self._trace = trace
        self._rows = rows

    def of(self, insn: Instruction) -> SourceLine | None:
        if not self._rows:
            return self._trace.source_at(insn.line)
        index = bisect_right(self._rows, insn.index, key=lambda row: row.insn)
        return _source(self._rows[index - 1]) if index else None

    @property
    def all(self) -> list[SourceLine]:
        if self._rows:
            return [_source(row) for row in self._rows]
        return [source for _, source in self._trace.sources]


def _source(row: LineInfoLike) -> SourceLine:
    return SourceLine(row.text.strip(), row.file.removeprefix("./") or None, row.line or None)
