"""Lines -> blocks: the log of one program each, with the words of the loader around it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pytest_ebpf.verifier.extract.framing import Role, frame_of
from pytest_ebpf.verifier.log.lines import PROCESSED, Kind, kind_of
from pytest_ebpf.verifier.rejection.rules import RULES

__all__ = ["Block", "is_message", "split_blocks"]

_FRAMED = (Kind.MESSAGE, Kind.QUOTE, Kind.WRAPPER, Kind.SOURCE, Kind.STATISTIC, Kind.BLANK)
_TRACE = frozenset(Kind) - {Kind.MESSAGE, Kind.BLANK, Kind.NOTE, Kind.QUOTE, Kind.STATISTIC, Kind.WRAPPER, Kind.SOURCE}
_START = re.compile(r"(?:func#0 @0|0: (?:\([0-9a-f]{2}\) |R1=))")
_REPORT = "Verification failed: "
_LONGEST = 1024  # characters in which the kernel formats a message (BPF_VERIFIER_TMP_LOG_SIZE)
# All rules in one regular expression: whether one of them fits is asked of many lines.
_RULES = re.compile("|".join(f"(?:{re.sub(r'[(][?]P<[a-z0-9]+>', '(?:', rule.pattern)})" for rule in RULES))


class Block:
    """The lines of one log while it is read: the loader's words ``before`` and ``after``, and the ``body``.

    ``marked``: the loader said where the log begins. ``over``: nothing more belongs to the body. ``said``: a line that
    a rule knows stands behind the last instruction.
    """

    def __init__(self) -> None:
        self.before: list[str] = []
        self.body: list[str] = []
        self.after: list[str] = []
        self.named_before: list[str] = []
        self.named_after: list[str] = []
        self.refused: list[str] = []
        self.verdict = ""
        self.gap = ""  # the lines that say that others were left out
        self.marked = self.over = self.ended = self.failed = self.traced = self.reported = self.said = False

    @property
    def program(self) -> str:
        """The program it is of: the one named last before the log, else the first one behind it."""
        return next(iter([*reversed(self.named_before), *self.named_after]), "")

    @property
    def begun(self) -> bool:
        """Whether the log, or the place where it should be, has been seen."""
        return self.marked or bool(self.body)


def is_message(line: str) -> bool:
    """Whether a rule knows the line as a message of the verifier."""
    return _RULES.match(line.strip()[:_LONGEST]) is not None


def split_blocks(lines: Iterable[str]) -> Iterator[Block]:
    """The blocks of a text in order. The last one may have no body: words that belong to no log."""
    block = Block()
    for line in lines:
        kind = kind_of(line)
        framed = frame_of(line) if kind in _FRAMED else None
        if framed is not None and not (block.marked and not block.over and kind is Kind.SOURCE):
            frame, found = framed
            starts = frame.role in (Role.BEGIN, Role.LEAD) or (
                frame.role is Role.TAIL and "refused" in found.groupdict()
            )
            if starts and _belongs_to_next(block, frame.role, found=found):
                yield block
                block = Block()
            block.failed = block.failed or frame.failed
            _framed_line(block, frame.role, found=found)
            continue
        if block.over and block.body and (kind is Kind.STATISTIC or (kind is Kind.MESSAGE and PROCESSED.search(line))):
            yield block
            block = _next_block(block)
        if kind in _TRACE or kind is Kind.SOURCE:
            if _restarts(block, line, kind=kind):
                yield block
                block = Block()
            elif kind is Kind.SOURCE and not block.begun and not _is_quote(line):
                block.before.append(line)
                continue
        _add(block, line, kind=kind)
    yield block


def _next_block(block: Block) -> Block:
    """A log without a trace (level 4) begins with its message, which was taken for words behind the log before it."""
    following = Block()
    while block.after and block.after[-1].strip() and frame_of(block.after[-1]) is None:
        following.before.insert(0, block.after.pop())
    return following


def _belongs_to_next(block: Block, role: Role, *, found: re.Match[str]) -> bool:
    """Whether a line of the loader is about another program than the log before it."""
    program = found.groupdict().get("program")
    other = program is not None and bool(block.program) and program not in (*block.named_before, *block.named_after)
    if not block.begun:
        return other and bool(block.refused) and role is not Role.TAIL
    if role is Role.BEGIN:
        return bool(block.body) or block.over
    if role is Role.LEAD:
        return bool(block.body) and (block.over or program is not None or "refused" in found.groupdict())
    return block.over and other


def _framed_line(block: Block, role: Role, *, found: re.Match[str]) -> None:
    """What a line of the loader says about the block."""
    groups = found.groupdict()
    if groups.get("program"):
        (block.named_after if block.begun and role is Role.TAIL else block.named_before).append(groups["program"])
    if groups.get("refused"):
        block.refused.append(groups["refused"].strip())
    block.verdict = groups.get("verdict") or block.verdict
    line = found.string
    if role is Role.GAP:
        block.gap += line
        # A summary ends with the number of lines left out; the end of a log begins with it.
        block.over = block.over or (block.said and "line(s) omitted" in line)
        return
    if role is Role.BEGIN:
        block.marked = True
        block.before.append(line[: found.end()])
        rest = line[found.end() :]
        if rest.strip() and rest.lstrip()[0] not in ",.;)`":  # prose that goes on
            _add(block, rest, kind=kind_of(rest))
        return
    if (role is Role.END and block.begun) or (block.body and role is not Role.LEAD):
        block.over = True
        block.ended = block.ended or role is Role.END
    (block.after if block.begun else block.before).append(line)


def _restarts(block: Block, line: str, *, kind: Kind) -> bool:
    """Whether the line is of another log than the one before it."""
    if block.over:
        return kind is not Kind.SOURCE or _is_quote(line)
    return block.said and block.traced and _START.match(line) is not None


def _is_quote(line: str) -> bool:
    """Whether a line that begins with a semicolon is the verifier's: people begin few lines so."""
    return line.startswith(("; ", ";  @ "))


