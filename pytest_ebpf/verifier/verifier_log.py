"""The log of the verifier as a value, with everything that can be read out of it."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.verifier.explain.explain import Explanation, explain
from pytest_ebpf.verifier.log import expect
from pytest_ebpf.verifier.log.read import read_log
from pytest_ebpf.verifier.log.trace import Instructions, Trace, parse_trace
from pytest_ebpf.verifier.log.values import Diagnosis, LineInfoLike, ParsedLog, SourceLine, VerifierStats
from pytest_ebpf.verifier.rejection.classify import Rejection, classify

__all__ = ["VerifierLog", "parse_log"]


class _Derived:
    """The trace and the explanation of one log, made on first use: a log may have 64 MiB."""

    def __init__(self) -> None:
        self._trace: Trace | None = None
        self._explanation: Explanation | None = None

    def trace(self, text: str) -> Trace:
        if self._trace is None:
            self._trace = parse_trace(text)
        return self._trace

    def explanation(self, log: ParsedLog) -> Explanation | None:
        if self._explanation is None and log.rejected:
            self._explanation = explain(log, trace=self.trace(log.text))
        return self._explanation


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
    stats: VerifierStats = field(default_factory=VerifierStats)
    diagnosis: Diagnosis | None = None
    log_level: int = 0
    line_info: Sequence[LineInfoLike] = ()
    _derived: _Derived = field(default_factory=_Derived, init=False, repr=False, compare=False)

    @property
    def rejected(self) -> bool:
        """Whether this is the log of a program that did not load. A log without a verdict (empty, or cut off before
        the statistics) counts as one: what loads ends with statistics at every log level above 0. So does one that
        walked more instructions than are allowed: 6.1 prints no message then."""
        return bool(self.messages or self.diagnosis) or self.stats.insns is None or self.stats.exhausted

    @property
    def rejection(self) -> Rejection | None:
        """The class of the rejection, with a headline; None for an accepted program."""
        return classify(self)

    @property
    def trace(self) -> Trace:
        """Every line of the log with its kind; instructions, states, branches and sources as values."""
        return self._derived.trace(self.text)

    @property
    def instructions(self) -> Instructions:
        """Every instruction that the verifier walked, in order (log levels 1 and 2)."""
        return self.trace.instructions

    @property
    def explanation(self) -> Explanation | None:
        """Why the program was rejected: line, instruction, registers and their history; None for an accepted one."""
        return self._derived.explanation(self)

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


def parse_log(text: str, *, log_level: int = 0, refused: bool = False) -> VerifierLog:
    """Parse the log of one BPF_PROG_LOAD, accepted or rejected. Never raises; unknown lines are kept in ``text``.

    ``refused``: the kernel is known to have refused the program, so a remark that is harmless as a rule is the reason
    where nothing else is printed. Only the end of a long log is read, so the cost does not grow with it.
    """
    return VerifierLog(**read_log(text, refused=refused), log_level=log_level)
