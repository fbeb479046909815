"""The log of the verifier as a value: the one useful line, where it happened, and what the check cost."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pytest_ebpf.verifier.log import expect
from pytest_ebpf.verifier.log.lines import INSN, PROCESSED, is_note, is_statistic, is_trace, source_of

if TYPE_CHECKING:
    from pytest_ebpf.verifier.explain.explain import Explanation
    from pytest_ebpf.verifier.log.trace import Instructions, Trace
    from pytest_ebpf.verifier.rejection.classify import Rejection

__all__ = [
    "Diagnosis",
    "LineInfoLike",
    "SourceLine",
    "VerifierLog",
    "VerifierStats",
    "locate",
    "parse_log",
    "parse_stats",
]

_TAIL = 65536  # bytes; the error, its instruction and the statistics are at the end, however long the trace is
_LAST = 300  # lines at the end among which the error and the statistics are, a line per function in 7.3
_FIGURES = 2000  # characters at the end where those are, if the time (level 4) does not lead them
_CUT = 4096  # bytes; shorter texts are never the head of a log that did not fit its buffer
_MOST_MESSAGES = 4
_DIAGNOSIS = "\nVerification failed: "


@dataclass(frozen=True, slots=True)
class VerifierStats:
    """What verification cost. A figure that this kernel or log level does not print is None.

    ``insns`` counts instructions walked, of ``limit`` allowed; ``states`` is the kernel's total_states;
    ``stack`` holds the bytes of stack of the main program and of each subprogram (log level 4, Linux 5.2), and
    ``stack_max`` their worst sum along a call chain (printed since 7.2; before, the sum of what is listed);
    ``time_us`` is the time the kernel says it took, in microseconds (log level 4).
    """

    insns: int | None = None
    limit: int | None = None
    max_states_per_insn: int | None = None
    states: int | None = None
    peak_states: int | None = None
    mark_read: int | None = None
    stack: tuple[int, ...] = ()
    stack_max: int | None = None
    time_us: int | None = None


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of C. ``file`` and ``line`` are None where the kernel (before 6.8) prints the text alone."""

    text: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.file else self.text


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The report that Linux 7.3 prints under the error: its headline ("Register Type Safety: Unreadable register")
    and its sections by name ("Reason", "At", "Causal path", "Suggestion")."""

    headline: str
    sections: tuple[tuple[str, str], ...] = ()

    def section(self, name: str) -> str:
        """The text of a section, "" when the report has none of that name."""
        return next((text for title, text in self.sections if title == name), "")


class LineInfoLike(Protocol):
    """A row of BTF line info: instruction ``insn`` and those after it come from this source line."""

    @property
    def insn(self) -> int: ...
    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class VerifierLog:
    """A parsed log. ``error`` is the one useful line, "" for an accepted program; ``messages`` are the log lines it
    was made of. ``error_insn`` is the instruction at fault, as a rule the last one walked (an index in units of 8
    bytes, subprograms appended); None where the log has no trace. ``notes`` are remarks that are harmless as
    a rule; for a rejection without an ``error`` the last of them is the best there is. ``line_info`` is the object's
    own, where the loader is at hand: it knows the source on every kernel and at every log level."""

    text: str
    error: str = ""
    messages: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error_insn: int | None = None
    source_line: SourceLine | None = None
    stats: VerifierStats = VerifierStats()
    diagnosis: Diagnosis | None = None
    log_level: int = 0
    line_info: Sequence[LineInfoLike] = ()

    @property
    def rejected(self) -> bool:
        """Whether this is the log of a program that did not load. A log without a verdict (empty, or cut off before
        the statistics) counts as one: what loads ends with statistics at every log level above 0."""
        return bool(self.messages or self.diagnosis) or self.stats.insns is None

    @property
    def rejection(self) -> Rejection | None:
        """The class of the rejection, with a headline; None for an accepted program."""
        from pytest_ebpf.verifier.rejection.classify import classify

        return classify(self)

    @property
    def trace(self) -> Trace:
        """Every line of the log with its kind; instructions, states, branches and sources as values."""
        from pytest_ebpf.verifier.log.trace import parse_trace

        return parse_trace(self.text)

    @property
    def instructions(self) -> Instructions:
        """Every instruction that the verifier walked, in order (log levels 1 and 2)."""
        return self.trace.instructions

    @property
    def explanation(self) -> Explanation | None:
        """Why it was rejected: line, instruction, registers, and how that came about; None for an accepted program."""
        from pytest_ebpf.verifier.explain.explain import explain

        return explain(self)

    def expect(self, *patterns: str | expect.Wanted, not_: str | Sequence[str] = ()) -> expect.Checked:
        """Have the log hold ``patterns`` in this order: text with ``{{regex}}`` holes, ``absent("…")`` between two of
        them, ``next_line("…")`` right behind one. ``not_``: what must be nowhere in it.

        ``AssertionError`` with a table of what matched, what was expected and what was there instead; else the table.
        """
        checked = expect.require(self.text, patterns, not_=not_)
        if not checked.ok:
            bare = not self.log_level & 3 and not self.rejected
            hint = "\nThis log has statistics alone: load with log_level=2 for the trace." if bare else ""
            raise AssertionError(f"{checked}{hint}")
        return checked

    def has(self, pattern: str) -> bool:
        """Whether a line matches ``pattern``: literal text with ``{{regex}}`` holes."""
        return isinstance(expect.match(self.text, pattern), expect.Match)


def parse_log(text: str, *, log_level: int = 0) -> VerifierLog:
    """Parse the log of one BPF_PROG_LOAD, accepted or rejected. Never raises; unknown lines are kept in ``text``.

    Only the end of a long log is looked at, so the cost does not grow with it.
    """
    end = text.find("\0")
    text = text if end < 0 else text[:end]
    tail = _tail(text)
    diagnosis, after = _diagnosis(tail)
    body = _body(tail)
    messages = _messages(body) + after
    notes = tuple(line for line in body if "arg#" in line and is_note(line))
    stats = _stats(_figures(tail))
    failed = bool(messages or notes or diagnosis) or stats.insns is None
    return VerifierLog(
        text=text,
        error=_join(messages) or (diagnosis.headline if diagnosis else ""),
        messages=messages,
        notes=notes,
        error_insn=_last_insn(body, messages) if failed else None,
        source_line=(_source(body) or _source_before(text, tail)) if failed else None,
        stats=stats,
        diagnosis=diagnosis,
        log_level=log_level,
    )


def parse_stats(text: str) -> VerifierStats:
    """The statistics of a log alone, in a fraction of the time of ``parse_log``."""
    end = text.find("\0")
    return _stats(_figures(_tail(text if end < 0 else text[:end])))


def locate(log: VerifierLog, line_info: Sequence[LineInfoLike]) -> SourceLine | None:
    """The source line of the error, from our own line info (sorted by ``insn``) where the log knows the instruction,
    else from the log: also on kernels whose log names no file, and at log levels without source."""
    if log.error_insn is not None and line_info:
        index = bisect_right(line_info, log.error_insn, key=lambda row: row.insn)
        if index:
            row = line_info[index - 1]
            return SourceLine(row.text.strip(), row.file.removeprefix("./") or None, row.line or None)
    return log.source_line


def _tail(text: str) -> str:
    if len(text) <= _TAIL:
        return text
    return text[text.find("\n", len(text) - _TAIL) + 1 :]


def _figures(tail: str) -> str:
    """The statistics at the end: from the time on, which leads them at level 4 (a line per function in 7.3)."""
    start = tail.rfind("verification time ")
    return tail[start:] if start >= 0 else tail[-_FIGURES:]


def _body(tail: str) -> list[str]:
    """The lines before the statistics and before 7.3's report; a message glued to ``processed`` is cut off it."""
    report = tail.rfind(_DIAGNOSIS)
    if report >= 0:
        tail = tail[:report]
    lines = tail.split("\n")
    if not lines[-1]:
        lines.pop()
    lines[-_LAST:] = [_unglued(line) for line in lines[-_LAST:]]
    if lines and len(tail) > _CUT and not tail.endswith("\n") and not PROCESSED.search(tail):
        lines.pop()  # before 6.4 a log that outgrew its buffer ends anywhere
    while lines and (not lines[-1] or is_statistic(lines[-1])):
        lines.pop()
    return lines


