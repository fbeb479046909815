"""Attaching to network namespaces, and to routes."""

from __future__ import annotations

import errno
import ipaddress
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import (
    Data,
    Done,
    Failed,
    Handle,
    LinkCreate,
    Netlink,
    OpenFile,
    ProgAttach,
    ProgDetach,
)
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.options import choose, whole
from pytest_ebpf.live.handles import netns_handle
from pytest_ebpf.live.net.netlink import CREATE, EXCL, REPLACE, blob, nest, netlink_op, number, request, text
from pytest_ebpf.live.net.resolve import Interface, find_interface
from pytest_ebpf.live.session import Session

__all__ = ["attach_flow_dissector", "attach_lwt", "attach_netns"]

_OWN_NETNS = "/proc/self/ns/net"
_FLOW_DISSECTOR = 17  # enum bpf_attach_type
_WAYS = ("link", "attach")
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


def attach_netns(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """On a network namespace: the test's own unless ``netns`` names another."""
    target, where = _namespace(session, named.get("netns"))
    return _netns_link(session, program, target=target, where=where)


def _netns_link(session: Session, program: AttachableProgram, *, target: Handle, where: str) -> Link:
    assert program.definition.spec is not None
    handle = session.make(LinkCreate(program.handle, program.definition.spec.attach_type, target=target))
    return Link(session, program=program, target=where, mechanism="netns link", handles=(handle,))


def attach_flow_dissector(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """``way`` "link" (default, Linux 5.8) or "attach" (BPF_PROG_ATTACH)."""
    mechanism = choose(program, "mechanism", named=named, among=_WAYS, default="link")
    target, where = _namespace(session, named.get("netns"))
    if mechanism == "link":
        return _netns_link(session, program, target=target, where=where)
    current = [program.handle]

    def put(new: Handle) -> None:
        session.one(ProgAttach(new, 0, _FLOW_DISSECTOR, netns=target), Done)
        current[0] = new

    def undo() -> None:
        session.attempt(ProgDetach(current[0], 0, _FLOW_DISSECTOR, netns=target), Done)

    put(program.handle)
    mechanism = "flow dissector without link"
    return Link(session, program=program, target=where, mechanism=mechanism, undo=undo, swap=lambda new, old: put(new))


def _namespace(session: Session, given: object) -> tuple[Handle, str]:
    if given is None:
        return session.make(OpenFile(_OWN_NETNS)), "this network namespace"
    return netns_handle(session, given), str(getattr(given, "name", "") or given)


def attach_lwt(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """A route whose packets go through the program: ``route`` is its destination ("192.0.2.0/24"), ``interface`` the
    device, ``via`` a next hop, ``headroom`` what lwt_xmit may add in front, in bytes."""
    assert program.definition.spec is not None
    place = find_interface(session, named["interface"], netns=named.get("netns"))
    network = _network(program, named["route"])
    route, encap = _route(program, network, named=named, place=place), _encap(program, named)
    current = [program.handle]

    def ask(kind: int, prog: Handle, *, flags: int = 0) -> Netlink:
        # The kernel tells the programs of routes apart by name alone (bpf_encap_cmp): no two may have the same.
        message = request(kind, route + encap(f"{program.name} {prog.serial}"), flags=flags)
        return netlink_op(message, netns=place.netns, fds={_MARK: prog})

    def undo() -> None:
        session.attempt(ask(_RTM_DELROUTE, current[0]), Data)

    op = ask(_RTM_NEWROUTE, program.handle, flags=CREATE | EXCL)
    made = session.attempt(op, Data)
    if isinstance(made, Failed) and made.errno == errno.EEXIST:
        raise BpfUsageError(
            f"{program.name}: there is a route to {network} already", hint="Remove it, or take another."
        )
    session.checked(op, made, kind=Data)

    def swap(new: Handle, old: Handle) -> None:
        session.one(ask(_RTM_NEWROUTE, new, flags=CREATE | REPLACE), Data)
        current[0] = new

    return Link(
        session,
        program=program,
        target=f"route {network} dev {place.name}",
        mechanism="route",
        undo=undo,
        swap=swap,
    )


def _network(program: AttachableProgram, route: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(route)  # type: ignore[arg-type]  # whatever it is, it says what it does not take
    except ValueError as error:
        raise BpfUsageError(f"{program.name}: route= is a destination such as '192.0.2.0/24', not {route!r}") from error


def _route(
    program: AttachableProgram,
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
    *,
    named: Mapping[str, object],
    place: Interface,
) -> bytes:
    via = named.get("via")
    gateway = b"" if via is None else blob(_RTA_GATEWAY, ipaddress.ip_address(str(via)).packed)
    family, scope = (2 if network.version == 4 else 10), _UNIVERSE if gateway or network.version == 6 else _LINK_SCOPE
    return b"".join(
        [
            _RTMSG.pack(family, network.prefixlen, 0, 0, _MAIN_TABLE, _STATIC, scope, _UNICAST, 0),
            blob(_RTA_DST, network.network_address.packed),
            number(_RTA_OIF, place.index),
            gateway,
        ]
    )


def _encap(program: AttachableProgram, named: Mapping[str, object]) -> Callable[[str], bytes]:
    """What makes a route one of a program, by the name the kernel is to know it by."""
    assert program.definition.spec is not None
    hook, headroom = program.definition.spec.prefix, whole(program, "headroom", named=named, default=0, limit=256)

    def encap(name: str) -> bytes:
        prog = (number(_PROG_FD, _MARK), text(_PROG_NAME, name))
        if hook == "lwt_seg6local":
            return _typed(_ENCAP_SEG6_LOCAL, number(_SEG6_ACTION, _ACTION_END_BPF), nest(_SEG6_BPF, *prog))
        return _typed(_ENCAP_BPF, nest(_HOOKS[hook], *prog), number(_HEADROOM, headroom) if headroom else b"")

    return encap


def _typed(kind: int, *parts: bytes) -> bytes:
    return blob(_RTA_ENCAP_TYPE, struct.pack("=H", kind)) + nest(_RTA_ENCAP, *parts)
