"""Pins in the bpf file system: their paths, putting them there and removing them."""

from __future__ import annotations

import errno

from pytest_ebpf.agent.ops import Done, Handle, Mount, ObjPin, ObjUnpin
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.inspect.suggest import nearest_paths
from pytest_ebpf.live.session import Session

__all__ = ["pin", "pin_path", "unpin"]

_BPFFS = "/sys/fs/bpf"


def pin_path(path: str) -> str:
    """The whole path of a pin; a bare name is in /sys/fs/bpf."""
    if not path or path.endswith("/"):
        raise BpfUsageError(
            f"expected a name or path for the pin, got {path!r}", hint='Write pin("name") or pin("/sys/fs/bpf/name").'
        )
    return path if path.startswith("/") else f"{_BPFFS}/{path}"


def pin(session: Session, handle: Handle, *, path: str, keep: bool = False) -> str:
    """Pin an object, until the end of the test or for good (``keep``); returns the whole path."""
    whole = pin_path(path)
    if whole.startswith(_BPFFS + "/"):
        session.attempt(Mount("bpf", _BPFFS, "bpf"), Done)
    try:
        session.one(ObjPin(handle, whole), Done)
    except KernelCallError as error:
        hints = {
            errno.EEXIST: f"{whole} exists already: open it with bpf.pinned_link or bpf.pinned_map, or remove it.",
            errno.EPERM: f"{whole} is not in a bpf file system; /sys/fs/bpf is one.",
            errno.ENOENT: nearest_paths(session, whole),
        }
        error.hint = hints.get(error.errno) or error.hint
        raise
    if not keep:
        session.later(lambda: _forget(session, whole))
    return whole


def _forget(session: Session, path: str) -> None:
    session.attempt(ObjUnpin(path), Done)


def unpin(session: Session, path: str) -> None:
    """Remove a pin; harmless if it does not exist any more."""
    try:
        session.one(ObjUnpin(path), Done)
    except KernelCallError as error:
        if error.errno != errno.ENOENT:
            raise
