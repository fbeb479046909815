"""Handles behind what a test holds: the one of a network namespace, and closing at the end of a ``with`` block."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from errno import ENOENT

from pytest_ebpf.agent.ops import Handle, OpenFile
from pytest_ebpf.errors import BpfUsageError, GuestLost, KernelCallError
from pytest_ebpf.live.session import Session

__all__ = ["close_after", "netns_handle"]

_NAMED = "/run/netns"  # where ip-netns(8) keeps those that have a name


def netns_handle(session: Session, netns: object) -> Handle:
    """The network namespace that a test names: an object with a ``handle`` (``bpf_netns``), a handle, a path, or a name
    of ``ip netns``."""
    handle = netns if isinstance(netns, Handle) else getattr(netns, "handle", None)
    if isinstance(handle, Handle):
        return handle
    if isinstance(netns, str | os.PathLike):
        return _open(session, os.fspath(netns))
    raise BpfUsageError(
        f"netns= expects a network namespace of the test, the path of one or a name of `ip netns`, got {netns!r}",
        hint="The bpf_netns fixture gives one.",
    )


def _open(session: Session, given: str) -> Handle:
    path = given if "/" in given else f"{_NAMED}/{given}"
    try:
        return session.make(OpenFile(path))
    except KernelCallError as error:
        if error.errno == ENOENT:
            error.hint = (
                f"There is no network namespace {path}: bpf_netns makes one, /proc/PID/ns/net is that of a process."
            )
        raise


def close_after(exc: Sequence[object], close: Callable[[], None]) -> None:
    """End a ``with`` block: close, unless the guest was lost, with which everything is closed. ``exc``: the arguments
    of ``__exit__``."""
    if not isinstance(exc[1], GuestLost):
        close()
