"""Patterns for verifier logs: literal text with ``{{regex}}`` holes, as the kernel's own selftests write them.

``invalid access to packet, off={{[0-9]+}}`` is literal but for the number. A pattern is searched for in each line of
the log; one that holds a newline is searched for across lines.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from pytest_ebpf.errors import UsageError
from pytest_ebpf.verifier.lines import is_statistic, is_trace

__all__ = ["Match", "Miss", "compile_pattern", "match"]

_HOLE = re.compile(r"\{\{(.*?)\}\}(?!\})", re.DOTALL)  # "}}}": a hole may end in a quantifier, {{[0-9]{2}}}
_MOST_SHOWN = 3


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
            return f"no line matches {self.pattern!r}: the log holds no message"
        said = "".join(f"\n  {line}" for line in self.instead)
        return f"no line matches {self.pattern!r}; the log says:{said}"


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression. Raises UsageError for a hole that is not one, or is left open."""
    parts: list[str] = []
    end = 0
    for hole in _HOLE.finditer(pattern):
        parts += [re.escape(pattern[end : hole.start()]), f"(?:{_checked(hole[1], pattern=pattern)})"]
        end = hole.end()
    rest = pattern[end:]
    if "{{" in rest:
        raise UsageError(f"pattern {pattern!r}: '{{{{' is never closed", hint="write a hole as {{regex}}")
    return re.compile("".join([*parts, re.escape(rest)]))


def match(text: str, pattern: str) -> Match | Miss:
    """Search a log for a pattern. The last place wins: the error is at the end, its trace before."""
    wanted = compile_pattern(pattern)
    found = _last_anywhere(text, wanted) if "\n" in pattern else _last_in_one_line(text, wanted)
    if found is None:
        return Miss(pattern, _nearest(text, pattern))
    start = text.rfind("\n", 0, found.start()) + 1
    end = text.find("\n", found.end())
    line = text[start : end if end >= 0 else len(text)]
    return Match(line=line, number=text.count("\n", 0, start) + 1, matched=found[0])


def _checked(regex: str, *, pattern: str) -> str:
    try:
        re.compile(regex)
    except re.error as error:
        raise UsageError(f"pattern {pattern!r}: {{{{{regex}}}}} is not a regular expression: {error}") from None
    return regex


def _last_anywhere(text: str, wanted: re.Pattern[str]) -> re.Match[str] | None:
    return next(iter(deque(wanted.finditer(text), maxlen=1)), None)


def _last_in_one_line(text: str, wanted: re.Pattern[str]) -> re.Match[str] | None:
    """The last match that stays in its line, looking at the end of a long log first."""
    end = len(text)
    while end > 0:
        start = text.rfind("\n", 0, max(end - 65536, 0)) + 1
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


def _nearest(text: str, pattern: str) -> tuple[str, ...]:
    from difflib import SequenceMatcher

    literal = _HOLE.sub("", pattern)
    tail = text[-65536:].splitlines()
    messages = [line.strip() for line in tail if not is_trace(line) and not is_statistic(line)]
    unique = list(dict.fromkeys(messages))[-20:]
    unique.sort(key=lambda line: -SequenceMatcher(None, literal, line).ratio())
    return tuple(unique[:_MOST_SHOWN])
