"""Logs of any size, with bounded memory: blocks of lines as they come, and a digest that keeps the end.

A level-2 log can have hundreds of megabytes; the error is at its end, and the cost in its last line.
"""

from __future__ import annotations

import codecs
from collections import Counter, deque
from collections.abc import Iterable, Iterator

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.verifier.log.lines import Kind
from pytest_ebpf.verifier.log.trace import Trace, parse_trace
from pytest_ebpf.verifier.verifier_log import VerifierLog, parse_log

__all__ = ["Digest", "digest_log", "read_blocks"]

_BLOCK = 1 << 20  # characters parsed at once
_WINDOW = 8 << 20  # characters kept for the log at the end
_MOST_UNKNOWN = 100
_REPORT = "\nVerification failed: "
_LONGEST_REPORT = 1 << 20


@dataclass(frozen=True, slots=True)
class Digest:
    """The summary of a log of any size: the parsed ``log`` (of its last megabytes; ``cut`` when longer), the number
    of ``lines`` and of each kind, the ``size`` in characters, and the first hundred of ``unknown_lines``."""

    log: VerifierLog
    counts: dict[Kind, int]
    lines: int
    size: int
    cut: bool
    unknown: tuple[str, ...]
    unknown_lines: int


def read_blocks(chunks: Iterable[bytes | str]) -> Iterator[Trace]:
    """Parse a log piece by piece. The pieces may be cut anywhere, in the middle of a character too; bytes that are no
    UTF-8 become surrogates (``errors="surrogateescape"``), so that encoding gives them back.

    The blocks' ``render()`` one after the other are the log. Every block but the last ends with a newline, so its last
    line is empty.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    waiting: list[str] = []
    size = 0
    for chunk in chunks:
        text = decoder.decode(chunk) if isinstance(chunk, bytes) else chunk
        waiting.append(text)
        size += len(text)
        if size >= _BLOCK:
            whole = "".join(waiting)
            end = _block_end(whole)
            if end:
                yield parse_trace(whole[:end])
            waiting, size = [whole[end:]], len(whole) - end
    rest = "".join(waiting) + decoder.decode(b"", final=True)
    if rest:
        yield parse_trace(rest)


def _block_end(text: str) -> int:
    """Behind the last newline, but before a report that is not over; at the end when one line is longer than that."""
    end = text.rfind("\n") + 1
    report = text.rfind(_REPORT)
    if report >= 0 and "\nprocessed " not in text[report:] and len(text) - report < _LONGEST_REPORT:
        end = report + 1
    return end or (len(text) if len(text) > 4 * _BLOCK else 0)


def digest_log(chunks: Iterable[bytes | str]) -> Digest:
    """Go through a log once; memory does not grow with it."""
    counts: Counter[int] = Counter()
    window: deque[str] = deque()
    held = size = unknown_lines = 0
    unknown: list[str] = []
    for block in read_blocks(chunks):
        text = block.render()
        counts.update(block.kinds)
        if text.endswith("\n"):
            counts[Kind.BLANK] -= 1  # split() returns an empty string after the last newline, which is not a line
        unknown_lines += len(block.unknown)
        unknown += block.unknown[: _MOST_UNKNOWN - len(unknown)]
        window.append(text)
        size += len(text)
        held += len(text)
        while held - len(window[0]) >= _WINDOW:
            held -= len(window.popleft())
    return Digest(
        parse_log("".join(window)),
        {Kind(kind): number for kind, number in sorted(counts.items()) if number},
        sum(counts.values()),
        size,
        held < size,
        tuple(unknown),
        unknown_lines,
    )
