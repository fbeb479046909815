"""Verifier logs out of whatever stands around them: text -> plain lines -> blocks -> logs.

libbpf and bpftool put ``-- BEGIN PROG LOAD LOG --`` around a log, Aya puts ``Verifier output: `` before it, cilium/ebpf
indents it (``%+v``) or prints its last lines and ``(19 line(s) omitted)`` (``%v``), iproute2 prints
``Verifier analysis:``, bcc ``HINT:`` behind it. CI systems, journald and dmesg put something before every line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.verifier.extract.blocks import Block, is_message, split_blocks
from pytest_ebpf.verifier.extract.plain import plain_lines
from pytest_ebpf.verifier.log.lines import INSN, PROCESSED, Kind, kind_of, kinds_of
from pytest_ebpf.verifier.rejection.rules import matches

__all__ = ["Found", "extract_logs"]

_TRACE = frozenset(Kind) - {Kind.MESSAGE, Kind.BLANK, Kind.NOTE, Kind.QUOTE, Kind.STATISTIC, Kind.WRAPPER, Kind.SOURCE}
_OMITTED = re.compile(r" ?\((?:truncated, )?\d+ line\(s\) omitted\)\W*$")
_FIGURES = re.compile(
    r"processed \d+ insns(?: \(limit \d+\))?(?: (?:max_states_per_insn|total_states|peak_states|mark_read) \d+)*"
)
# Where a message may begin within a sentence: a quotation, or what stands behind a colon, a bar or a bracket.
_FRAGMENTS = re.compile(
    r"`+([^`\n]+)`+|\"([^\"\n]+)\"|(?<!\w)'\s*([^\n]+?)\s*'(?=\W|$)|(?:: |\| |\] |> |- |^#+ )(?=(\S.*))"
)
_CLOSERS = " \t`\"'*|,;#"
_CLOSED = re.compile(r"(?<=\w)['\"`]+[.!?]?$")
_LONGEST = 300
_MEASURED = ("processed ", "verification time ", "stack depth ", "insns processed ")


@dataclass(frozen=True, slots=True)
class Found:
    """A log and what the loader said about it: the ``program`` ("" where it is not named), ``refused``, its reason for
    the refusal, ``verdict`` where it names one (``success`` or ``failure``), and its ``words`` around the log. ``text``
    is "" where there are words alone. ``omitted``: cilium/ebpf left lines of the log out. ``accepted``: the
    log is known to be one of an accepted program, and ``text`` is its statistics alone. ``failed``: the loader printed
    what it prints only when a load failed."""

    text: str
    program: str = ""
    refused: str = ""
    verdict: str = ""
    words: str = ""
    omitted: bool = False
    accepted: bool = False
    failed: bool = False


def extract_logs(text: str) -> tuple[Found, ...]:
    """Every verifier log in a text, in order; at least one, which is empty when the text has none."""
    blocks = _merged(split_blocks(_apart(plain_lines(text))))
    found = _different([_found(block) for block in blocks])
    if any(one.text for one in found):
        told = {one.program for one in found if one.text}
        kept = [one for one in found if one.text or (one.refused and one.program not in told)]
        return tuple(one for one in kept if not _is_snippet(one)) or tuple(kept)
    words = "\n".join(one.words for one in found)
    message = next(_fragments(words.split("\n")), "")
    alone = found[0] if found else Found("")
    program = next((one.program for one in found if one.program), "")
    refused = next((one.refused for one in found if one.refused), "")
    return (replace(alone, text=message + "\n" if message else "", program=program, refused=refused, words=words),)


def _is_snippet(one: Found) -> bool:
    """Whether it is some lines of a trace that people quote beside a log: nobody names a program or a verdict."""
    lines = one.text.split("\n")
    known = one.program or one.refused or one.failed or one.omitted or one.verdict or one.accepted
    return not known and bool(lines) and not _says(lines) and not any(map(PROCESSED.search, lines))


def _apart(lines: Iterable[str]) -> Iterator[str]:
    """The lines; cilium/ebpf's summary (``7: (79) r1 = ...: R0 invalid mem access ... (13 line(s) omitted)``) is taken
    apart, the note about omitted lines stands on a line of its own."""
    for line in lines:
        omitted = _OMITTED.search(line)
        if omitted is None or not line[: omitted.start()].strip():
            yield line
            continue
        rest = line[: omitted.start()]
        place = rest.find(": ")
        while place >= 0 and not is_message(rest[place + 2 :]):
            place = rest.find(": ", place + 1)
        insn = INSN.search(rest[: max(place, 0)])
        if insn is not None:
            yield from (rest[: insn.start()], rest[insn.start() : place], rest[place + 2 :])
        else:
            yield rest
        yield omitted[0].strip()


def _merged(blocks: Iterable[Block]) -> list[Block]:
    """Words without a log belong to the log before them if that has no name and no reason yet."""
    found: list[Block] = []
    for block in blocks:
        last = found[-1] if found else None
        if last is None or block.body or not last.body or (last.program and block.program not in ("", last.program)):
            found.append(block)
            continue
        last.named_after += [*block.named_before, *block.named_after]
        last.refused += block.refused
        last.after += [*block.before, *block.after]
    return found


def _found(block: Block) -> Found:
    lines = _log_lines(block)
    words = [*block.before, *block.after]
    if not _says(lines) and (block.refused or not any(map(PROCESSED.search, lines))):
        lines += list(_fragments(words))[:1] if lines else []
    # A log that was cut off ends anywhere: then there is no newline to add.
    whole = not lines or block.over or _says(lines) or block.ended
    return Found(
        "\n".join(lines) + ("\n" if whole else "") if lines else "",
        block.program,
        block.refused[-1] if block.refused else "",
        block.verdict,
        "\n".join(words).strip("\n"),
        "line(s) omitted" in block.gap,
        failed=block.failed,
    )


def _log_lines(block: Block) -> list[str]:
    """The lines that are the verifier's."""
    lines = [_without_end(line) for line in block.body]
    if not block.marked:
        lines = _heading(block) + lines
    while lines and not lines[-1].strip():
        lines.pop()
    while lines and not lines[0].strip():
        lines.pop(0)
    lines = _without_prose(lines, marked=block.marked)
    kinds = set(kinds_of(lines)) - {Kind.QUOTE, Kind.SOURCE}
    return lines if kinds & (_TRACE | {Kind.STATISTIC}) or _says(lines) else []


