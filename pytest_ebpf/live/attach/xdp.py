"""XDP on an interface: a link (Linux 5.9), or a program set through rtnetlink."""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import Data, Failed, Handle, LinkCreate, Made, Netlink
from pytest_ebpf.errors import KernelCallError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.options import choose, lacking
from pytest_ebpf.live.inspect.query import program_name
from pytest_ebpf.live.net.netlink import attributes, messages, nest, netlink_op, number, request
from pytest_ebpf.live.net.resolve import Interface, find_interface
from pytest_ebpf.live.session import Session

__all__ = ["attach_xdp", "xdp_on"]

_XDP = 37  # enum bpf_attach_type
# XDP_FLAGS_*: include/uapi/linux/if_link.h
_MODES: Mapping[str, int] = MappingProxyType(
    {"skb": 1 << 1, "generic": 1 << 1, "native": 1 << 2, "driver": 1 << 2, "offload": 1 << 3, "hardware": 1 << 3}
)
_ONLY_IF_NONE, _REPLACE = 1 << 0, 1 << 4
_WAYS = ("link", "netlink")
_RTM_GETLINK, _RTM_SETLINK = 18, 19
_IFINFO = struct.Struct("=BxHiII")
_IFLA_XDP, _XDP_FD, _XDP_ATTACHED, _XDP_FLAGS, _XDP_PROG_ID, _XDP_EXPECTED = 43, 1, 2, 3, 4, 8
_ATTACHED_MODES: Mapping[int, str] = MappingProxyType({1: "native", 2: "mode skb", 3: "offloaded"})  # XDP_ATTACHED_*
_NEW, _OLD, _NONE = 0x5EBF5EBF, 0x5EBF5EC0, 0xFFFFFFFF  # the first two stand where fds go


def attach_xdp(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """``mode``: the kernel's choice unless it is given. ``way``: "link" or "netlink"; by default a link where the
    kernel has them."""
    mode = _MODES[choose(program, "mode", named=named, among=_MODES)] if named.get("mode") else 0
    mechanism = choose(program, "mechanism", named=named, among=_WAYS, default="any")
    place = find_interface(session, named["interface"], netns=named.get("netns"))
    if mechanism == "netlink":
        return _by_netlink(session, program, place=place, mode=mode)
    op = LinkCreate(program.handle, _XDP, target=place.index, flags=mode, netns=place.netns)
    made = session.attempt(op, Made)
    if isinstance(made, Made):
        return Link(session, program=program, target=place.name, mechanism="xdp link", handles=(made.handle,))
    if mechanism == "any" and made.errno == errno.EINVAL and lacking(session, "xdp_link"):
        return _by_netlink(session, program, place=place, mode=mode)
    raise _with_holder(session, op, failed=made, place=place)


def _with_holder(session: Session, op: LinkCreate | Netlink, *, failed: Failed, place: Interface) -> KernelCallError:
    try:
        session.checked(op, failed, kind=Data)
    except KernelCallError as error:
        if error.errno in (errno.EBUSY, errno.EEXIST) and (holder := _holder(session, place)):
            error.hint = f"{place.name} has {holder} attached; detach it first, or link.update() it."
        return error
    raise AssertionError("a failure that is none")


def _by_netlink(session: Session, program: AttachableProgram, *, place: Interface, mode: int) -> Link:
    flags = number(_XDP_FLAGS, mode | _ONLY_IF_NONE)
    op = _set(place, number(_XDP_FD, _NEW), flags, fds={_NEW: program.handle})
    answer = session.attempt(op, Data)
    if isinstance(answer, Failed):
        raise _with_holder(session, op, failed=answer, place=place)
    current = [program.handle]

    def swap(new: Handle, old: Handle) -> None:
        replace = (number(_XDP_FLAGS, mode | _REPLACE), number(_XDP_EXPECTED, _OLD))
        session.one(_set(place, number(_XDP_FD, _NEW), *replace, fds={_NEW: new, _OLD: old}), Data)
        current[0] = new

    def undo() -> None:  # only our own program: somebody else's stays
        expected = (number(_XDP_FLAGS, mode | _REPLACE), number(_XDP_EXPECTED, _OLD))
        session.attempt(_set(place, number(_XDP_FD, _NONE), *expected, fds={_OLD: current[0]}), Data)

    return Link(session, program=program, target=place.name, mechanism="xdp netlink", undo=undo, swap=swap)


def _set(place: Interface, *xdp: bytes, fds: dict[int, Handle]) -> Netlink:
    body = _IFINFO.pack(0, 0, place.index, 0, 0) + nest(_IFLA_XDP, *xdp)
    return netlink_op(request(_RTM_SETLINK, body), netns=place.netns, fds=fds)


def _holder(session: Session, place: Interface) -> str:
    """ "program 'firewall' (id 12, native)" on an interface, "" when there is none or nobody says."""
    found = xdp_on(session, place)
    if found is None:
        return ""
    number, mode = found
    return f"program {program_name(session, number)!r} (id {number}{', ' + mode if mode else ''})"


def xdp_on(session: Session, place: Interface) -> tuple[int, str] | None:
    """(program id, mode) of what runs on an interface."""
    message = request(_RTM_GETLINK, _IFINFO.pack(0, 0, place.index, 0, 0))
    answer = session.attempt(netlink_op(message, netns=place.netns), Data)
    for _, body in messages(answer.data) if isinstance(answer, Data) else ():
        xdp = attributes(attributes(body[_IFINFO.size :]).get(_IFLA_XDP, b""))
        number = int.from_bytes(xdp.get(_XDP_PROG_ID, b""), sys.byteorder)
        if number:
            return number, _ATTACHED_MODES.get(xdp.get(_XDP_ATTACHED, b"\0")[0], "")
    return None
