"""Verifier logs out of whatever stands around them: loaders' words, timestamps, indentation, escapes, colours.

libbpf and bpftool put ``-- BEGIN PROG LOAD LOG --`` around a log, Aya puts ``Verifier output: `` before it, cilium/ebpf
indents it (``%+v``) or prints its last lines and ``(19 line(s) omitted)`` (``%v``), iproute2 says
``Verifier analysis:``, bcc ``HINT:`` behind it. CI systems, journald and dmesg put something before every line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_ebpf.verifier.log.lines import INSN, PROCESSED, Kind, kind_of, kinds_of
from pytest_ebpf.verifier.rejection.rules import matches

__all__ = ["Found", "unwrap"]

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BEGIN = re.compile(r"-+ BEGIN (?:PROG|BTF) LOAD LOG -+")
_END = re.compile(r"-+ END (?:PROG|BTF) LOAD LOG -+")
_PROGRAM = re.compile(r"prog(?:ram)? '?([\w.\-/]+)'?:")
_REFUSED = re.compile(
    r"(?:load failed: |load program: |rejected: |Failed to load program: |returned )([A-Z]?[^:.\n(]+)"
)
# What a loader says in a line of its own; never the verifier's words.
_DECORATION = re.compile(
    r"libbpf: |Error: |error: |Caused by:|\s+\d+: .*\(os error \d+\)|.*\(os error \d+\)$|HINT: |bpf: Failed to load"
    r"|Prog section "
    r"| - (?:Type|Instructions|License|Attach|Bounds):|Verifier analysis:|BPF program load failed|Failed to (?:load"
    r"|open)"
    r"|failed to (?:load|open)|.*failed to load object|Stack backtrace|panic: |goroutine |exit status |\[\.\.\. cut"
)
_LEADS = re.compile(r".*(?:Verifier output: |[Vv]erifier (?:log|error|output)[:=] ?|load program: [^:]*: ?)")
_OMITTED = re.compile(r" ?\((?:truncated, )?\d+ line\(s\) omitted\)\s*$")
_TRACE = frozenset(Kind) - {Kind.MESSAGE, Kind.BLANK, Kind.NOTE, Kind.QUOTE, Kind.STATISTIC, Kind.WRAPPER}
_SHARE = 0.6  # of the lines must begin with a prefix for it to count as one


@dataclass(frozen=True, slots=True)
class Found:
    """A log, the program it is of ("" where nobody says), and the loader's word for the refusal ("" likewise)."""

    text: str
    program: str = ""
    refused: str = ""


def unwrap(text: str) -> tuple[Found, ...]:
    """Every verifier log in a text, in order; at least one, which is empty when the text has none."""
    text = _plain(text)
    if _BEGIN.search(text):
        found = tuple(_between_marks(text))
    else:
        found = tuple(_by_statistics(text))
    return found or (Found("", _program(text), _refused(text)),)


def _plain(text: str) -> str:
    """Without colours, carriage returns, escapes and what stands before every line."""
    text = _ANSI.sub("", text.replace("\r\n", "\n").split("\0", 1)[0])
    if text.count("\\n") > 2 * text.count("\n"):
        text = text.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')
    lines = text.split("\n")
    prefix = _prefix(lines)
    return "\n".join(prefix.sub("", line, count=1) for line in lines) if prefix is not None else text


def _prefix(lines: list[str]) -> re.Pattern[str] | None:
    """What stands before (almost) every line: a timestamp, a name, an indent."""
    counted = [line for line in lines if line.strip()]
    tried: set[str] = set()
    for line in reversed(counted):
        place = PROCESSED.search(line) or re.search(INSN, line)
        before = line[: place.start()] if place is not None else ""
        if not before or len(tried) > 8:
            continue
        shape = _shape(before)
        if shape in tried:
            continue
        tried.add(shape)
        pattern = re.compile("^" + shape)
        if sum(pattern.match(one) is not None for one in counted) >= _SHARE * len(counted):
            return pattern
    return None


