"""tc filters on a clsact qdisc, for kernels without TCX and for what TCX lacks: priorities, protocols, actions."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import Data, Failed, Handle, Netlink
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import ReplaceableAttachment
from pytest_ebpf.live.net import netlink
from pytest_ebpf.live.net.resolve import Interface
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import ProgType

__all__ = ["PARENTS", "PROTOCOLS", "Filter", "Placed", "add_filter", "filters_on"]

# include/uapi/linux/pkt_sched.h, pkt_cls.h and rtnetlink.h
_RTM_NEWTFILTER = 44
_TCMSG = struct.Struct("=BxxxiIII")
_CLSACT_HANDLE, _CLSACT_PARENT = 0xFFFF0000, 0xFFFFFFF1
PARENTS: Mapping[str, int] = MappingProxyType({"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3})
PROTOCOLS: Mapping[str, int] = MappingProxyType({"all": 0x0003, "ip": 0x0800, "ipv6": 0x86DD, "arp": 0x0806})
_TCA_KIND, _TCA_OPTIONS, _BPF_ID = 1, 2, 11
_MATCHALL_ACT, _ACT_OPTIONS, _ACT_BPF_ID = 2, 2, 9
_ACT_DIRECT = 1  # TCA_BPF_FLAG_ACT_DIRECT: the program's return value is the verdict
_ACT_PIPE = 3  # TC_ACT_PIPE: the program's return value decides
_FIRST_PRIORITY = 0xC000  # what the kernel itself would start from
_TRIES = 64
_MARK = 0x5EBF5EBF  # stands for the fd


@dataclass(frozen=True, slots=True)
class Filter:
    """The place of a filter. ``priority`` 0: the first free one. ``protocol``: an EtherType."""

    place: Interface
    direction: str
    priority: int = 0
    handle: int = 1
    protocol: int = PROTOCOLS["all"]
    classid: int = 0

    def info(self, priority: int) -> int:
        """tcm_info: priority and protocol, the latter in network byte order."""
        return priority << 16 | socket.htons(self.protocol)


@dataclass(frozen=True, slots=True)
class Placed:
    """A filter that is attached. Removing it removes the qdisc too, if that was made for it and has no other filter."""

    priority: int
    attachment: ReplaceableAttachment


def add_filter(session: Session, program: AttachableProgram, *, wanted: Filter) -> Placed:
    """Attach the program: a classifier as a filter, a SCHED_ACT program as the action of a filter that matches
    everything."""
    made_qdisc = _add_qdisc(session, wanted.place)
    last = wanted.priority or _FIRST_PRIORITY + _TRIES
    for priority in range(wanted.priority or _FIRST_PRIORITY, last + 1):
        op = _filter(program, wanted, priority=priority, prog=program.handle, flags=netlink.CREATE | netlink.EXCL)
        result = session.attempt(op, Data)
        if not (isinstance(result, Failed) and result.errno == errno.EEXIST and priority < last):
            session.checked(op, result, kind=Data)
            break

    def remove(current: Handle) -> None:
        session.attempt(_removal(program, wanted, priority=priority), Data)
        if made_qdisc and not any(filters_on(session, wanted.place, direction=name) for name in PARENTS):
            session.attempt(_no_qdisc(wanted.place), Data)

    def put(new: Handle, old: Handle) -> None:
        session.one(_filter(program, wanted, priority=priority, prog=new, flags=netlink.CREATE | netlink.REPLACE), Data)

    return Placed(priority, ReplaceableAttachment(program.handle, put=put, remove=remove))


def filters_on(session: Session, place: Interface, *, direction: str) -> list[tuple[int, int]]:
    """(priority, program id) of the programs on a clsact qdisc, in the order in which they run; of a filter without one
    the id is 0."""
    fields = {"index": place.index, "parent": PARENTS[direction]}
    request = netlink.request("RTM_GETTFILTER", fields, flags=netlink.DUMP)
    answer = session.attempt(netlink.netlink_op(request, netns=place.netns), Data)
    found = []
    for kind, answered in netlink.messages(answer.data) if isinstance(answer, Data) else ():
        _, _, handle, _, info = _TCMSG.unpack_from(answered)
        if kind == _RTM_NEWTFILTER and handle:
            found.append((info >> 16, _program_id(netlink.attributes(answered[_TCMSG.size :]))))
    return found


def _program_id(attrs: Mapping[int, bytes]) -> int:
    options = netlink.attributes(attrs.get(_TCA_OPTIONS, b""))
    raw = b""
    if attrs.get(_TCA_KIND) == b"bpf\0":
        raw = options.get(_BPF_ID, b"")
    elif attrs.get(_TCA_KIND) == b"matchall\0":
        action = netlink.attributes(netlink.attributes(options.get(_MATCHALL_ACT, b"")).get(1, b""))
        raw = netlink.attributes(action.get(_ACT_OPTIONS, b"")).get(_ACT_BPF_ID, b"")
    return int(struct.unpack("=I", raw)[0]) if len(raw) == 4 else 0


def _add_qdisc(session: Session, place: Interface) -> bool:
    """Whether this created the qdisc; one may exist already. A new one ends with the test at the latest."""
    flags = netlink.CREATE | netlink.EXCL
    message = netlink.request("RTM_NEWQDISC", _qdisc(place), attrs=[("TCA_KIND", "clsact")], flags=flags)
    op = netlink.netlink_op(message, netns=place.netns)
    result = session.attempt(op, Data)
    if isinstance(result, Failed) and result.errno != errno.EEXIST:
        session.checked(op, result, kind=Data)
    if not isinstance(result, Data):
        return False
    session.later(lambda: _drop_qdisc(session, place))
    return True


def _drop_qdisc(session: Session, place: Interface) -> None:
    session.attempt(_no_qdisc(place), Data)


def _no_qdisc(place: Interface) -> Netlink:
    return netlink.netlink_op(netlink.request("RTM_DELQDISC", _qdisc(place)), netns=place.netns)


def _qdisc(place: Interface) -> dict[str, int]:
    return {"index": place.index, "handle": _CLSACT_HANDLE, "parent": _CLSACT_PARENT}


def _filter(program: AttachableProgram, wanted: Filter, *, priority: int, prog: Handle, flags: int) -> Netlink:
    attrs = [_kind(program), ("TCA_OPTIONS", _options(program, wanted))]
    message = netlink.request("RTM_NEWTFILTER", _place_of(wanted, priority), attrs=attrs, flags=flags)
    return netlink.netlink_op(message, netns=wanted.place.netns, fds={_MARK: prog})


def _options(program: AttachableProgram, wanted: Filter) -> dict[str, list[netlink.Attr]]:
    if program.type_number == ProgType.SCHED_ACT:
        options = netlink.nested(
            ("TCA_ACT_BPF_PARMS", {"action": _ACT_PIPE}),
            ("TCA_ACT_BPF_FD", _MARK),
            ("TCA_ACT_BPF_NAME", program.name),
        )
        action = netlink.nested(("TCA_ACT_KIND", "bpf"), ("TCA_ACT_OPTIONS", options))
        return netlink.nested(("TCA_MATCHALL_ACT", netlink.nested(("TCA_ACT_PRIO_1", action))))
    classid: list[netlink.Attr] = [("TCA_BPF_CLASSID", wanted.classid)] if wanted.classid else []
    program_attrs = (("TCA_BPF_FD", _MARK), ("TCA_BPF_NAME", program.name), ("TCA_BPF_FLAGS", _ACT_DIRECT))
    return netlink.nested(*classid, *program_attrs)


def _removal(program: AttachableProgram, wanted: Filter, *, priority: int) -> Netlink:
    message = netlink.request("RTM_DELTFILTER", _place_of(wanted, priority), attrs=[_kind(program)])
    return netlink.netlink_op(message, netns=wanted.place.netns)


def _place_of(wanted: Filter, priority: int) -> dict[str, int]:
    return {
        "index": wanted.place.index,
        "handle": wanted.handle,
        "parent": PARENTS[wanted.direction],
        "info": wanted.info(priority),
    }


def _kind(program: AttachableProgram) -> netlink.Attr:
    return "TCA_KIND", "matchall" if program.type_number == ProgType.SCHED_ACT else "bpf"