def _add(block: Block, line: str, *, kind: Kind) -> None:
    """A line that is not the loader's."""
    if kind is Kind.BLANK and block.marked and not block.body:
        return
    if block.over:
        block.after.append(line)
        return
    if not block.begun and kind in (Kind.MESSAGE, Kind.BLANK, Kind.QUOTE, Kind.NOTE):
        _leading(block, line, kind=kind)
        return
    if kind in _TRACE or kind is Kind.SOURCE:
        # What stands before a trace is a remark about the program's arguments.
        block.said = block.said and kind is not Kind.INSN and (block.traced or kind not in _TRACE)
        block.traced = block.traced or kind in _TRACE
    elif line.startswith(_REPORT):
        block.reported = True
    elif kind in (Kind.MESSAGE, Kind.QUOTE) and not block.reported and not _keeps(block, line):
        block.over = True
        block.after.append(line)
        return
    block.body.append(line)
    figures = PROCESSED.search(line)
    if figures is not None and kind in (Kind.STATISTIC, Kind.MESSAGE):
        block.over = True


def _keeps(block: Block, line: str) -> bool:
    """Whether a line without a shape is a message of this log, or prose behind it."""
    if is_message(line) or _glued(line):
        block.said = True
        return True
    blank = bool(block.body) and not block.body[-1].strip()
    return not (blank and (block.said or not block.marked))


def _glued(line: str) -> bool:
    return PROCESSED.search(line) is not None or "verification time " in line


def _leading(block: Block, line: str, *, kind: Kind) -> None:
    """A line before the first of the trace: a message that stands alone (level 4), or prose."""
    if kind in (Kind.MESSAGE, Kind.NOTE) and _glued(line):
        block.body.append(line)
        block.over = PROCESSED.search(line) is not None
        return
    block.before.append(line)
