"""Handles behind what a test holds: the one of a network namespace, and closing at the end of a ``with`` block."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from pytest_ebpf.agent.ops import Handle, OpenFile
from pytest_ebpf.errors import BpfUsageError, GuestLost
from pytest_ebpf.live.session import Session

__all__ = ["close_after", "netns_handle"]


def netns_handle(session: Session, netns: object) -> Handle:
    """The network namespace that a test names: an object with a ``handle`` (``bpf_netns``), a handle, or a path."""
    handle = netns if isinstance(netns, Handle) else getattr(netns, "handle", None)
    if isinstance(handle, Handle):
        return handle
    if isinstance(netns, str | os.PathLike):
        return session.make(OpenFile(os.fspath(netns)))
    raise BpfUsageError(
        f"netns= expects a network namespace of the test or the path of one, got {netns!r}",
        hint="The bpf_netns fixture gives one.",
    )


def close_after(exc: Sequence[object], close: Callable[[], None]) -> None:
    """End a ``with`` block: close, unless the guest was lost, with which everything is closed. ``exc``: the arguments
    of ``__exit__``."""
    if not isinstance(exc[1], GuestLost):
        close()
