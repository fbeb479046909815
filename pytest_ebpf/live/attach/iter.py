"""Iterators: programs that the kernel calls for each of its maps, tasks or sockets, and whose output is read."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from errno import EBADF
from types import MappingProxyType

from pytest_ebpf.agent.ops import FdAt, LinkCreate, PointerAt
from pytest_ebpf.btf.types import Kind, Struct
from pytest_ebpf.errors import BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.live.attach.arguments import CgroupArg, IterOrder
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.cgroup import open_cgroup
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.attach.options import choice_option, int_option
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import AttachType
from pytest_ebpf.uapi.links import CgroupIterOrder

__all__ = ["attach_iter"]

_INFO = "QI"  # link_create.iter_info and iter_info_len
_CGROUP = "IIQ"  # its struct cgroup: order, cgroup_fd, cgroup_id (Linux 6.1, d4ccaf58a847)
_TASK = "III"  # union bpf_iter_link_info, its struct task: tid, pid, pid_fd (Linux 6.1)
_ORDERS: Mapping[str, CgroupIterOrder] = MappingProxyType(
    {
        "self": CgroupIterOrder.SELF_ONLY,
        "descendants": CgroupIterOrder.DESCENDANTS_PRE,
        "descendants last first": CgroupIterOrder.DESCENDANTS_POST,
        "ancestors": CgroupIterOrder.ANCESTORS_UP,
        "children": CgroupIterOrder.CHILDREN,
    }
)


def attach_iter(
    session: Session,
    program: AttachableProgram,
    *,
    map: Map | None = None,
    cgroup: CgroupArg | None = None,
    order: IterOrder | None = None,
    pid: int | None = None,
    tid: int | None = None,
) -> Link:
    """An iterator link (Linux 5.8), with ``read()`` and ``text()``. ``map``: whose elements; ``cgroup``: where to start
    (6.1), in ``order`` "self", "descendants" (the default: parents first), "descendants last first", "ancestors" or
    "children" (7.0); ``pid``, ``tid``: only that process or thread (6.1)."""
    spec, given = program.definition.spec, {"map": map, "cgroup": cgroup, "pid": pid, "tid": tid}
    assert spec is not None
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise BpfUsageError(f"{program.name}: {named[0]}= and {named[1]}= exclude each other")
    if order is not None and cgroup is None:
        raise BpfUsageError(f"{program.name}: order= needs cgroup=")
    info: bytes = b""
    fds: tuple[FdAt, ...] = ()
    if map is not None:
        info, fds = bytes(4), (FdAt(0, map.handle),)
    elif cgroup is not None:
        info, fds = _groups(session, program, cgroup=cgroup, order=order or "descendants")
    elif named:
        info = _tasks(session, program, pid=pid, tid=tid)
    extra = struct.pack(session.target.described.order + _INFO, 0, len(info)) if info else b""
    pointers = (PointerAt(0, info, fds=fds),) if info else ()
    op = LinkCreate(program.handle, AttachType.TRACE_ITER, extra=extra, pointers=pointers)
    try:
        handle = session.make(op)
    except KernelCallError as error:
        if error.errno == EBADF and map is None:
            error.hint = f"An iterator over {spec.target} needs the map to walk: attach(map=...)."
        raise
    where = "".join(f" of {name} {_shown(given[name])}" for name in named)
    return Link(session, program=program, target=f"{spec.target}{where}", mechanism=Mechanism.ITER, handles=(handle,))


def _check_known(session: Session, program: AttachableProgram, *, given: str, member: str) -> None:
    """A kernel that does not know a parameter may ignore it instead of refusing it, so it is checked first."""
    btf = session.target.facts().btf
    unions = [btf.type(found) for found in btf.find("bpf_iter_link_info", Kind.UNION)] if btf is not None else []
    if any(each.name == member for union in unions if isinstance(union, Struct) for each in union.members):
        return
    raise PlanError(
        f"{program.name}: iterators of this kernel take no {given}=",
        feature=f"iter:{member}",
        since="6.1",
        hint='Mark the test @pytest.mark.bpf_kernel(">=6.1"), or search the output of the iterator over all of them.',
    )


def _groups(
    session: Session, program: AttachableProgram, *, cgroup: CgroupArg, order: str
) -> tuple[bytes, tuple[FdAt, ...]]:
    """``union bpf_iter_link_info`` of a cgroup iterator, and the fds in it."""
    number = _ORDERS[choice_option(program.name, "order", value=order, among=_ORDERS)]
    _check_known(session, program, given="cgroup", member="cgroup")
    target, _ = open_cgroup(session, cgroup, who=program.name)
    return struct.pack(session.target.described.order + _CGROUP, number, 0, 0), (FdAt(4, target),)


def _tasks(session: Session, program: AttachableProgram, *, pid: int | None, tid: int | None) -> bytes:
    """``union bpf_iter_link_info`` of a task iterator."""
    name, value = ("pid", pid) if pid is not None else ("tid", tid)
    int_option(program.name, name, value=value, low=1)
    _check_known(session, program, given=name, member="task")
    return struct.pack(session.target.described.order + _TASK, tid or 0, pid or 0, 0)


def _shown(value: object) -> object:
    return getattr(value, "name", None) or getattr(value, "path", value)
