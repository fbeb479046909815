"""The log of a kernel as tests write it."""

from __future__ import annotations

from pytest_ebpf.agent.ops import Kmsg, KmsgSince

__all__ = ["KERN", "TRACE", "USER", "WARNING", "Log"]

WARNING = "[   10.000001] watchdog: BUG: soft lockup - CPU#0 stuck for 4s! [python3:312]"
TRACE = "[   10.000002] Call Trace:"
KERN, USER = 0, 1


class Log:
    """What the kernel has said: (facility, line)."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = [(KERN, "[    1.0] WARNING: at boot, before any test")]

    def read(self, op: KmsgSince, batch: object) -> Kmsg:
        if op.mark < 0:
            return Kmsg(len(self.lines))
        found = self.lines[op.mark :]
        return Kmsg(len(self.lines), tuple(line for _, line in found), 0, tuple(who for who, _ in found))

    def warn(self, facility: int = KERN) -> None:
        self.lines += [(facility, WARNING), (facility, TRACE)]
