"""The parts of a verifier log as values: statistics, a source line, the report of Linux 7.3."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol

from pytest_ebpf.frozen import dataclass

__all__ = ["Diagnosis", "LineInfoLike", "ParsedLog", "SourceLine", "VerifierStats", "locate"]


@dataclass(frozen=True, slots=True)
class VerifierStats:
    """What verification cost. A figure that this kernel or log level does not print is None.

    ``insns`` counts instructions walked, of ``limit`` allowed; ``states`` is the kernel's total_states;
    ``stack`` holds the bytes of stack of the main program and of each subprogram (log level 4, Linux 5.2), and
    ``stack_max`` their worst sum along a call chain (printed since 7.2; before, the sum of what is listed);
    ``time_us`` is the verification time that the kernel reports, in microseconds (log level 4).
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

    @property
    def exhausted(self) -> bool:
        """Whether more instructions were walked than are allowed."""
        return self.insns is not None and self.limit is not None and self.insns > self.limit


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of C. ``file`` and ``line`` are None where the kernel (before 6.8) prints the text alone."""

    text: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else self.file
        return ": ".join(part for part in (place, self.text) if part)


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


class ParsedLog(Protocol):
    """A parsed log (``VerifierLog``) as the rules and the explanation read it."""

    @property
    def text(self) -> str: ...
    @property
    def error(self) -> str: ...
    @property
    def messages(self) -> tuple[str, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def error_insn(self) -> int | None: ...
    @property
    def source_line(self) -> SourceLine | None: ...
    @property
    def diagnosis(self) -> Diagnosis | None: ...
    @property
    def stats(self) -> VerifierStats: ...
    @property
    def line_info(self) -> Sequence[LineInfoLike]: ...
    @property
    def rejected(self) -> bool: ...


def locate(log: ParsedLog, line_info: Sequence[LineInfoLike]) -> SourceLine | None:
    """The source line of the error, from our own line info (sorted by ``insn``) where the log knows the instruction,
    else from the log: also on kernels whose log names no file, and at log levels without source."""
    if log.error_insn is not None and line_info:
        index = bisect_right(line_info, log.error_insn, key=lambda row: row.insn)
        if index:
            row = line_info[index - 1]
            return SourceLine(row.text.strip(), row.file.removeprefix("./") or None, row.line or None)
    return log.source_line