def _unglued(line: str) -> str:
    glued = PROCESSED.search(line) if "processed " in line else None
    if glued and glued.start() and not is_trace(line):
        line = line[: glued.start()]
    return line.rstrip()


def _messages(body: list[str]) -> tuple[str, ...]:
    """The error lines: the run of lines at the end that are no trace. ``infinite loop`` is followed by the two states
    that are equal (since 6.6), so states after it are stepped over."""
    end = len(body)
    for back, line in enumerate(reversed(body[-6:])):
        if line.startswith("infinite loop detected"):
            end = len(body) - back
            break
    found: list[str] = []
    for line in reversed(body[:end]):
        if is_statistic(line):
            continue
        if is_trace(line) or _cfg_source(line) or len(found) == _MOST_MESSAGES:
            break
        found.append(line.strip())
    return tuple(reversed(found))


def _cfg_source(line: str) -> bool:
    """check_cfg() quotes source as ``10: text`` in place of ``; text``."""
    return re.match(r"\d+: ", line) is not None


def _join(messages: tuple[str, ...]) -> str:
    """One line. Several messages belong together: the first has the numbers, the last says what they mean."""
    if len(messages) > 2:
        messages = (messages[0], messages[-1])
    return "; ".join(messages)


_AT_INSN = re.compile(
    r"(?:unreachable insn|infinite loop detected at insn|back-edge from insn|jump out of range from insn) (\d+)"
)


