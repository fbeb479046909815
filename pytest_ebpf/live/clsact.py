"""tc filters on a clsact qdisc, for kernels without TCX: requests are built here, the agent only sends them."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Data, Failed, FdAt, Netlink
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.program import Program

__all__ = ["add_filter"]

# include/uapi/linux/pkt_sched.h and rtnetlink.h
_RTM_NEWQDISC, _RTM_DELQDISC, _RTM_NEWTFILTER, _RTM_DELTFILTER = 36, 37, 44, 45
_REQUEST, _ACK, _EXCL, _CREATE = 1, 4, 0x200, 0x400
_CLSACT_HANDLE, _CLSACT_PARENT = 0xFFFF0000, 0xFFFFFFF1
_PARENTS = MappingProxyType({"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3})
_ETH_P_ALL_BE = 0x0300
_ACT_DIRECT = 1  # TCA_BPF_FLAG_ACT_DIRECT: the program's return value is the verdict
_FIRST_PRIORITY = 0xC000  # what the kernel itself would start from
_MARK = 0x5EBF5EBF  # stands where the fd goes


def add_filter(session: Session, program: Program, *, index: int, direction: str, priority: int) -> Callable[[], None]:
    """Put the program on interface ``index`` and return what takes it off again (the qdisc too, if it was made here).

    ``priority`` 0 takes the first that is free.
    """
    made_qdisc = _add_qdisc(session, index)
    for number in (priority,) if priority else range(_FIRST_PRIORITY, _FIRST_PRIORITY + 64):
        op = _filter(program, index=index, direction=direction, priority=number)
        result = session.attempt(op, Data)
        if not (isinstance(result, Failed) and result.errno == errno.EEXIST and not priority):
            session.checked(op, result, kind=Data)
            break
    removal = Netlink(
        _message(_RTM_DELTFILTER, index=index, parent=_PARENTS[direction], info=number << 16 | _ETH_P_ALL_BE)
    )

    def undo() -> None:
        session.attempt(removal, Data)
        if made_qdisc:
            gone = _message(_RTM_DELQDISC, index=index, parent=_CLSACT_PARENT, handle=_CLSACT_HANDLE)
            session.attempt(Netlink(gone), Data)

    return undo


def _add_qdisc(session: Session, index: int) -> bool:
    """Whether this made the qdisc; one that is there already is fine."""
    request = _message(
        _RTM_NEWQDISC,
        index=index,
        parent=_CLSACT_PARENT,
        handle=_CLSACT_HANDLE,
        flags=_CREATE | _EXCL,
        attrs=[("TCA_KIND", "clsact")],
    )
    result = session.attempt(Netlink(request), Data)
    if isinstance(result, Failed) and result.errno != errno.EEXIST:
        session.checked(Netlink(request), result, kind=Data)
    return isinstance(result, Data)


def _filter(program: Program, *, index: int, direction: str, priority: int) -> Netlink:
    options = {
        "attrs": [["TCA_BPF_FD", _MARK], ["TCA_BPF_NAME", program.name], ["TCA_BPF_FLAGS", _ACT_DIRECT]],
    }
    request = _message(
        _RTM_NEWTFILTER,
        index=index,
        parent=_PARENTS[direction],
        info=priority << 16 | _ETH_P_ALL_BE,
        handle=1,
        flags=_CREATE | _EXCL,
        attrs=[("TCA_KIND", "bpf"), ("TCA_OPTIONS", options)],
    )
    mark = _MARK.to_bytes(4, sys.byteorder)
    return Netlink(request, fds=(FdAt(request.index(mark), program.handle),))


def _message(
    kind: int,
    *,
    index: int,
    parent: int,
    info: int = 0,
    handle: int = 0,
    flags: int = 0,
    attrs: list[tuple[str, object]] | None = None,
) -> bytes:
    from pyroute2.netlink.rtnl.tcmsg import tcmsg

    message = tcmsg()
    message["header"]["type"] = kind
    message["header"]["flags"] = _REQUEST | _ACK | flags
    message["header"]["sequence_number"] = time.monotonic_ns() & 0xFFFFFFFF
    message["index"], message["handle"], message["parent"], message["info"] = index, handle, parent, info
    message["attrs"] = attrs or []
    message.encode()
    return bytes(message.data)
