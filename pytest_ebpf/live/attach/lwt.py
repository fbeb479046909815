"""Programs on routes (light-weight tunnels): every packet of the route passes the program."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import Data, Failed, Handle, Netlink
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.attach.arguments import AddressArg, InterfaceArg, NetnsArg, RouteArg
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism, ReplaceableAttachment
from pytest_ebpf.live.attach.options import int_option
from pytest_ebpf.live.net.netlink import CREATE, EXCL, REPLACE, Attr, nested, netlink_op, request
from pytest_ebpf.live.net.requests import Network, route_to
from pytest_ebpf.live.net.resolve import find_interface
from pytest_ebpf.live.session import Session

__all__ = ["attach_lwt"]

# include/uapi/linux/lwtunnel.h
_ENCAP_BPF, _ENCAP_SEG6_LOCAL = 6, 7
_HOOKS: Mapping[str, str] = MappingProxyType(
    {"lwt_in": "LWT_BPF_IN", "lwt_out": "LWT_BPF_OUT", "lwt_xmit": "LWT_BPF_XMIT"}
)
_MARK = 0x5EBF5EBF  # stands for the fd


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
    next_hop = "" if via is None else str(_address(program, via))
    fields, attrs = route_to(network, index=place.index, via=next_hop)
    int_option(program.name, "headroom", value=headroom, limit=256)

    def ask(kind: str, prog: Handle, *, flags: int = 0) -> Netlink:
        # The kernel tells the programs of routes apart by name alone (bpf_encap_cmp): no two may have the same.
        encap = _encap(program, f"{program.name} {prog.serial}", headroom=headroom)
        message = request(kind, fields, attrs=[*attrs, *encap], flags=flags)
        return netlink_op(message, netns=place.netns, fds={_MARK: prog})

    _create(session, program, op=ask("RTM_NEWROUTE", program.handle, flags=CREATE | EXCL), network=network)

    def put(new: Handle, old: Handle) -> None:
        session.one(ask("RTM_NEWROUTE", new, flags=CREATE | REPLACE), Data)

    def remove(current: Handle) -> None:
        session.attempt(ask("RTM_DELROUTE", current), Data)

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


def _address(program: AttachableProgram, via: AddressArg) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(str(via))
    except ValueError as error:
        raise BpfUsageError(f"{program.name}: via= expects the address of the next hop, got {via!r}") from error


def _encap(program: AttachableProgram, name: str, *, headroom: int) -> tuple[Attr, Attr]:
    """The attributes that put the program on a route, under the name that the kernel gets to know."""
    assert program.definition.spec is not None
    hook = program.definition.spec.prefix
    prog = nested(("LWT_BPF_PROG_FD", _MARK), ("LWT_BPF_PROG_NAME", name))
    if hook == "lwt_seg6local":
        local = nested(("SEG6_LOCAL_ACTION", {"value": "End.BPF"}), ("SEG6_LOCAL_BPF", prog))
        return ("RTA_ENCAP_TYPE", _ENCAP_SEG6_LOCAL), ("RTA_ENCAP", local)
    room: list[Attr] = [("LWT_BPF_XMIT_HEADROOM", headroom)] if headroom else []
    return ("RTA_ENCAP_TYPE", _ENCAP_BPF), ("RTA_ENCAP", nested((_HOOKS[hook], prog), *room))
