"""Pins in the bpf file system: put there, removed, and what is pinned opened again."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Done, Handle, Made, Mount, ObjGet, ObjPin, ObjUnpin
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.maps.map import Map

__all__ = ["open_link", "open_map", "open_pinned", "pin", "pin_path", "unpin"]

_BPFFS = "/sys/fs/bpf"


def pin_path(path: str) -> str:
    """The whole path of a pin: a bare name is one in the usual bpf file system."""
    if not path or path.endswith("/"):
        raise BpfUsageError(f"{path!r} names no pin", hint='Write pin("name") or pin("/sys/fs/bpf/name").')
    return path if path.startswith("/") else f"{_BPFFS}/{path}"


def pin(session: Session, handle: Handle, *, path: str, keep: bool = False) -> str:
    """Pin an object, for the test or for good; returns the whole path."""
    from pytest_ebpf.live.inspect.suggest import nearest_paths

    whole = pin_path(path)
    if whole.startswith(_BPFFS + "/"):
        session.attempt(Mount("bpf", _BPFFS, "bpf"), Done)
    try:
        session.one(ObjPin(handle, whole), Done)
    except KernelCallError as error:
        words = {
            errno.EEXIST: f"{whole} is there already: open it with bpf.pinned_link or bpf.pinned_map, or remove it.",
            errno.EPERM: f"{whole} is not in a bpf file system; /sys/fs/bpf is one.",
            errno.ENOENT: nearest_paths(session, whole),
        }
        error.hint = words.get(error.errno) or error.hint
        raise
    if not keep:
        session.later(lambda: _forget(session, whole))
    return whole


def _forget(session: Session, path: str) -> None:
    session.attempt(ObjUnpin(path), Done)


def unpin(session: Session, path: str) -> None:
    """Remove a pin. One that is gone already is fine."""
    try:
        session.one(ObjUnpin(path), Done)
    except KernelCallError as error:
        if error.errno != errno.ENOENT:
            raise


def open_pinned(session: Session, path: str, *, kind: str) -> Handle:
    """What is pinned at a path, which has to be a "link", "prog" or "map"."""
    from pytest_ebpf.live.inspect.suggest import nearest_paths

    whole = pin_path(path)
    try:
        handle = session.one(ObjGet(whole), Made).handle
    except KernelCallError as error:
        if error.errno == errno.ENOENT:
            error.hint = f"Nothing is pinned at {whole}; {nearest_paths(session, whole)}"
        raise
    if handle.kind != kind:
        raise BpfUsageError(f"what is pinned at {whole} is a {handle.kind}, not a {kind}")
    return handle


def open_link(session: Session, path: str) -> Link:
    """See ``Bpf.pinned_link``."""
    from pytest_ebpf.live.inspect.info import LinkInfo
    from pytest_ebpf.live.inspect.query import ask_info
    from pytest_ebpf.live.kernel_objects import Inventory

    handle = open_pinned(session, path, kind="link")
    info = ask_info(session, "link", asked=handle)
    assert isinstance(info, LinkInfo)
    link = Link(
        session,
        program=Inventory(session).program(info.prog_id),
        target=pin_path(path),
        mechanism=f"{info.type} link",
        handles=(handle,),
    )
    return link.pinned_at(pin_path(path))


def open_map(session: Session, path: str) -> Map:
    """See ``Bpf.pinned_map``."""
    from pytest_ebpf.live.inspect.query import ask_info
    from pytest_ebpf.live.kernel_objects import opened_map

    handle = open_pinned(session, path, kind="map")
    return opened_map(session, ask_info(session, "map", asked=handle), handle=handle)
