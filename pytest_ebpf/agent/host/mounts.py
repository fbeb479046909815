"""Mount namespaces: entered by a thread, as network namespaces are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Refused
from pytest_ebpf.agent.base.syscalls import mount, setns, unshare
from pytest_ebpf.agent.host.netns import in_thread
from pytest_ebpf.agent.ops import In, Made, MountNs, Op, Result
from pytest_ebpf.uapi.numbers import CLONE_FS, CLONE_NEWNS, MS_PRIVATE, MS_REC

__all__ = ["mount_ns", "run_inside"]

T = TypeVar("T")
_PLACES = ("mount", "dir", "path")  # what is undone by a path, which means something there only


def mount_ns(op: MountNs, batch: Batch) -> Result:
    """Its mounts are not visible outside; later mounts outside are not visible in it."""

    def make() -> int:
        unshare(CLONE_NEWNS)
        mount("none", "/", fstype="", flags=MS_REC | MS_PRIVATE)
        return os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    return Made(batch.own(in_thread(make), "mntns", site=op.site).handle)


def run_inside(op: In, batch: Batch, *, run: Callable[[Op, Batch], Result]) -> Result:
    """Run the op in the namespace; what it made is undone there too."""
    space = batch.entry(op.mounts)
    if space.kind != "mntns":
        raise Refused(f"{space.label} is not a mount namespace")
    before = {entry.handle.serial for entry in batch.table}
    result = _enter(space.fd, call=lambda: run(op.op, batch))
    for entry in batch.table:
        if entry.handle.serial not in before and entry.kind in _PLACES:
            entry.closers[:] = [partial(_undo, space, closer) for closer in entry.closers]
    return result


def _undo(space: Entry, closer: Callable[[], None]) -> None:
    if space.fd >= 0:  # else it is gone, and its mounts with it
        _enter(space.fd, call=closer)


def _enter(fd: int, *, call: Callable[[], T]) -> T:
    here = os.getcwd()

    def body() -> T:
        unshare(CLONE_FS)
        setns(fd, CLONE_NEWNS)
        with contextlib.suppress(OSError):  # setns(2) moves to the root
            os.chdir(here)
        return call()

    return in_thread(body)