def _shape(before: str) -> str:
    """The prefix with its numbers left open; an indent is what it is."""
    if not before.strip():
        return re.escape(before)
    body = before.rstrip()
    gap = " ?" if before != body else ""  # an empty line may have lost the blank
    return re.sub(r"(?:\d|\\\.)+", r"[\\d.]+", re.escape(body)).replace(r"\ ", r"\s+") + gap


def _between_marks(text: str) -> Iterator[Found]:
    """libbpf's wrapping. A log without an end mark goes to the end of the text."""
    marks = list(_BEGIN.finditer(text))
    for number, mark in enumerate(marks):
        limit = marks[number + 1].start() if number + 1 < len(marks) else len(text)
        start = text.find("\n", mark.end()) + 1 or len(text)
        end = _END.search(text, start, limit)
        before = text[max(0, text.rfind("\n", 0, max(0, mark.start() - 200))) : mark.start()]
        named = text[text.rfind("\n", 0, mark.start()) + 1 : mark.start()]
        body = text[start : end.start() if end is not None else limit]
        if end is not None:  # the mark's own line may begin with "libbpf: "
            body = body[: body.rfind("\n") + 1]
        yield Found(body, _program(named), _refused(before))


def _by_statistics(text: str) -> Iterator[Found]:
    """Logs without marks: each ends with the line ``processed ... insns``."""
    lines = text.split("\n")
    start = 0
    for number, line in enumerate(lines):
        if PROCESSED.search(line):
            yield _segment(lines[start : number + 1])
            start = number + 1
    rest = lines[start:]
    if not start or any(kind in (Kind.INSN, Kind.STATE) for kind in kinds_of(rest)):
        found = _segment(rest)
        if found.text.strip():
            yield found


def _segment(lines: list[str]) -> Found:
    """A log and the words before and after it, which are the loader's."""
    words = "\n".join(lines[:40])
    body: list[str] = []
    begun = False
    for line in lines:
        lead = _LEADS.match(line) if not begun else None
        if lead is not None:
            line, body = line[lead.end() :], []
        if not begun and _DECORATION.match(line):
            body = []
            continue
        begun = begun or kind_of(line) in _TRACE
        body += _last_lines(line)
    if not begun:
        body = [line for line in body if line.strip()]
    else:
        body = _without_head(body)
    while body and (_DECORATION.match(body[-1]) or not body[-1].strip()):
        body.pop()
    if not _is_log(body):
        body = []
    # A log that was cut off ends anywhere: then there is no newline to add.
    end = "" if body and body[-1] == lines[-1] and not PROCESSED.search(body[-1]) else "\n"
    return Found("\n".join(body) + end if body else "", _program(words), _refused(words))


def _last_lines(line: str) -> list[str]:
    """A line; cilium/ebpf's summary (``7: (79) r1 = ...: R0 invalid mem access ... (13 line(s) omitted)``) taken "
    "apart."""
    omitted = _OMITTED.search(line)
    if omitted is None:
        return [line]
    line = line[: omitted.start()]
    place = line.find(": ")
    while place >= 0:
        if next(matches(line[place + 2 :]), None) is not None:
            return [line[:place], line[place + 2 :]]
        place = line.find(": ", place + 1)
    return [line]


def _is_log(lines: list[str]) -> bool:
    """Whether anything in it is the verifier's."""
    kinds = set(kinds_of(lines)) - {Kind.QUOTE}
    return bool(kinds & (_TRACE | {Kind.STATISTIC})) or any(next(matches(line), None) for line in lines)


def _without_head(body: list[str]) -> list[str]:
    """From the first line of the trace on: before it nothing of the verifier's stands."""
    for number, line in enumerate(body):
        if kind_of(line) in _TRACE:
            return body[number:]
    return body


def _program(words: str) -> str:
    found = _PROGRAM.search(words)
    return found[1] if found else ""


def _refused(words: str) -> str:
    found = _REFUSED.findall(words)
    return found[-1].strip() if found else ""
