"""tc: TCX links (Linux 6.6) or filters on a clsact qdisc."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pytest_ebpf.agent.ops import LinkCreate, Made
from pytest_ebpf.errors import BpfUsageError, PlanError
from pytest_ebpf.live.attach.arguments import BeforeArg, Direction, EtherProtocol, InterfaceArg, NetnsArg
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.clsact import PROTOCOLS, Filter, add_filter
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.attach.options import Order, choice_option, int_option, is_missing, order_of
from pytest_ebpf.live.net.resolve import Interface, find_interface
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import AttachType, ProgType
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["attach_tc"]

_DIRECTIONS: Mapping[str, int] = MappingProxyType({"ingress": AttachType.TCX_INGRESS, "egress": AttachType.TCX_EGRESS})
_UNKNOWN = (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP)


def attach_tc(
    session: Session,
    program: AttachableProgram,
    *,
    interface: InterfaceArg,
    direction: Direction,
    netns: NetnsArg | None = None,
    mechanism: Literal["tcx", "clsact"] | None = None,
    before: BeforeArg | None = None,
    after: BeforeArg | None = None,
    priority: int | None = None,
    handle: int | None = None,
    protocol: EtherProtocol | int | None = None,
    classid: int | None = None,
) -> Link:
    """On ``interface``. Without ``mechanism`` it is TCX where the kernel has it, unless an option is given that only
    one of them has (``before`` and ``after``; ``priority``, ``handle``, ``protocol``, ``classid``)."""
    choice_option(program.name, "direction", value=direction, among=_DIRECTIONS)
    if mechanism is not None:
        choice_option(program.name, "mechanism", value=mechanism, among=("tcx", "clsact"))
    place = find_interface(session, interface, netns=netns)
    order = order_of(program, before=before, after=after)
    clsact = {"priority": priority, "handle": handle, "protocol": protocol, "classid": classid}
    asked = [name for name, value in clsact.items() if value is not None]
    if program.type_number == ProgType.SCHED_ACT:
        asked.append("an action")
    if mechanism == "clsact":
        asked.append("mechanism='clsact'")
    if asked and (mechanism == "tcx" or order.flags):
        raise BpfUsageError(f"{program.name}: {asked[0]} is for clsact filters; TCX has before= and after= only")
    if not asked:
        link = _by_tcx(session, program, place=place, direction=direction, order=order, must=mechanism == "tcx")
        if link is not None:
            return link
    return _by_clsact(session, program, wanted=_filter(program, clsact, place=place, direction=direction))


def _by_tcx(
    session: Session, program: AttachableProgram, *, place: Interface, direction: Direction, order: Order, must: bool
) -> Link | None:
    """None where the kernel has no TCX, unless it ``must`` be TCX."""
    kind = _DIRECTIONS[direction]
    op = LinkCreate(
        program.handle, kind, target=place.index, flags=order.flags, netns=place.netns, extra=order.extra(session)
    )
    made = session.attempt(op, Made)
    if isinstance(made, Made):
        where = f"{place.name} {direction}"
        return Link(session, program=program, target=where, mechanism=Mechanism.TCX, handles=(made.handle,))
    if must or made.errno not in _UNKNOWN or not is_missing(session, "tcx"):
        session.checked(op, made, kind=Made)
    if order.flags:
        raise PlanError(
            f"{program.name}: before= and after= need TCX, which came with Linux 6.6",
            feature="tcx",
            since="6.6",
            hint="Use priority= there: a clsact filter with a smaller priority runs first.",
        )
    return None


def _filter(program: AttachableProgram, given: Mapping[str, object], *, place: Interface, direction: str) -> Filter:
    """``given``: the options of clsact filters, None for those that were left out."""
    priority, handle, protocol, classid = given.values()
    who = program.name
    if protocol is None:
        protocol = "all"
    return Filter(
        place,
        direction,
        priority=0 if priority is None else int_option(who, "priority", value=priority, limit=1 << 16),
        handle=1 if handle is None else int_option(who, "handle", value=handle),
        protocol=int_option(who, "protocol", value=protocol, limit=1 << 16)
        if isinstance(protocol, int)
        else PROTOCOLS[choice_option(who, "protocol", value=protocol, among=PROTOCOLS)],
        classid=0 if classid is None else int_option(who, "classid", value=classid),
    )


def _by_clsact(session: Session, program: AttachableProgram, *, wanted: Filter) -> Link:
    placed = add_filter(session, program, wanted=wanted)
    return Link(
        session,
        program=program,
        target=f"{wanted.place.name} {wanted.direction}, priority {placed.priority}",
        mechanism=Mechanism.CLSACT,
        attachment=placed.attachment,
    )
