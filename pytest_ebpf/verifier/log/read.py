"""The text of a verifier log -> the one useful line, where it happened, and what the check cost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypedDict

from pytest_ebpf.verifier.log.lines import (
    INSN,
    PROCESSED,
    is_noise,
    is_note,
    is_statistic,
    is_trace,
    source_of,
    split_insn,
)
from pytest_ebpf.verifier.log.values import Diagnosis, SourceLine, VerifierStats

__all__ = [
    "LogFields",
    "parse_stats",
    "read_log",
]

_TAIL = 65536  # bytes; the error, its instruction and the statistics are at the end, however long the trace is
_LAST = 300  # lines at the end among which the error and the statistics are, a line per function in 7.3
_FIGURES = 2000  # characters at the end where those are, if the time (level 4) does not lead them
_CUT = 4096  # bytes; shorter texts are never the head of a log that did not fit its buffer
_MOST_MESSAGES = 4
_GLUED = re.compile(r"processed \d+ insns|verification time \d+ usec")
_DIAGNOSIS = "\nVerification failed: "


class LogFields(TypedDict):
    """What ``read_log`` finds, by the names of the fields of ``VerifierLog``."""

    text: str
    error: str
    messages: tuple[str, ...]
    notes: tuple[str, ...]
    error_insn: int | None
    source_line: SourceLine | None
    stats: VerifierStats
    diagnosis: Diagnosis | None


def read_log(text: str, *, refused: bool = False) -> LogFields:
    """The fields of ``parse_log``. Only the end of a long log is read, so the cost does not grow with it."""
    end = text.find("\0")
    text = text if end < 0 else text[:end]
    tail = _tail(text)
    diagnosis, after = _diagnosis(tail)
    body = _body(tail)
    messages, noise = _told(_messages(body), body=body)
    messages += after
    notes = (*(line for line in body if "arg#" in line and is_note(line)), *noise)
    if refused and not messages and not diagnosis:
        messages = notes[-1:]
    stats = _stats(_figures(tail))
    failed = bool(messages or notes or diagnosis) or stats.insns is None or stats.exhausted
    return LogFields(
        text=text,
        error=_join(messages) or (diagnosis.headline if diagnosis else ""),
        messages=messages,
        notes=notes,
        error_insn=_last_insn(body, messages) if failed else None,
        source_line=(_source(body) or _source_before(text, tail)) if failed else None,
        stats=stats,
        diagnosis=diagnosis,
    )


def parse_stats(text: str) -> VerifierStats:
    """The statistics of a log alone, in a fraction of the time of ``parse_log``."""
    end = text.find("\0")
    return _stats(_figures(_tail(text if end < 0 else text[:end])))


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
    lines[-_LAST:] = [part for line in lines[-_LAST:] for part in _unglued(line)]
    if lines and len(tail) > _CUT and not tail.endswith("\n") and not PROCESSED.search(tail):
        lines.pop()  # before 6.4 a log that outgrew its buffer ends anywhere
    while lines and (not lines[-1] or is_statistic(lines[-1])):
        lines.pop()
    return lines


def _unglued(line: str) -> Iterator[str]:
    """A line without the figures that follow its message, and a message apart from the instruction before it."""
    glued = _GLUED.search(line) if "processed " in line or "verification time " in line else None
    if glued and glued.start() and not is_trace(line):
        line = line[: glued.start()]
    insn, message = split_insn(line)
    yield insn.rstrip()
    if message:
        yield message


def _told(messages: tuple[str, ...], *, body: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The messages, and what is noise among them: beside another message, and in a log without a trace."""
    noise = tuple(line for line in messages if is_noise(line))
    if noise and (len(noise) < len(messages) or not any(map(INSN.match, body))):
        return tuple(line for line in messages if line not in noise), noise
    return messages, ()


def _messages(body: list[str]) -> tuple[str, ...]:
    """The error lines: the last lines that are not part of the trace. ``infinite loop`` is followed by the two states
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
    """One line. Several messages belong together: the first has the numbers, the last their meaning."""
    if len(messages) > 2:
        messages = (messages[0], messages[-1])
    return "; ".join(messages)


_AT_INSN = re.compile(
    r"(?:unreachable insn|infinite loop detected at insn|back-edge from insn|jump out of range from insn"
    r"|insn(?= \d+ cannot call)) (\d+)"
)
# What libbpf writes over an instruction that it could not resolve.
_UNRESOLVED = re.compile(r"(\d+): <invalid [\w -]+>")


def _last_insn(body: list[str], messages: tuple[str, ...]) -> int | None:
    for message in messages:
        if found := _AT_INSN.match(message):
            return int(found[1])
    for line in reversed(body):
        if found := INSN.match(line) or _UNRESOLVED.match(line):
            return int(found[1])
    return None


def _source(body: list[str]) -> SourceLine | None:
    """The last line quoted; one whose text is not known (GCC does not record it) only where there is no other."""
    found = list(_sources(reversed(body)))
    return next((source for source in found if source.text), found[0] if found else None)


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
    # looked for from the end: 7.2 also prints "insns processed 5+3", which is another line
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