def _without_end(line: str) -> str:
    """Without what stands behind the figures."""
    figures = _FIGURES.search(line) if "processed " in line else None
    return line[: figures.end()] if figures is not None else line


def _heading(block: Block) -> list[str]:
    """The lines right before a log without a trace (level 4) that are its messages."""
    if not block.body or block.traced:
        return []
    near: list[str] = []
    for line in reversed(block.before):
        if not line.strip():
            break
        near.insert(0, line)
    known = [number for number, line in enumerate(near) if is_message(line) or kind_of(line) is Kind.NOTE]
    if known:
        return near[known[0] :]
    glued = PROCESSED.search(block.body[0])
    # A message that no rule knows; people introduce the figures with a colon.
    return near[-1:] if (glued is None or not glued.start()) and near and near[-1].rstrip()[-1] not in ":?!" else []


def _says(lines: list[str]) -> bool:
    """Whether a message stands behind the trace."""
    for line in reversed(lines):
        kind = kind_of(line)
        if kind in _TRACE and kind is not Kind.REPORT:
            return (kind is Kind.INSN and is_message(line.rpartition(" ; ")[2])) or bool(_glued_message(line))
        if kind in (Kind.MESSAGE, Kind.QUOTE) and is_message(line):
            return True
    return False


def _glued_message(line: str) -> str:
    """The message behind an instruction on the same line."""
    if INSN.match(line) is None:
        return ""
    place = line.find(" ", line.find(") ") + 2)
    while place >= 0:
        if is_message(line[place + 1 :]):
            return line[place + 1 :]
        place = line.find(" ", place + 1)
    return ""