def _last_insn(body: list[str], messages: tuple[str, ...]) -> int | None:
    for message in messages:
        if found := _AT_INSN.match(message):
            return int(found[1])
    for line in reversed(body):
        if found := INSN.match(line):
            return int(found[1])
    return None


def _source(body: list[str]) -> SourceLine | None:
    return next(_sources(reversed(body)), None)


def _sources(lines: Iterator[str]) -> Iterator[SourceLine]:
    for line in lines:
        if found := source_of(line):
            yield SourceLine(*found)


def _source_before(text: str, tail: str) -> SourceLine | None:
    """Since 6.12 a repeated source line is not printed again, so in a tight loop it may lie far before the tail."""
    end = len(text) - len(tail)
    while end > 0:
        start = text.rfind("\n;", 0, end)
        if start < 0:
            return None
        if found := source_of(text[start + 1 : text.find("\n", start + 1)]):
            return SourceLine(*found)
        end = start
    return None


def _stats(tail: str) -> VerifierStats:
    # looked for from the end: 7.2 prints "insns processed 5+3", which is no such line
    at = tail.rfind("processed ")
    while at >= 0 and (found := PROCESSED.match(tail, at)) is None:
        at = tail.rfind("processed ", 0, at)
    if at < 0:
        return VerifierStats()
    assert found is not None
    insns, limit, per_insn, states, peak, mark_read = (int(n) if n else None for n in found.groups())
    stack, stack_max = _stack(tail)
    time = _TIME.findall(tail)
    return VerifierStats(
        insns=insns,
        limit=limit,
        max_states_per_insn=per_insn,
        states=states,
        peak_states=peak,
        mark_read=mark_read,
        stack=stack,
        stack_max=stack_max,
        time_us=int(time[-1]) if time else None,
    )


_TIME = re.compile(r"^verification time (\d+) usec", re.MULTILINE)
_DEPTH = re.compile(r"^stack depth(?: ([\d+]+))?(?: max (\d+))?$", re.MULTILINE)
_SUBPROG_STACK = re.compile(r"^subprog \d+ \(.*\) \w+ .*\bstack (\d+)$", re.MULTILINE)


def _stack(tail: str) -> tuple[tuple[int, ...], int | None]:
    """Depths per function and their worst sum: ``stack depth 0+8``, since 7.2 ``stack depth 0+8 max 16``, in 7.3
    ``stack depth max 16`` and a line per function."""
    at = tail.rfind("stack depth")
    found = _DEPTH.match(tail, at) if at >= 0 else None
    if found is None:
        return (), None
    depths, most = found.groups()
    stack = tuple(map(int, depths.split("+") if depths else _SUBPROG_STACK.findall(tail)))
    return stack, int(most) if most else sum(stack)


def _diagnosis(tail: str) -> tuple[Diagnosis | None, tuple[str, ...]]:
    """7.3's report, of several in one log the last, which is about the path that failed; and the messages under it.

    Headings stand at the margin and end in a colon, what belongs to them is indented; any other line at the margin is
    the rest of the classic log.
    """
    start = tail.rfind(_DIAGNOSIS)
    if start < 0:
        return None, ()
    headline, _, rest = tail[start + len(_DIAGNOSIS) :].partition("\n")
    sections: list[tuple[str, list[str]]] = []
    after: list[str] = []
    for line in rest.splitlines():
        if re.match(r"[A-Z][A-Za-z ]*:$", line):
            sections.append((line[:-1], []))
        elif is_statistic(line):
            break
        elif line and not line[0].isspace():
            after.append(line)
        elif sections:
            sections[-1][1].append(line)
    diagnosis = Diagnosis(headline.strip(), tuple((title, _dedent(lines)) for title, lines in sections))
    return diagnosis, tuple(line for line in after if not is_trace(line))


def _dedent(lines: list[str]) -> str:
    return "\n".join(line.removeprefix("  ") for line in lines).strip("\n")
