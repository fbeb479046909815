"""Advice about failed operations. The tables are imported when the first error is explained."""

from __future__ import annotations

from pytest_ebpf.agent.ops import Op
from pytest_ebpf.live.session import Target

__all__ = ["advise"]


def advise(op: Op, errno: int, *, target: Target, log: str = "") -> str:
    """The hint for an op that failed with ``errno``, "" where there is none. Rows may probe the kernel."""
    from pytest_ebpf.live.hints.lookup import hint_for

    return hint_for(op, errno, target=target, log=log)
