"""Doing one thing with fewer capabilities, as the kernel's own selftests do for their unprivileged loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.syscalls import capset
from pytest_ebpf.agent.base.sysfs import read_text
from pytest_ebpf.agent.ops import Result, Unprivileged

__all__ = ["run_unprivileged"]

_STATUS = "/proc/thread-self/status"  # capabilities belong to the thread


def run_unprivileged(op: Unprivileged, batch: Batch, *, run: Callable[[Any, Batch], Result]) -> Result:
    """Only the effective set shrinks; what is permitted stays, and so does the way back."""
    with _without(op.drop):
        return run(op.op, batch)


@contextmanager
def _without(drop: int) -> Iterator[None]:
    sets = dict(line.split(":\t") for line in read_text(_STATUS).splitlines() if line.startswith("Cap"))
    effective, permitted, inheritable = (int(sets[name], 16) for name in ("CapEff", "CapPrm", "CapInh"))
    capset(effective=effective & ~drop, permitted=permitted, inheritable=inheritable)
    try:
        yield
    finally:
        capset(effective=effective, permitted=permitted, inheritable=inheritable)
