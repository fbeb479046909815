"""XDP on an interface: a link (Linux 5.9), or a program set through rtnetlink."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pytest_ebpf.agent.ops import Data, Failed, Handle, LinkCreate, Made, Netlink
from pytest_ebpf.errors import KernelCallError
from pytest_ebpf.live.attach.arguments import InterfaceArg, NetnsArg, XdpMode
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism, ReplaceableAttachment
from pytest_ebpf.live.attach.options import choice_option, is_missing
from pytest_ebpf.live.inspect.query import program_name
from pytest_ebpf.live.net.netlink import Attr, attributes, messages, nested, netlink_op, request
from pytest_ebpf.live.net.resolve import Interface, find_interface
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import AttachType
from pytest_ebpf.uapi.net import IflaXdp, XdpAttached, XdpFlag

__all__ = ["attach_xdp", "xdp_on"]

_MODES: Mapping[str, XdpFlag] = MappingProxyType(
    {
        "skb": XdpFlag.SKB_MODE,
        "generic": XdpFlag.SKB_MODE,
        "native": XdpFlag.DRV_MODE,
        "driver": XdpFlag.DRV_MODE,
        "offload": XdpFlag.HW_MODE,
        "hardware": XdpFlag.HW_MODE,
    }
)
_ATTACHED_MODES: Mapping[int, str] = MappingProxyType(
    {XdpAttached.DRV: "native", XdpAttached.SKB: "mode skb", XdpAttached.HW: "offloaded"}
)
_IFINFO_SIZE, _IFLA_XDP = 16, 43  # struct ifinfomsg; linux/if_link.h
_NEW, _OLD, _NONE = 0x5EBF5EBF, 0x5EBF5EC0, -1  # the first two stand for fds


def attach_xdp(
    session: Session,
    program: AttachableProgram,
    *,
    interface: InterfaceArg,
    mode: XdpMode | None = None,
    netns: NetnsArg | None = None,
    mechanism: Literal["link", "netlink"] | None = None,
) -> Link:
    """On ``interface``. The kernel chooses the mode unless ``mode`` is given. Without ``mechanism`` it is a link where
    the kernel has them, else rtnetlink."""
    flags = _MODES[choice_option(program.name, "mode", value=mode, among=_MODES)] if mode is not None else 0
    if mechanism is not None:
        choice_option(program.name, "mechanism", value=mechanism, among=("link", "netlink"))
    place = find_interface(session, interface, netns=netns)
    if mechanism == "netlink":
        return _by_netlink(session, program, place=place, mode=flags)
    op = LinkCreate(program.handle, AttachType.XDP, target=place.index, flags=flags, netns=place.netns)
    made = session.attempt(op, Made)
    if isinstance(made, Made):
        return Link(session, program=program, target=place.name, mechanism=Mechanism.XDP_LINK, handles=(made.handle,))
    if mechanism is None and made.errno == errno.EINVAL and is_missing(session, "xdp_link"):
        return _by_netlink(session, program, place=place, mode=flags)
    raise _refusal(session, op, failed=made, place=place)


def _refusal(session: Session, op: LinkCreate | Netlink, *, failed: Failed, place: Interface) -> KernelCallError:
    try:
        session.checked(op, failed, kind=Data)
    except KernelCallError as error:
        if error.errno in (errno.EBUSY, errno.EEXIST) and (holder := _holder(session, place)):
            error.hint = f"{place.name} has {holder} attached; detach it first, or link.update() it."
        return error
    raise AssertionError(f"{failed} was accepted as a result")


def _by_netlink(session: Session, program: AttachableProgram, *, place: Interface, mode: int) -> Link:
    op = _set(place, _NEW, flags=mode | XdpFlag.UPDATE_IF_NOEXIST, fds={_NEW: program.handle})
    answer = session.attempt(op, Data)
    if isinstance(answer, Failed):
        raise _refusal(session, op, failed=answer, place=place)
    flags = mode | XdpFlag.REPLACE

    def put(new: Handle, old: Handle) -> None:
        session.one(_set(place, _NEW, flags=flags, fds={_NEW: new, _OLD: old}), Data)

    def remove(current: Handle) -> None:  # only this program: one that replaced it stays
        session.attempt(_set(place, _NONE, flags=flags, fds={_OLD: current}), Data)

    return Link(
        session,
        program=program,
        target=place.name,
        mechanism=Mechanism.XDP_NETLINK,
        attachment=ReplaceableAttachment(program.handle, put=put, remove=remove),
    )


def _set(place: Interface, fd: int, *, flags: int, fds: dict[int, Handle]) -> Netlink:
    """Set or remove the program of an interface, only if ``_OLD`` is there, when that is among ``fds``."""
    expected: list[Attr] = [("IFLA_XDP_EXPECTED_FD", _OLD)] if _OLD in fds else []
    xdp = nested(("IFLA_XDP_FD", fd), ("IFLA_XDP_FLAGS", int(flags)), *expected)
    message = request("RTM_SETLINK", {"index": place.index}, attrs=[("IFLA_XDP", xdp)])
    return netlink_op(message, netns=place.netns, fds=fds)


def _holder(session: Session, place: Interface) -> str:
    """The program on an interface, as in "program 'firewall' (id 12, native)"; "" for none."""
    found = xdp_on(session, place)
    if found is None:
        return ""
    number, mode = found
    return f"program {program_name(session, number)!r} (id {number}{', ' + mode if mode else ''})"


def xdp_on(session: Session, place: Interface) -> tuple[int, str] | None:
    """(program id, mode) of the XDP program on an interface, None without one."""
    message = request("RTM_GETLINK", {"index": place.index})
    answer = session.attempt(netlink_op(message, netns=place.netns), Data)
    for _, body in messages(answer.data) if isinstance(answer, Data) else ():
        xdp = attributes(attributes(body[_IFINFO_SIZE:]).get(_IFLA_XDP, b""))
        number = int.from_bytes(xdp.get(IflaXdp.PROG_ID, b""), sys.byteorder)
        if number:
            return number, _ATTACHED_MODES.get(xdp.get(IflaXdp.ATTACHED, b"\0")[0], "")
    return None
