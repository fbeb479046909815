"""The console of a guest, and the line of it that shows why the guest died."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "console_size",
    "console_tail",
    "excerpt",
    "find_complaint",
    "find_death",
    "find_last_words",
    "last_line",
    "read_from",
]

_STAMP = re.compile(r"^\[ *\d+\.\d+\](\[ *[TC]\d+\])? ?")
_PANIC = re.compile(r"Kernel panic - not syncing: (?P<why>.*)")
# The first line of an oops: arch/x86/mm/fault.c, arch/x86/kernel/dumpstack.c and traps.c, lib/bug.c.
_OOPS = re.compile(r"(BUG: .*|kernel BUG at .*|Oops: .*|general protection fault.*|traps: PANIC: .*|PANIC: double .*)")
_OUT_OF_MEMORY = re.compile(r"^(\[.*?\] )?Out of memory: Killed process", re.MULTILINE)  # mm/oom_kill.c
# What a kernel that lives says, after text that any process may have written: of process 1, sysrq and reboot(2).
_LIVED_ON = re.compile(r"^(\[.*?\] )?(pytest-ebpf: |sysrq: Resetting|reboot: )", re.MULTILINE)
_QEMU = re.compile(r"^(\S*qemu-system-\S+: )?(error: )?")
_MAX_TAIL = 1 << 18
_BEFORE = 4  # lines shown before the first of a death


def find_death(console: str) -> str:
    """Why this kernel died: its panic line and, before it, the oops that led there; empty if it did not die."""
    panic = _PANIC.search(console)
    if panic is None or _LIVED_ON.search(console, panic.end()):
        return ""
    why = f"kernel panic: {panic['why'].strip()}"
    oops = next(iter(_OOPS.findall(console[: panic.start()])), "")
    return f"{why} ({oops.strip()})" if oops else why


def find_last_words(console: str) -> str:
    """The last message of the agent's process 1, and whether memory ran out; empty if none."""
    said = re.findall(r"^pytest-ebpf: (.*)$", console, re.MULTILINE)
    words = [str(said[-1])] if said else []
    if _OUT_OF_MEMORY.search(console):
        words.append("it ran out of memory")
    return ", ".join(words)


def find_complaint(messages: str) -> str:
    """The first of QEMU's messages that is more than a warning, without QEMU's name; empty if there is none."""
    lines = (line.strip() for line in messages.splitlines())
    return next((_QEMU.sub("", line) for line in lines if line and "warning:" not in line), "")


def console_tail(path: Path, *, lines: int = 40, since: int = 0) -> str:
    """The last ``lines`` lines behind byte ``since``; of a kernel that died, those from the first line of its death on,
    with what led there.

    Empty if there is no such file.
    """
    text = read_from(path, max(since, console_size(path) - _MAX_TAIL))
    return "\n".join(excerpt(text.splitlines(), lines=lines))


def excerpt(console: Sequence[str], *, lines: int) -> list[str]:
    """At most ``lines`` lines: the end, or the first death and the end."""
    found = (i for i, line in enumerate(console) if _OOPS.search(line) or _PANIC.search(line))
    death = next(found, None) if find_death("\n".join(console)) else None
    start = max(0, len(console) - lines) if death is None else max(0, death - _BEFORE)
    rest = list(console[start:])
    if len(rest) <= lines:
        return rest
    head = lines * 2 // 3
    return [*rest[:head], "[…]", *rest[head + 1 - lines :]]


def last_line(path: Path) -> str:
    """The last line, without its time stamp."""
    return _STAMP.sub("", console_tail(path, lines=1)).strip()


def read_from(path: Path, offset: int) -> str:
    """The text after byte ``offset``; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read().decode(errors="replace").replace("\r", "")
    except OSError:
        return ""


def console_size(path: Path) -> int:
    """Bytes so far; 0 if there is no such file."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
