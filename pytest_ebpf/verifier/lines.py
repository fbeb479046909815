"""What kind of line a verifier log line is.

No kernel version is consulted: a distribution kernel may print any mixture, so every line is judged by its own shape.
The shapes were collected from real logs of Linux 5.10, 6.1, 6.12, 6.18 and 7.2 and from ``kernel/bpf/verifier.c`` and
``kernel/bpf/log.c`` of 5.10 to 7.1; 7.3's report from ``kernel/bpf/diagnostics.c``.
"""

from __future__ import annotations

import re

__all__ = ["INSN", "PROCESSED", "SOURCE_AT", "is_note", "is_statistic", "is_trace", "source_of"]

INSN = re.compile(r"(\d+): \([0-9a-f]{2}\) ")
PROCESSED = re.compile(
    r"processed (\d+) insns(?: \(limit (\d+)\))?(?: max_states_per_insn (\d+))?(?: total_states (\d+))?"
    r"(?: peak_states (\d+))?(?: mark_read (\d+))?"
)
SOURCE_AT = re.compile(r"; ?(.*) @ (\S+):(\d+)$")

_REGISTERS = r"(?:frame\d+: ?)?\s*(?:R\d+(?:_[a-z]+)?=|fp-?\d+(?:_[a-z]+)?=|refs=|(?:async_)?cb$)"
_STATE = re.compile(rf"(?:\d+:)? *(?:{_REGISTERS}|frame\d+: ?$)|\d+: *$")

_STATISTIC = re.compile(
    r"verification time \d|stack depth |insns processed \d|processed \d+ insns|subprog \d+ \(.*\) \w+ insns_self \d"
)

# What is neither an instruction nor a state, and yet never the error. Level 2 prints most of it.
_NOTES = re.compile(
    r"""
      from\ \d+\ to\ \d+                                   # a path starts, or was pruned
    | \d+:\ safe$
    | caller:|callee:|returning\ from\ callee:|to\ caller\ at\ \d
    | func\#\d+\ @\d
    | (?:Func|func)\#\d+\ (?:\('[^']*'\)\ )?is\ (?:global|safe)   # "... is global and assumed valid."
    | Validating\ .*func\#\d
    | Live\ regs\ before\ insn:|\ +(?:\d+\ +)?\d+:\ [0-9.]{10}\ \(
    | SCC\ (?:enter|exit|backedge)|\(\d+\)\ (?:frame\ \d|live\ stack)|\(\d+\)\ .*live\ stack
    | mark_precise:|force_precise:|last_idx\ \d+\ first_idx|regs=[0-9a-f]+\ stack=[0-9a-f]+\ before
    | parent\ (?:didn't|already|state)
    | (?:frame\ ?\d+:?\ )?propagating\ |frame\d+\ bpf_loop\ iteration\ limit
    | topo_order\[|subprog\#\d+:\ |stack\ use/def|\ +\d+:\ \([0-9a-f]{2}\)\ |\ +(?:use|def|at|call):
    | func\ '[^']*'\ arg\d+\ (?:has\ btf_id|type)
    | (?:cur|old)\ state:$
    | -+\ (?:BEGIN|END)\ PROG
    """,
    re.VERBOSE,
)


# Said while a global function's prototype is tried. The check then goes on without it, so on most kernels this is the
# last line of an accepted log at level 4; the same words end the load when a kfunc's argument is concerned.
_MUTTERS = re.compile(
    r"Unrecognized arg#\d|arg#\d+ type is not a struct|reg type unsupported for arg#\d"
    r"|arg#\d+ reference type\(.*\) size cannot be determined"
)


def is_note(line: str) -> bool:
    """A remark that is usually harmless: the error only if nothing else is said."""
    return _MUTTERS.match(line) is not None


def is_statistic(line: str) -> bool:
    """One of the closing lines: ``processed ...``, ``verification time ...``, ``stack depth ...``."""
    return _STATISTIC.match(line) is not None


def is_trace(line: str) -> bool:
    """A line of the trace or a harmless note: anything that is not a message about what is wrong."""
    if not line or line.startswith(";"):
        return True
    return bool(INSN.match(line) or _STATE.match(line) or _NOTES.match(line) or is_note(line))


def source_of(line: str) -> tuple[str, str | None, int | None] | None:
    """The C source a line quotes: (text, base name of the file, line number), or None.

    Linux before 6.8 prints ``; text`` alone. The quote also hangs behind an instruction (``5: (56) if ... ; i++; @
    x.c:69``, level 1 since 6.1), where only the ``@`` tells it from a register state.
    """
    if line.startswith(";"):
        found = SOURCE_AT.match(line)
        if found:
            text, file, number = found.groups()
            return (text, file, int(number)) if text or int(number) else None
        return (line[1:].strip(), None, None) if line[1:].strip() else None
    if INSN.match(line) and (found := re.search(r" ; (.*) @ (\S+):(\d+)$", line)):
        return found[1], found[2], int(found[3])
    return None
