"""Programs on routes (light-weight tunnels): every packet of the route passes the program."""

from __future__ import annotations

import errno
import ipaddress
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import Data, Failed, Handle, Netlink
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.attach.arguments import AddressArg, InterfaceArg, NetnsArg, RouteArg
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism, ReplaceableAttachment
from pytest_ebpf.live.attach.options import int_option
from pytest_ebpf.live.net.netlink import CREATE, EXCL, REPLACE, blob, nest, netlink_op, number, request, text
from pytest_ebpf.live.net.requests import Network
from pytest_ebpf.live.net.resolve import Interface, find_interface
from pytest_ebpf.live.session import Session

__all__ = ["attach_lwt"]

# include/uapi/linux/rtnetlink.h, lwtunnel.h, bpf.h, seg6_local.h
_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
_RTMSG = struct.Struct("=BBBBBBBBI")
_MAIN_TABLE, _STATIC, _UNIVERSE, _LINK_SCOPE, _UNICAST = 254, 4, 0, 253, 1
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_ENCAP_TYPE, _RTA_ENCAP = 1, 4, 5, 21, 22
_ENCAP_BPF, _ENCAP_SEG6_LOCAL = 6, 7
_HOOKS: Mapping[str, int] = MappingProxyType({"lwt_in": 1, "lwt_out": 2, "lwt_xmit": 3})
_HEADROOM, _PROG_FD, _PROG_NAME = 4, 1, 2
_SEG6_ACTION, _SEG6_BPF, _ACTION_END_BPF = 1, 8, 15
_MARK = 0x5EBF5EBF  # stands where the fd goes


def attach_lwt(
    session: Session,
    program: AttachableProgram,
    *,
    route: RouteArg,
    interface: InterfaceArg,
    via: AddressArg | None = None,
    headroom: int = 0,
    netns: NetnsArg | None = None,
) -> Link:
    """On a new route: ``route`` is its destination ("192.0.2.0/24"), ``interface`` its device, ``via`` its next hop,
    ``headroom`` the number of bytes that lwt_xmit may add in front."""
    place = find_interface(session, interface, netns=netns)
    network = _network(program, route)
    message, encap = _route(program, network, via=via, place=place), _encap(program, headroom)

    def ask(kind: int, prog: Handle, *, flags: int = 0) -> Netlink:
        # The kernel tells the programs of routes apart by name alone (bpf_encap_cmp): no two may have the same.
        whole = request(kind, message + encap(f"{program.name} {prog.serial}"), flags=flags)
        return netlink_op(whole, netns=place.netns, fds={_MARK: prog})

    _create(session, program, op=ask(_RTM_NEWROUTE, program.handle, flags=CREATE | EXCL), network=network)

    def put(new: Handle, old: Handle) -> None:
        session.one(ask(_RTM_NEWROUTE, new, flags=CREATE | REPLACE), Data)

    def remove(current: Handle) -> None:
        session.attempt(ask(_RTM_DELROUTE, current), Data)

    return Link(
        session,
        program=program,
        target=f"route {network} dev {place.name}",
        mechanism=Mechanism.ROUTE,
        attachment=ReplaceableAttachment(program.handle, put=put, remove=remove),
    )


def _create(session: Session, program: AttachableProgram, *, op: Netlink, network: Network) -> None:
    made = session.attempt(op, Data)
    if isinstance(made, Failed) and made.errno == errno.EEXIST:
        raise BpfUsageError(
            f"{program.name}: a route to {network} exists already", hint="Remove it, or use another destination."
        )
    session.checked(op, made, kind=Data)


def _network(program: AttachableProgram, route: object) -> Network:
    try:
        return ipaddress.ip_network(route)  # type: ignore[arg-type]  # ValueError for any other type
    except ValueError as error:
        raise BpfUsageError(
            f"{program.name}: route= expects a destination such as '192.0.2.0/24', got {route!r}"
        ) from error


def _route(
    program: AttachableProgram,
    network: Network,
    *,
    via: AddressArg | None,
    place: Interface,
) -> bytes:
    gateway = b"" if via is None else blob(_RTA_GATEWAY, _next_hop(program, via).packed)
    family, scope = (2 if network.version == 4 else 10), _UNIVERSE if gateway or network.version == 6 else _LINK_SCOPE
    return b"".join(
        [
            _RTMSG.pack(family, network.prefixlen, 0, 0, _MAIN_TABLE, _STATIC, scope, _UNICAST, 0),
            blob(_RTA_DST, network.network_address.packed),
            number(_RTA_OIF, place.index),
            gateway,
        ]
    )


def _next_hop(program: AttachableProgram, via: AddressArg) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(str(via))
    except ValueError as error:
        raise BpfUsageError(f"{program.name}: via= expects the address of the next hop, got {via!r}") from error


def _encap(program: AttachableProgram, headroom: int) -> Callable[[str], bytes]:
    """The attributes that put the program on a route, as a function of the name that the kernel gets to know."""
    assert program.definition.spec is not None
    hook = program.definition.spec.prefix
    int_option(program.name, "headroom", value=headroom, limit=256)

    def encap(name: str) -> bytes:
        prog = (number(_PROG_FD, _MARK), text(_PROG_NAME, name))
        if hook == "lwt_seg6local":
            return _typed(_ENCAP_SEG6_LOCAL, number(_SEG6_ACTION, _ACTION_END_BPF), nest(_SEG6_BPF, *prog))
        return _typed(_ENCAP_BPF, nest(_HOOKS[hook], *prog), number(_HEADROOM, headroom) if headroom else b"")

    return encap


def _typed(kind: int, *parts: bytes) -> bytes:
    return blob(_RTA_ENCAP_TYPE, struct.pack("=H", kind)) + nest(_RTA_ENCAP, *parts)
