"""Switches of the whole kernel that tests rely on: tracing_on (0 after any oops), kprobes/enabled,
kernel.ftrace_enabled.

Who relies on one holds a shared lock on its file. The one that switched it on switches it off again when nobody else
does: parallel workers on one kernel do not take each other's traces away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from errno import ENODEV, ENOENT
from types import MappingProxyType

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.syscalls import detached_mount
from pytest_ebpf.agent.ops import SWITCH_WAS_OFF, Made, Result, SwitchOn

__all__ = ["PLACES", "open_in", "switch_on"]

PLACES = MappingProxyType(
    {
        "tracefs": ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"),
        "debugfs": ("/sys/kernel/debug",),
        "proc": ("/proc",),
    }
)


def open_in(filesystem: str, name: str, *, flags: int) -> int:
    """Open a file of a file system; where that is mounted nowhere, through a mount that nobody else sees."""
    for place in PLACES[filesystem]:
        try:
            return os.open(f"{place}/{name}", flags | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (ENOENT, ENODEV):
                raise
    root = detached_mount(filesystem)
    try:
        return os.open(name, flags | os.O_CLOEXEC, dir_fd=root)
    finally:
        os.close(root)


def switch_on(op: SwitchOn, batch: Batch) -> Result:
    """Write 1 where there is 0."""
    fd = open_in(op.filesystem, op.name, flags=os.O_RDWR)
    was_off = False
    try:
        with contextlib.suppress(OSError):  # a file system that takes no locks
            fcntl.flock(fd, fcntl.LOCK_SH)
        was_off = os.pread(fd, 1, 0) == b"0"
        if was_off:
            os.pwrite(fd, b"1", 0)
    except OSError:
        os.close(fd)
        raise
    entry = batch.own(fd, "switch", name=op.name + (SWITCH_WAS_OFF if was_off else ""), site=op.site)
    if was_off:
        entry.closers.append(lambda: _switch_off(fd))
    return Made(entry.handle)


def _switch_off(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(fd, b"0", 0)
