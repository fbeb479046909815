"""What kind of line a verifier log line is.

No kernel version is consulted: a distribution kernel may print any mixture, so every line is judged by its own shape.
The shapes were collected from real logs of Linux 5.10, 6.1, 6.12, 6.18, 7.2 and 7.3 and from ``kernel/bpf/verifier.c``
and ``kernel/bpf/log.c`` of 5.10 to 7.1; 7.3's report from ``kernel/bpf/diagnostics.c``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum

__all__ = [
    "INSN",
    "PROCESSED",
    "SOURCE_AT",
    "Kind",
    "is_noise",
    "is_note",
    "is_statistic",
    "is_trace",
    "kind_of",
    "kinds_of",
    "source_of",
    "split_insn",
    "without_listings",
    "without_literals",
]

INSN = re.compile(r"(\d+): \([0-9a-f]{2}\) ")
PROCESSED = re.compile(
    r"processed (\d+) insns(?: \(limit (\d+)\))?(?: max_states_per_insn (\d+))?(?: total_states (\d+))?"
    r"(?: peak_states (\d+))?(?: mark_read (\d+))?"
)
SOURCE_AT = re.compile(r"; ?(.*) @ (\S*):(\d+)$")
# The text of an instruction (kernel/bpf/disasm.c), as far as a message may follow it on the same line.
_MEMORY = r"\*\(\w+ \*\)(?:\([rw]\d+ [-+]\d+\)|skb\[[^\]]*\])"
_INSN_TEXT = re.compile(
    r"\d+: \([0-9a-f]{2}\) (?:"
    r"(?:may_)?goto\w* (?:pc)?[-+]?\d+|goto\w* r\d+|if \S+ \S+ \S+ goto (?:pc)?[-+]\d+|exit"
    r"|call (?:pc[-+]\d+|\S+#-?\d+)"
    rf"|(?:lock )?{_MEMORY} \S*= -?\w+|[rw]\d+ \S*= (?:{_MEMORY}|\(s\d+\)[rw]\d+|(?:be|le|bswap)\d+ [rw]\d+"
    r"|\w+\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|-?\w+(?: ll)?))"
)
# A heading, and below it the program or a part of it.
_LISTING = re.compile(
    r"^(?:stack use/def )?subprog#\d+[: ].*\n(?:(?: *\d+: \([0-9a-f]{2}\) | +(?:use|def|at|call):).*\n)*", re.MULTILINE
)
# A line that quotes source, up to its end: ";" lines, check_cfg()'s and those of 7.3's report. No message and no
# register state has a double quote.
_QUOTING = re.compile(r"^(?:;|\d+: | *(?:>>>)? *\d+ \| )[^\n\"]*\"[^\n]*", re.MULTILINE)
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)("|$)')


class Kind(IntEnum):
    """The kinds of lines. ``MESSAGE`` is a line that fits no other shape: errors and unknown lines."""

    MESSAGE = 0
    INSN = 1  # 6: (85) call bpf_map_lookup_elem#1    ; R0=...
    SOURCE = 2  # ; v = bpf_map_lookup_elem(...); @ prog.c:6
    STATE = 3  # 8: R6=... before instruction 8, and " R0=..." without a number
    PRECISION = 4  # mark_precise: frame0: regs=r6 stack= before 6: ...
    BRANCH = 5  # from 6 to 2: R0=...
    PRUNED = 6  # from 7 to 11: safe, or 11: safe
    CALL = 7  # caller: / callee: / returning from callee: / to caller at 2:
    SUBPROG = 8  # func#1 @5, Validating f() func#1..., ... is safe for any args
    LIVENESS = 9  # live registers, SCC, live stack
    ANALYSIS = 10  # what 7.1 and later print before the walk
    STATISTIC = 11  # processed ..., verification time ..., stack depth ...
    NOTE = 12  # remarks that are harmless as a rule
    QUOTE = 13  # 10: <source text>, by which check_cfg() quotes source
    BLANK = 14
    WRAPPER = 15  # -- BEGIN PROG LOAD LOG --
    REPORT = 16  # 7.3's report; given by place, not by shape


_REGISTER = r"(?:R\d+(?:_[a-zA-Z]+)?=|fp-?\d+(?:_[a-zA-Z]+)?=|refs=|(?:async_)?cb$)"
_STATE = (
    rf"\d+: *(?:(?:frame\d+: ?)?{_REGISTER}|frame\d+: ?$|$)|(?: *frame\d+: ?| +){_REGISTER}|{_REGISTER}| *frame\d+: ?$"
)
_PRUNED = r"from \d+ to \d+(?: \(speculative execution\))?: safe$|\d+: safe$"
_BRANCH = r"from \d+ to \d+(?: \(speculative execution\))?:"
_PRECISION = (
    r"mark_precise: |regs=[0-9a-f]+ stack=[0-9a-f]+ before |last_idx \d+ first_idx|force_precise: "
    r"|parent (?:didn't|already|state)|(?:frame ?\d+:? )?propagating "
)
_SUBPROG = (
    r"func#\d+ @\d|(?:Func|func)#\d+ (?:\('[^']*'\) )?is (?:global|safe)|Validating .*func#\d"
    r"|frame\d+ bpf_loop iteration limit"
)
_LIVENESS = (
    r"Live regs before insn:| +(?:\d+ +)?\d+: [0-9.]{10} \(|SCC (?:enter|exit|backedge)"
    r"|\([\d,]+\) (?:frame \d|live stack)"
)
_ANALYSIS = r"topo_order\[|subprog#\d+[: ]|stack use/def| +\d+: \([0-9a-f]{2}\) | +(?:use|def|at|call):"
_STATISTIC = (
    r"verification time \d|stack depth |insns processed \d|(?=processed )processed \d+ insns"
    r"|subprog \d+ \(.*\) \w+ insns_self \d"
)
# Printed while the prototype of a global function is checked. The check continues without it, so on most kernels this
# is the last line of an accepted log at level 4; about the argument of a kfunc, the same message ends the load.
_MUTTER = (
    r"Unrecognized arg#\d|arg#\d+ type is not a struct|reg type unsupported for arg#\d"
    r"|arg#\d+ reference type\(.*\) size cannot be determined"
)
_NOTE = rf"func '[^']*' arg\d+ (?:has btf_id|type)|(?:cur|old) state:|marking pointer arg\d|CO-RE relocating |{_MUTTER}"

# One group per kind, in the order of ``Kind``: the number of the group that matched is the kind.
_KINDS = re.compile(
    "|".join(
        f"({shape})"
        for shape in (
            r"\d+: \([0-9a-f]{2}\) ",
            ";",
            _STATE,
            _PRECISION,
            rf"(?!{_PRUNED}){_BRANCH}",
            _PRUNED,
            r"caller:|callee:|returning from callee:|to caller at \d",
            _SUBPROG,
            _LIVENESS,
            _ANALYSIS,
            _STATISTIC,
            _NOTE,
            r"\d+: ",
            r"\s*$",
            r"-+ (?:BEGIN|END) PROG",
        )
    )
)
_is_mutter = re.compile(_MUTTER).match
# Printed of programs that load all the same: the first while a static function's arguments are compared with its
# prototype (5.13 to 6.7, arenas later too), the second is a warning to root (4.17 and later).
_is_noise = re.compile(
    r"R\d type=\S+ expected=fp$|trace type programs with run-time allocated hash maps are unsafe"
).match
_MESSAGES = frozenset((Kind.MESSAGE, Kind.STATISTIC, Kind.QUOTE))


def kinds_of(lines: Iterable[str]) -> bytes:
    """The kind of every line, a byte each; the fast path of the parser."""
    return bytes([found.lastindex if found else 0 for found in map(_KINDS.match, lines)])  # type: ignore[misc]


def kind_of(line: str) -> Kind:
    """The kind of one line."""
    found = _KINDS.match(line)
    return Kind(found.lastindex or 0) if found else Kind.MESSAGE


def is_note(line: str) -> bool:
    """A remark that is usually harmless: it is the error only if the log has no other message."""
    return _is_mutter(line) is not None


def is_noise(line: str) -> bool:
    """A message that stands in the logs of accepted programs too: the error only if nothing else is said."""
    return _is_noise(line) is not None


def split_insn(line: str) -> tuple[str, str]:
    """An instruction's line, and the message that follows it without a newline; "" when there is none.

    Since 6.1 a jump is printed without its newline, so whatever is printed next stands behind it.
    """
    found = _INSN_TEXT.match(line)
    rest = line[found.end() :].strip() if found else ""
    if found is None or not rest[:1].isalpha() or kind_of(rest) is not Kind.MESSAGE:
        return line, ""
    return line[: found.end()], rest


def without_listings(text: str) -> str:
    """A log without the listings of the program that 7.1 and later print before the walk (level 2): their lines look
    like walked instructions from the hundredth on."""
    return _LISTING.sub("", text) if "subprog#" in text else text


def without_literals(text: str) -> str:
    """A log with the string literals of the source that it quotes filled with a character that no log has. It is as
    long as the log was, so positions stay."""
    if '"' not in text:
        return text
    return _QUOTING.sub(lambda line: _LITERAL.sub(_filled, line[0]), text)


def _filled(literal: re.Match[str]) -> str:
    return '"' + "\0" * len(literal[1]) + literal[2]


def is_statistic(line: str) -> bool:
    """One of the closing lines: ``processed ...``, ``verification time ...``, ``stack depth ...``."""
    return kind_of(line) is Kind.STATISTIC


def is_trace(line: str) -> bool:
    """A line of the trace or a harmless note: anything that is not a message about what is wrong."""
    return kind_of(line) not in _MESSAGES


def source_of(line: str) -> tuple[str, str | None, int | None] | None:
    """The C source a line quotes: (text, base name of the file, line number), or None where nothing is known (line 0).

    Linux before 6.8 prints ``; text`` alone. The quote also hangs behind an instruction (``5: (56) if ... ; i++; @
    x.c:69``, level 1 since 6.1), where only the ``@`` tells it from a register state.
    """
    if line.startswith(";"):
        found = SOURCE_AT.match(line)
        if found:
            text, file, number = found.groups()
            return (text, file, int(number)) if file and int(number) else None
        return (line[1:].strip(), None, None) if line[1:].strip() else None
    if INSN.match(line) and (found := re.search(r" ; (.*) @ (\S+):([1-9]\d*)$", line)):
        return found[1], found[2], int(found[3])
    return None
