"""Expectations about a text (a verifier log, a listing, a stream), as the kernel's own selftests write them.

- A plain string is literal but for ``{{regex}}`` holes. Several are looked for in order, each behind the one before.
- ``absent(...)`` must not come between the expectation before it and the one behind it.
- ``next_line(...)`` has to match on the line right after that of the expectation before it.

Rules: validate_msgs() in tools/testing/selftests/bpf/test_loader.c (Linux 6.12; negatives as of 6.18).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.verifier.log.lines import is_statistic, is_trace, without_literals
from pytest_ebpf.verifier.log.pattern import compile_pattern, literal_of

__all__ = [
    "Checked",
    "Match",
    "Miss",
    "Row",
    "Wanted",
    "absent",
    "check",
    "check_log",
    "compile_pattern",
    "expected",
    "match",
    "next_line",
    "require",
]

_MOST_SHOWN = 3
_WINDOW = 65536  # of a long text, this much is looked at for what is there instead
_MOST_COMPARED = 1000
_LOG = "verifier log"
_ONLY_QUOTED = "the verifier does not report it, the log only quotes the source line that has the expectation"
_MARK = re.compile(r"\b(R\d+|fp-\d+)_[rwPD]+=")  # written, read: until Linux 6.17
_ALIKE = 0.5  # a line less similar to the pattern than this is not shown


@dataclass(frozen=True, slots=True)
class Wanted:
    """One expectation: ``absent`` negates it, ``next_line`` requires it on the next line."""

    pattern: str
    absent: bool = False
    next_line: bool = False


def absent(pattern: str) -> Wanted:
    """``pattern`` must not come between the expectations around it (from the start, to the end where there is none)."""
    return Wanted(pattern, absent=True)


def next_line(pattern: str) -> Wanted:
    """``pattern`` has to match on the line after that of the expectation before it."""
    return Wanted(pattern, next_line=True)


@dataclass(frozen=True, slots=True)
class Match:
    """Where a pattern matched: the whole line (or lines), its number counted from 1, and the text matched."""

    line: str
    number: int
    matched: str


@dataclass(frozen=True, slots=True)
class Miss:
    """A pattern that is nowhere in the log, and the messages that are there instead, most alike first."""

    pattern: str
    instead: tuple[str, ...]

    def __str__(self) -> str:
        if not self.instead:
            return f"no line matches {self.pattern!r}: the log contains no message"
        said = "".join(f"\n  {line}" for line in self.instead)
        return f"no line matches {self.pattern!r}; the messages of the log are:{said}"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one expectation.

    ``status``: "matched", "absent" (and wanted so), "missing", "wrong line" or "unexpected". ``number`` and ``line``:
    where it matched, counted from 1; 0 and "" where it did not. ``instead``: lines that are there, each with its
    number; ``note``: a description of these lines.
    """

    wanted: Wanted
    status: str
    number: int = 0
    line: str = ""
    instead: tuple[tuple[int, str], ...] = ()
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is as it was wanted."""
        return self.status in ("matched", "absent")


@dataclass(frozen=True, slots=True)
class Checked:
    """Expectations held against a text. ``str()`` is the table of what matched, what was expected and what was there
    instead. ``what``: a name for the text."""

    rows: tuple[Row, ...]
    what: str = "log"

    @property
    def ok(self) -> bool:
        """Whether every expectation is met."""
        return all(row.ok for row in self.rows)

    def __str__(self) -> str:
        met = sum(row.ok for row in self.rows)
        if self.ok:
            return f"the {self.what} is as expected ({met} of {met})"
        lines = [f"the {self.what} is not what was expected ({met} of {len(self.rows)} expectations met):"]
        for row in self.rows:
            lines += _told(row)
        return "\n".join(lines)


def expected(patterns: Sequence[object]) -> tuple[Wanted, ...]:
    """What a caller wrote, strings and ``Wanted``. ``BpfUsageError`` for anything else, and for text without
    content."""
    found = []
    for pattern in patterns:
        wanted = Wanted(pattern) if isinstance(pattern, str) else pattern
        if not isinstance(wanted, Wanted):
            raise BpfUsageError(
                f"an expectation is text, absent(text) or next_line(text), not {pattern!r}",
                hint='For example: log.expect("R1 type=ctx", absent("processed 0 insns"))',
            )
        if wanted.absent and not wanted.pattern:
            raise BpfUsageError("absent('') can never be met: an empty text is everywhere")
        compile_pattern(wanted.pattern)
        found.append(wanted)
    return tuple(found)


def check(text: str, wanted: Sequence[Wanted], *, what: str = "log") -> Checked:
    """Hold expectations against a text. ``BpfUsageError`` for a pattern that is none."""
    return Checked(_Search(text, wanted, own=text).rows(), what)


def require(text: str, patterns: Sequence[object], *, not_: str | Sequence[str] = ()) -> Checked:
    """As ``check_log``, for what a test author wrote; each text of ``not_`` must be nowhere. ``BpfUsageError`` as
    ``expected``."""
    nowhere = (not_,) if isinstance(not_, str) else tuple(not_)
    rows = check_log(text, expected(patterns)).rows
    for one in expected([absent(pattern) for pattern in nowhere]):
        rows += _check_log(text, [one]).rows
    return Checked(rows, _LOG)


def check_log(text: str, wanted: Sequence[Wanted]) -> Checked:
    """``check`` for a verifier log. Since Linux 6.18 states have no liveness marks: there ``R0_w=1`` of an expectation
    written for older kernels means ``R0=1``.

    A log quotes the source, and with it ``__msg("...")`` on the line of a function: string literals of quoted source
    do not count as what the verifier reports."""
    checked = _check_log(text, wanted)
    if checked.ok or _MARK.search(text):
        return checked
    unmarked = [replace(one, pattern=_MARK.sub(r"\1=", one.pattern)) for one in wanted]
    again = _check_log(text, unmarked) if unmarked != list(wanted) else checked
    return again if again.ok else checked


def _check_log(text: str, wanted: Sequence[Wanted]) -> Checked:
    return Checked(_Search(text, wanted, own=without_literals(text)).rows(), _LOG)


def match(text: str, pattern: str) -> Match | Miss:
    """Search a log for a pattern. The last place wins: the error is at the end, after the trace. String literals of
    quoted source do not count, as in ``check_log``."""
    wanted = compile_pattern(pattern)
    last = _last_anywhere if "\n" in pattern else _last_in_one_line
    found = last(text, wanted)
    if found is not None and not pattern.lstrip().startswith(";"):
        found = last(without_literals(text), wanted)
    if found is None:
        return Miss(pattern, _messages(text, pattern))
    number, line = _line_at(text, found.start(), until=found.end())
    return Match(line=line, number=number, matched=found[0])


class _Search:
    """One pass over a text: what is wanted in order, then what must not be in between. ``own``: the text, as long,
    without what it only quotes. Patterns that begin with ``;`` ask for the quotation."""

    def __init__(self, text: str, wanted: Sequence[Wanted], *, own: str) -> None:
        self._text = text
        self._texts = [text if one.pattern.lstrip().startswith(";") else own for one in wanted]
        self._wanted = tuple(wanted)
        self._regex = [compile_pattern(one.pattern) for one in self._wanted]
        self._spans: list[tuple[int, int] | None] = [None] * len(self._wanted)
        self._from: list[int] = [0] * len(self._wanted)

    def rows(self) -> tuple[Row, ...]:
        self._find_in_order()
        rows = []
        before: int | None = None  # the last expectation that is not negative
        for index, wanted in enumerate(self._wanted):
            rows.append(self._negative(index) if wanted.absent else self._positive(index, before))
            before = before if wanted.absent else index
        return tuple(rows)

    def _find_in_order(self) -> None:
        at = 0
        for index, wanted in enumerate(self._wanted):
            if wanted.absent:
                continue
            self._from[index] = at
            found = self._on_next_line(index, at) if wanted.next_line and at else None
            found = found or self._regex[index].search(self._texts[index], at)
            if found is not None:
                self._spans[index] = found.span()
                at = found.end()

    def _on_next_line(self, index: int, at: int) -> re.Match[str] | None:
        start = self._text.find("\n", max(at - 1, 0) if self._text[at - 1 : at] == "\n" else at) + 1
        if not start:
            return None
        end = self._text.find("\n", start)
        return self._regex[index].search(self._texts[index], start, end if end >= 0 else len(self._text))

    def _positive(self, index: int, before: int | None) -> Row:
        wanted, span = self._wanted[index], self._spans[index]
        if span is None:
            return self._missing(index)
        number, line = _line_at(self._text, span[0], until=span[1])
        last = self._spans[before] if before is not None else None
        if wanted.next_line and last is not None:
            due = _line_at(self._text, max(last[1] - 1, last[0]), until=last[1])[0] + 1
            if number != due:
                there = _nth_line(self._text, due)
                return Row(wanted, "wrong line", number, line, ((due, there),), f"wanted on line {due}, where there is")
        return Row(wanted, "matched", number, line)

    def _missing(self, index: int) -> Row:
        wanted, start = self._wanted[index], self._from[index]
        earlier = self._regex[index].search(self._texts[index], 0, start) if start else None
        if earlier is not None:
            where = _line_at(self._text, earlier.start(), until=earlier.end())
            return Row(wanted, "missing", instead=(where,), note="it is only before the expectation above it")
        if wanted.next_line and start:
            due = _line_at(self._text, start - 1, until=start)[0] + 1
            line = _nth_line(self._text, due)
            note = "on that line there is" if line else "nothing follows"
            return Row(wanted, "missing", instead=((due, line),) if line else (), note=note)
        if quoted := self._regex[index].search(self._text, start):
            where = _line_at(self._text, quoted.start(), until=quoted.end())
            return Row(wanted, "missing", instead=(where,), note=_ONLY_QUOTED)
        note, there = _instead(self._text, wanted.pattern, start=start)
        return Row(wanted, "missing", instead=there, note=note)

    def _negative(self, index: int) -> Row:
        start, end = 0, len(self._text)
        for earlier in range(index):
            if not self._wanted[earlier].absent and (span := self._spans[earlier]):
                start = span[1]
        for later in range(index + 1, len(self._wanted)):
            if not self._wanted[later].absent:
                span = self._spans[later]
                end = span[0] if span else start  # its end is not known: it cannot be checked
                break
        found = self._regex[index].search(self._texts[index], start, end) if start <= end else None
        if found is None or (end == start and found.end() > end):
            return Row(self._wanted[index], "absent")
        number, line = _line_at(self._text, found.start(), until=found.end())
        return Row(self._wanted[index], "unexpected", number, line)


_WORDS = {"matched": "matched", "absent": "absent", "missing": "EXPECTED", "wrong line": "WRONG LINE"}


def _told(row: Row) -> Iterator[str]:
    """The lines of one row: the expectation, and what was found."""
    word = _WORDS.get(row.status, "UNEXPECTED")
    kind = "not " if row.wanted.absent else "next line " if row.wanted.next_line else ""
    yield f"  {word:<10}  {kind}{_quoted(row.wanted.pattern)}"
    if row.number:
        yield f"{'':14}line {row.number}: {row.line.strip()}"
    if row.note:
        yield f"{'':14}{row.note}{':' if row.instead else ''}"
    for number, line in row.instead:
        yield f"{'':14}line {number}: {line.strip()}"


def _quoted(pattern: str) -> str:
    return '"' + pattern.replace("\n", "\\n") + '"'


def _line_at(text: str, position: int, *, until: int) -> tuple[int, str]:
    """The number (from 1) and the text of the line of a position, with all lines up to ``until``."""
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", max(until, position))
    if until > position and text[until - 1 : until] == "\n":
        end = until - 1
    return text.count("\n", 0, start) + 1, text[start : end if end >= 0 else len(text)]


def _nth_line(text: str, number: int) -> str:
    start = 0
    for _ in range(number - 1):
        start = text.find("\n", start) + 1
        if not start:
            return ""
    end = text.find("\n", start)
    return text[start : end if end >= 0 else len(text)]


def _last_anywhere(text: str, wanted: re.Pattern[str]) -> re.Match[str] | None:
    return next(iter(deque(wanted.finditer(text), maxlen=1)), None)


def _last_in_one_line(text: str, wanted: re.Pattern[str]) -> re.Match[str] | None:
    """The last match that stays in its line, looking at the end of a long log first."""
    end = len(text)
    while end > 0:
        start = text.rfind("\n", 0, max(end - _WINDOW, 0)) + 1
        last = None
        position = start
        for line in text[start:end].split("\n"):
            if found := wanted.search(text, position, position + len(line)):
                last = found
            position += len(line) + 1
        if last is not None:
            return last
        end = start - 1 if start else 0
    return None


def _messages(text: str, pattern: str) -> tuple[str, ...]:
    """The messages at the end of a log, those most similar to the pattern first."""
    from difflib import SequenceMatcher

    literal = literal_of(pattern)
    tail = text[-_WINDOW:].splitlines()
    messages = [line.strip() for line in tail if not is_trace(line) and not is_statistic(line)]
    unique = list(dict.fromkeys(messages))[-20:]
    unique.sort(key=lambda line: -SequenceMatcher(None, literal, line).ratio())
    return tuple(unique[:_MOST_SHOWN])


def _instead(text: str, pattern: str, *, start: int) -> tuple[str, tuple[tuple[int, str], ...]]:
    """What to show for a pattern that is not behind ``start``: the line most like it, else what the text ends with."""
    begin = max(0, len(text) - _WINDOW)
    begin = text.find("\n", begin - 1) + 1 if begin else 0
    first = text.count("\n", 0, begin) + 1
    lines = [(first + at, line) for at, line in enumerate(text[begin:].splitlines()) if line.strip()]
    if not lines:
        return "it is empty", ()
    near = _nearest(lines, literal_of(pattern).strip())
    if near is not None:
        above = near[0] <= text.count("\n", 0, start) if start else False
        return "nearest, but not below the expectation above" if above else "nearest", (near,)
    said = [(number, line) for number, line in lines if not is_trace(line) and not is_statistic(line)]
    return "its messages are" if said else "it ends with", tuple((said or lines)[-_MOST_SHOWN:])


def _nearest(lines: list[tuple[int, str]], literal: str) -> tuple[int, str] | None:
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(None, autojunk=False)
    matcher.set_seq2(literal)
    best, near = _ALIKE, None
    for number, line in lines[-_MOST_COMPARED:]:
        matcher.set_seq1(line.strip())
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best and matcher.ratio() > best:
            best, near = matcher.ratio(), (number, line)
    return near
