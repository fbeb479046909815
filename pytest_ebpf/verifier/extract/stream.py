"""Texts of any size: cut into the logs of single programs as they come, with bounded memory.

Most programs in a big text were accepted. Those are told by the line before their figures and cost a few searches; only
what may be a rejection is looked at line by line.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator

from pytest_ebpf.verifier.extract.extract import Found, extract_logs
from pytest_ebpf.verifier.extract.framing import frame_of

__all__ = ["read_logs"]

_BLOCK = 4 << 20  # characters held, unless one log is longer
_SMALL = 1 << 18  # texts up to this size are looked at as a whole
_LONGEST = 1 << 19  # characters of one log that are looked at: its end, where the error is
_HEAD = 1 << 16  # and the loader's words before it
_FIGURES = re.compile(r"processed (\d+) insns(?: \(limit (\d+)\))?[^\n]*\n?")
# What a log of an accepted program ends with, before its figures.
_FINISHED = re.compile(
    r"\d+: \(95\) exit\b|(?:from \d+ to )?\d+(?: \(speculative execution\))?: safe\b|Func#\d+ .*is (?:safe|global)"
)
# Words around a log that speak of a refusal; "-E" begins the name of an error number.
_TROUBLE = (
    *("fail", "reject", "denied", "nvalid", "rror", "efused", "too long", "not permitted", "ould", "nable", "aused by"),
    *(": -E", "=-E", " -E"),
)
_NAMED = re.compile(
    r"prog(?:ram)? '([^']+)'|PROCESSING (?:\S+/)?(\S+), DURATION US: \d+, VERDICT: (\w+)|program ([\w.\-/]+): load"
)
_PASSED_OVER = re.compile(r"\s*$|verification time |stack depth |insns processed |subprog \d|SCC ")
_STARTS = re.compile(
    r"^[^\n]*(?:-- BEGIN (?:PROG|DUMP) |[Vv]erifier output: |load program: |PROCESSING \S+, DURATION "
    r"|load failed: |program failed: |Prog section |bpf: Failed )[^\n]*$",
    re.MULTILINE,
)
_TRACE = re.compile(r"(?:^|[\s>|\]])(?:\d+: (?:\([0-9a-f]{2}\) |R\d)|func#\d+ @|; |processed \d)")


def read_logs(chunks: Iterable[bytes | str]) -> Iterator[Found]:
    """Every verifier log in a text that comes piece by piece, in order; as ``extract_logs`` finds them."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    waiting = ""
    found_some = False
    for chunk in chunks:
        waiting += decoder.decode(chunk) if isinstance(chunk, bytes) else chunk
        if len(waiting) < _BLOCK:
            continue
        found, settled = _settled(waiting)
        yield from found
        found_some = found_some or bool(found)
        waiting = waiting[settled:]
        if len(waiting) > 2 * _BLOCK:
            waiting = _shortened(waiting)
    waiting += decoder.decode(b"", final=True)
    if not found_some and len(waiting) <= _SMALL:
        yield from extract_logs(waiting)
        return
    rest = [one for found, _ in _logs(waiting) for one in found]
    yield from rest
    if not rest and not found_some:
        yield from extract_logs(_shortened(waiting, size=_SMALL))


def _settled(text: str) -> tuple[list[Found], int]:
    """The logs of a text that goes on, and how much of it those are: the last one, and what may be a rejection before
    it, wait for the words behind them."""
    found: list[Found] = []
    settled = 0
    for one, end in _logs(text, whole=False):
        found += one
        settled = end
    if settled:
        return found, settled
    end = _last_start(text)
    return (_slow(text[:end]) if end else []), end


def _last_start(text: str) -> int:
    """Where the last log begins, with the loader's lines right before it; 0 if no other one is before it."""
    starts = list(_STARTS.finditer(text))
    while len(starts) > 1 and starts[-1].start() - starts[-2].end() < 2:
        starts.pop()
    return starts[-1].start() if len(starts) > 1 else 0


def _logs(text: str, *, whole: bool = True) -> Iterator[tuple[list[Found], int]]:
    """The logs of a piece, each time with the place up to which all is told. Runs of programs that may have been
    refused are looked at together, with the words behind the last of them."""
    told = after = 0
    words = _gap(text, 0)
    suspect = _is_trouble(words)
    figures = _FIGURES.finditer(text)
    now = next(figures, None)
    while now is not None:
        following = next(figures, None)
        if following is None and not whole:
            return  # the words behind it may not be there yet
        doubtful, before = suspect, words
        words = _gap(text, now.end())
        suspect = _is_trouble(words)
        begin = -1 if doubtful or suspect else _statistics(text, now, after=after)
        if begin >= 0:
            if told < after:
                yield _slow(text[told:after]), after
            told = now.end()
            yield [_accepted(text, now, begin=begin, words=before)], told
        after = now.end()
        now = following
    if whole and text[told:].strip():
        yield _slow(text[told:]), len(text)


def _is_trouble(words: str) -> bool:
    return any(word in words for word in _TROUBLE)


def _gap(text: str, start: int) -> str:
    """The words from the end of a log to the next trace."""
    near = text[start : start + 1000]
    trace = _TRACE.search(near)
    return near[: trace.start()] if trace is not None else near


def _statistics(text: str, figures: re.Match[str], *, after: int) -> int:
    """Where the statistics of an accepted program begin, -1 if the line before them is one that other logs end with:
    an accepted program's trace ends with ``exit`` or ``safe``, or it has none."""
    begin = text.rfind("\n", 0, figures.start()) + 1
    width = figures.start() - begin
    if width > 200 or "\\n" in text[begin : figures.start()] or (figures[2] and int(figures[1]) > int(figures[2])):
        return -1
    while begin > after:
        start = text.rfind("\n", after, begin - 1) + 1 or after
        line = text[start + width : begin - 1]
        if _FINISHED.match(line):
            return begin
        if not _PASSED_OVER.match(line):
            return begin if frame_of(line) else -1
        begin = start
    return begin


def _accepted(text: str, figures: re.Match[str], *, begin: int, words: str) -> Found:
    names = _NAMED.findall(words)
    quoted, veristat, verdict, cilium = names[-1] if names else ("", "", "", "")
    width = figures.start() - text.rfind("\n", 0, figures.start()) - 1
    lines = [line[width:] for line in text[begin : figures.end()].split("\n")]
    return Found("\n".join(lines), quoted or veristat or cilium, "", verdict, accepted=True)


def _slow(text: str) -> list[Found]:
    """What is found line by line. Of a log that is too long the end is looked at."""
    if len(text) > _LONGEST and len(_FIGURES.findall(text)) < 2 and len(_STARTS.findall(text)) < 2:
        text = _shortened(text, size=_LONGEST)
    return [one for one in extract_logs(text) if one.text or one.refused]


def _shortened(text: str, *, size: int = _BLOCK) -> str:
    """The end of a log that is too long, and the loader's words before it."""
    head = text[:_HEAD]
    trace = _TRACE.search(head)
    words = head[: head.rfind("\n", 0, trace.start()) + 1] if trace is not None else ""
    return words + text[text.find("\n", len(text) - size) + 1 :]
