"""The handle behind what a test gives: a network namespace, by object or by path."""

from __future__ import annotations

import os

from pytest_ebpf.agent.ops import Handle, OpenFile
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.session import Session

__all__ = ["netns_handle"]


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