def _without_prose(lines: list[str], *, marked: bool) -> list[str]:
    """Behind the trace, where a rule knows a line: that one, and others only between the loader's marks."""
    start = len(lines)
    while start and kind_of(lines[start - 1]) not in _TRACE:
        start -= 1
    tail = lines[start:]
    tail = _rejoined(tail)
    lines = lines[:start] + tail
    known = [number for number, line in enumerate(tail) if kind_of(line) is Kind.MESSAGE and is_message(line)]
    if marked or not known or any(line.startswith("Verification failed: ") for line in tail):
        return lines
    kept = []
    for number, line in enumerate(tail):
        free = kind_of(line) is Kind.MESSAGE and number not in known and not PROCESSED.search(line)
        if not free or (number and number - 1 in known and tail[number - 1].rstrip().endswith(",")):
            kept.append(line)
    return lines[:start] + kept


def _rejoined(tail: list[str]) -> list[str]:
    """A message that was wrapped is one line again: where no line is known, but two or three together are."""
    if any(is_message(line) for line in tail):
        return tail
    for at in range(len(tail) - 1):
        for more in (2, 3):
            parts = tail[at : at + more]
            if any(PROCESSED.search(line) for line in parts[1:]) or not parts[0].strip():
                continue
            whole = next((text for text in (" ".join(parts), "".join(parts)) if is_message(text)), None)
            if whole is not None:
                return [*tail[:at], whole, *tail[at + more :]]
    return tail


def _fragments(lines: Iterable[str]) -> Iterator[str]:
    """Messages of the verifier within prose: a line of their own, a quotation, or what stands behind a colon."""
    for line in lines:
        for part in (line, *(one for found in _FRAGMENTS.finditer(line) for one in found.groups() if one)):
            part = _bare(part.strip())
            if part and len(part) < _LONGEST and _is_strict(part):
                yield part
                break


def _bare(part: str) -> str:
    """Without the marks around it. A quote at its end that belongs to one within (``... access 'inv'``) stays."""
    bare = part.strip(_CLOSERS)
    if bare.count("'") % 2 and f"{bare}'" in part:
        return f"{bare}'"
    return _CLOSED.sub("", bare) if bare.count("'") % 2 or bare.endswith(('"', "`", ".", "!", "?")) else bare


def _is_strict(text: str) -> bool:
    """Whether a rule knows the text by its beginning: rules that look for a word anywhere would find it in prose."""
    return is_message(text) and any(re.match(rule.pattern, "so " + text) is None for rule, _ in matches(text))


def _different(found: Iterable[Found]) -> list[Found]:
    """A log that is shown twice, or whose end is shown again (a summary), is told once. Other logs between the two tell
    them apart."""
    kept: list[Found] = []
    key: tuple[str, ...] = ()
    for one in found:
        lines = tuple(" ".join(line.split()) for line in one.text.split("\n") if line.strip())
        if not kept or not _same(lines, key, one=one, two=kept[-1]):
            kept.append(one)
            key = lines
            continue
        last = kept[-1]
        kept[-1] = replace(
            one if len(lines) > len(key) else last,
            program=last.program or one.program,
            refused=last.refused or one.refused,
            words=last.words + "\n" + one.words,
        )
        key = max(key, lines, key=len)
    return kept


def _same(key: tuple[str, ...], other: tuple[str, ...], *, one: Found, two: Found) -> bool:
    if not key or not other or (one.program and two.program and one.program != two.program):
        return False
    if not _says(one.text.split("\n")):
        return False
    short, long = sorted((_unmeasured(key), _unmeasured(other)), key=len)
    figures = {line for line in (*key, *other) if line.startswith("processed ")}
    # A title or a summary has the message alone.
    alone = one.omitted or two.omitted or not any(kind in _TRACE for kind in kinds_of(list(short)))
    return len(figures) < 2 and bool(short) and long[-len(short) :] == short and (alone or len(short) == len(long))


def _unmeasured(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The lines without those that hold figures."""
    return tuple(line for line in lines if not line.startswith(_MEASURED))
