"""Warnings of the kernel in its own log: records -> splats.

Only records of facility kern count: any process may write text to /dev/kmsg.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_ebpf.frozen import dataclass

__all__ = ["KERN", "Splat", "find_splats"]

KERN = 0  # the facility of what the kernel itself says (include/linux/syslog.h: LOG_KERN)
_LONGEST = 120  # lines of one splat
_STAMP = re.compile(r"^\[ *(?P<seconds>\d+\.\d+)\] ?")
_PAUSE = 1.0  # seconds without a line: the report is over
_END = re.compile(r"---\[ end (trace|Kernel panic)")
_CUT = re.compile(r"-+\[ cut here \]-+$|=+$")  # precedes the first line of most: kernel/panic.c, lib/ubsan.c, mm/kasan
# The first lines of what a kernel of today and of 5.10 says when something is wrong with itself.
_FIRST = re.compile(
    r"""
    (NMI\ |watchdog:\ |rcu:\ |x86/\S+:\ )*            # prefixes of the subsystem
    (
      WARNING:\ (?!CPU\s+feature)                     # WARN_ON (kernel/panic.c), lockdep, suspicious RCU usage
    | BUG[:\ ](?!\ *$)                                # KASAN, KCSAN, KFENCE, soft lockup, scheduling while atomic, slab
    | kernel\ BUG\ at\                                # BUG_ON (lib/bug.c)
    | UBSAN:\                                         # lib/ubsan.c
    | Oops: | general\ protection\ fault | Unable\ to\ handle\ kernel\ | divide\ error: | invalid\ opcode:
    | INFO:\ task\ .*\ blocked\ for\ more\ than\      # kernel/hung_task.c
    | INFO:\ (rcu\S*\ )?(\S+\ )?.*(detected|self-detected)\ .*stalls?   # kernel/rcu/tree_stall.h, tasks.h
    | INFO:\ trying\ to\ register\ non-static\ key    # kernel/locking/lockdep.c
    | INFO:\ possible\ (recursive|irq|circular)\      # lockdep
    | refcount_t:\                                    # lib/refcount.c
    | (Watchdog\ )?[Dd]etected\ hard\ LOCKUP          # kernel/watchdog.c
    | Kernel\ panic\ -\ not\ syncing:\                # panic()
    )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Splat:
    """One warning: its first line without the time stamp, and all of its lines."""

    title: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines)


def find_splats(lines: Sequence[str], *, facilities: Sequence[int]) -> list[Splat]:
    """The warnings in lines as dmesg prints them. ``facilities``: of each line, see ``KERN``."""
    own = [line for line, facility in zip(lines, facilities, strict=True) if facility == KERN]
    found: list[Splat] = []
    place = 0
    while place < len(own):
        if not _FIRST.match(_text(own[place])):
            place += 1
            continue
        end = _end(own, place)
        start = place - 1 if place and _CUT.match(_text(own[place - 1])) else place
        found.append(Splat(_text(own[place]), tuple(own[start:end])))
        place = end
    return found


def _end(lines: Sequence[str], first: int) -> int:
    """Where the splat that begins at ``first`` is over: behind its end mark, at a pause, or when it gets too long."""
    before = _seconds(lines[first])
    for place in range(first + 1, min(len(lines), first + _LONGEST)):
        now = _seconds(lines[place])
        if now - before > _PAUSE or (_CUT.match(_text(lines[place])) and _starts_another(lines, place)):
            return place
        before = now
        if _END.search(lines[place]):
            return place + 1
    return min(len(lines), first + _LONGEST)


def _starts_another(lines: Sequence[str], place: int) -> bool:
    return place + 1 < len(lines) and bool(_FIRST.match(_text(lines[place + 1])))


def _text(line: str) -> str:
    return _STAMP.sub("", line)


def _seconds(line: str) -> float:
    stamp = _STAMP.match(line)
    return float(stamp["seconds"]) if stamp is not None else 0.0
