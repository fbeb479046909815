"""Links and maps opened from their pins in the bpf file system."""

from __future__ import annotations

import errno

from pytest_ebpf.agent.ops import Handle, Made, ObjGet
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.bpffs import pin_path
from pytest_ebpf.live.inspect.info import LinkInfo
from pytest_ebpf.live.inspect.query import ask_info
from pytest_ebpf.live.inspect.suggest import nearest_paths
from pytest_ebpf.live.kernel_objects import Inventory, opened_map
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.session import Session

__all__ = ["open_link", "open_map", "open_pinned"]


def open_pinned(session: Session, path: str, *, kind: str) -> Handle:
    """The object that is pinned at a path; ``kind`` is "link", "prog" or "map"."""
    whole = pin_path(path)
    try:
        handle = session.one(ObjGet(whole), Made).handle
    except KernelCallError as error:
        if error.errno == errno.ENOENT:
            error.hint = f"Nothing is pinned at {whole}; {nearest_paths(session, whole)}"
        raise
    if handle.kind != kind:
        raise BpfUsageError(f"{whole} is the pin of a {handle.kind}, expected one of a {kind}")
    return handle


def open_link(session: Session, path: str) -> Link:
    """See ``Bpf.pinned_link``."""
    handle = open_pinned(session, path, kind="link")
    info = ask_info(session, "link", asked=handle)
    assert isinstance(info, LinkInfo)
    link = Link(
        session,
        program=Inventory(session).program(info.prog_id),
        target=pin_path(path),
        mechanism=Mechanism.of_link_type(info.type),
        handles=(handle,),
    )
    return link.pinned_at(pin_path(path))


def open_map(session: Session, path: str) -> Map:
    """See ``Bpf.pinned_map``."""
    handle = open_pinned(session, path, kind="map")
    return opened_map(session, ask_info(session, "map", asked=handle), handle=handle)
