"""Counting and timing the runs of programs, which the kernel does on request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_ebpf.agent.ops import Close, Done, EnableStats, Failed, Made
from pytest_ebpf.errors import PlanError
from pytest_ebpf.live.session import Session

__all__ = ["counting_runs"]


@contextmanager
def counting_runs(session: Session) -> Iterator[None]:
    """Have the kernel count and time every run meanwhile. ``PlanError`` before Linux 5.8."""
    enabled = session.attempt(EnableStats(), Made)
    if isinstance(enabled, Failed):
        raise PlanError(
            f"this kernel keeps no run statistics for a process: {enabled.text}",
            feature="run statistics",
            since="5.8",
        )
    try:
        yield
    finally:
        session.one(Close(enabled.handle), Done)
