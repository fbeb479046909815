"""What a kernel says on its console, and the one line of it that tells why it died."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["console_tail", "find_complaint", "find_death", "find_last_words", "last_line", "read_from"]

_STAMP = re.compile(r"^\[ *\d+\.\d+\](\[ *[TC]\d+\])? ?")
_PANIC = re.compile(r"Kernel panic - not syncing: (?P<why>.*)")
# The first line of an oops: arch/x86/mm/fault.c, arch/x86/kernel/dumpstack.c and traps.c, lib/bug.c.
_OOPS = re.compile(r"(BUG: .*|kernel BUG at .*|Oops: .*|general protection fault.*|traps: PANIC: .*|PANIC: double .*)")
_QEMU = re.compile(r"^(\S*qemu-system-\S+: )?(error: )?")
_MAX_TAIL = 1 << 18


def find_death(console: str) -> str:
    """Why this kernel died: its panic line and, before it, the oops that led there; empty if it did not die."""
    panic = _PANIC.search(console)
    if panic is None:
        return ""
    why = f"kernel panic: {panic['why'].strip()}"
    oops = next(iter(_OOPS.findall(console[: panic.start()])), "")
    return f"{why} ({oops.strip()})" if oops else why


def find_last_words(console: str) -> str:
    """What the agent's process 1 said last of itself, empty if nothing."""
    said = re.findall(r"^pytest-ebpf: (.*)$", console, re.MULTILINE)
    return str(said[-1]) if said else ""


def find_complaint(messages: str) -> str:
    """The first of QEMU's messages that is more than a warning, without QEMU's name; empty if there is none."""
    lines = (line.strip() for line in messages.splitlines())
    return next((_QEMU.sub("", line) for line in lines if line and "warning:" not in line), "")


def console_tail(path: Path, *, lines: int = 40) -> str:
    """The last ``lines`` lines, without carriage returns; empty if there is no such file."""
    text = read_from(path, max(0, _size(path) - _MAX_TAIL))
    return "\n".join(text.splitlines()[-lines:])


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


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
