"""Switches of the whole kernel that tests rely on, on for the scope of a test."""

from __future__ import annotations

import warnings

from pytest_ebpf.agent.ops import SWITCH_WAS_OFF, Made, SwitchOn, Try
from pytest_ebpf.live.session import Session

__all__ = ["FTRACE", "KPROBES", "TRACING", "have_on"]

TRACING = SwitchOn("tracefs", "tracing_on")
KPROBES = SwitchOn("debugfs", "kprobes/enabled")
# Off, kprobes at the start of a function and trampolines attach and are never called (seen on 6.1); Linux 5.10 answers
# EBUSY for a trampoline.
FTRACE = SwitchOn("proc", "sys/kernel/ftrace_enabled")


def have_on(session: Session, switch: SwitchOn, *, effect: str) -> None:
    """Have a switch on until the scope of ``session`` ends; a warning when it was off. Where the kernel has no such
    switch, or this process may not touch it, things are left as they are. ``effect``: what does not work while it is
    off."""
    (result,) = session.run([Try(switch)])
    if isinstance(result, Made) and result.handle.name.endswith(SWITCH_WAS_OFF):
        warnings.warn(
            f"{session.target.name}: {switch.name} was 0, so {effect}. It is 1 while this test runs. "
            + ("The kernel sets it to 0 after an oops" if switch is TRACING else "Another tool set it")
            + ("; otherwise another tool set it." if switch is TRACING else "."),
            stacklevel=3,
        )
