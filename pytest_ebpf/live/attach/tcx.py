"""tc: TCX links (Linux 6.6) or filters on a clsact qdisc; netkit devices."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import Failed, LinkCreate, Made
from pytest_ebpf.errors import BpfUsageError, PlanError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.clsact import PROTOCOLS, Filter, add_filter
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.options import Order, choose, lacking, order_of, whole
from pytest_ebpf.live.net.resolve import Interface, find_interface
from pytest_ebpf.live.session import Session

__all__ = ["attach_netkit", "attach_tc"]

_TCX: Mapping[str, int] = MappingProxyType({"ingress": 46, "egress": 47})  # enum bpf_attach_type
_NETKIT: Mapping[str, int] = MappingProxyType({"primary": 54, "peer": 55})
_WAYS = ("tcx", "clsact")
_CLSACT_ONLY = ("priority", "handle", "protocol", "classid")
_SCHED_ACT = 4
_UNKNOWN = (errno.EINVAL, errno.EOPNOTSUPP, 524)


def attach_tc(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """``way`` "tcx" or "clsact"; by default TCX where the kernel has it. What only one of them has (``before`` and
    ``after``; ``priority``, ``handle``, ``protocol``, ``classid``) decides for it."""
    said = program.definition.section.rpartition("/")[2]
    direction = choose(program, "direction", named=named, among=_TCX, default=said if said in _TCX else "")
    place = find_interface(session, named["interface"], netns=named.get("netns"))
    order, mechanism = order_of(program, named), _way(program, named)
    if mechanism != "clsact":
        op = LinkCreate(
            program.handle, _TCX[direction], target=place.index, flags=order.flags, netns=place.netns, extra=order.extra
        )
        made = session.attempt(op, Made)
        if isinstance(made, Made):
            where = f"{place.name} {direction}"
            return Link(session, program=program, target=where, mechanism="tcx link", handles=(made.handle,))
        if mechanism == "tcx" or made.errno not in _UNKNOWN or not lacking(session, "tcx"):
            session.checked(op, made, kind=Made)
    if order.flags:
        raise PlanError(
            f"{program.name}: before= and after= need TCX, which came with Linux 6.6",
            feature="tcx",
            since="6.6",
            hint="Use priority= there: a clsact filter with a smaller priority runs first.",
        )
    return _by_clsact(session, program, named=named, place=place, direction=direction)


def _way(program: AttachableProgram, named: Mapping[str, object]) -> str:
    mechanism = choose(program, "mechanism", named=named, among=_WAYS, default="any")
    asked = [name for name in _CLSACT_ONLY if named.get(name) is not None]
    if program.type_number == _SCHED_ACT:
        asked.append("an action")
    if asked and (mechanism == "tcx" or order_of(program, named).flags):
        raise BpfUsageError(f"{program.name}: {asked[0]} is for clsact filters; TCX has before= and after= only")
    return "clsact" if asked else mechanism


def _by_clsact(
    session: Session, program: AttachableProgram, *, named: Mapping[str, object], place: Interface, direction: str
) -> Link:
    protocol = named.get("protocol")
    wanted = Filter(
        place,
        direction,
        priority=whole(program, "priority", named=named, default=0, limit=1 << 16),
        handle=whole(program, "handle", named=named, default=1),
        protocol=protocol
        if isinstance(protocol, int)
        else PROTOCOLS[choose(program, "protocol", named=named, among=PROTOCOLS, default="all")],
        classid=whole(program, "classid", named=named, default=0),
    )
    placed = add_filter(session, program, wanted=wanted)
    return Link(
        session,
        program=program,
        target=f"{place.name} {direction}, priority {placed.priority}",
        mechanism="clsact filter",
        undo=placed.undo,
        swap=placed.swap,
    )


def attach_netkit(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """A netkit link (Linux 6.7). ``interface`` is the primary device for programs of either end."""
    assert program.definition.spec is not None
    place = find_interface(session, named["interface"], netns=named.get("netns"))
    order: Order = order_of(program, named)
    end = program.definition.spec.prefix.rpartition("/")[2]
    op = LinkCreate(
        program.handle, _NETKIT[end], target=place.index, flags=order.flags, netns=place.netns, extra=order.extra
    )
    made = session.attempt(op, Made)
    if isinstance(made, Failed) and made.errno in (errno.ENXIO, errno.EACCES) and not lacking(session, "netkit"):
        what = "the peer; programs for either end are attached to the primary" if made.errno == errno.EACCES else ""
        raise BpfUsageError(f"{program.name}: {place.name} is {what or 'no netkit device'}")
    handle = session.checked(op, made, kind=Made).handle
    return Link(session, program=program, target=f"{place.name} {end}", mechanism="netkit link", handles=(handle,))
