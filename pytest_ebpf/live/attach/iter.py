"""Attaching iterators: programs that the kernel calls for each of its maps, tasks, sockets, and whose text is read."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from errno import EBADF
from types import MappingProxyType

from pytest_ebpf.agent.ops import FdAt, LinkCreate, PointerAt
from pytest_ebpf.btf.types import Kind, Struct
from pytest_ebpf.errors import BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.cgroup import cgroup_target
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.session import Session

__all__ = ["attach_iter"]

_TRACE_ITER = 28  # enum bpf_attach_type
_INFO = struct.Struct("=QI")  # link_create.iter_info and iter_info_len
_CGROUP = struct.Struct("=IIQ")  # its struct cgroup: order, cgroup_fd, cgroup_id (Linux 6.1, d4ccaf58a847)
_PARAMETERS = ("map", "cgroup", "pid", "tid")
_ORDERS = MappingProxyType(
    {"self": 1, "descendants": 2, "descendants last first": 3, "ancestors": 4}
)  # enum bpf_cgroup_iter_order
_TASK = struct.Struct("=III")  # union bpf_iter_link_info, its struct task: tid, pid, pid_fd (Linux 6.1)


def attach_iter(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """An iterator link (Linux 5.8), with ``read()`` and ``text()``. ``map``: whose elements; ``cgroup``: from which
    group on (6.1), in ``order`` "self", "descendants" (the default: parents first), "descendants last first" or
    "ancestors"; ``pid``, ``tid``: only that process or thread (6.1)."""
    assert program.definition.spec is not None
    info, fds = _info(session, program, named=named)
    where = f"{program.definition.spec.target}{_of(named)}"
    op = LinkCreate(program.handle, _TRACE_ITER)
    if info:
        pointer = PointerAt(0, info, fds=fds)
        op = LinkCreate(program.handle, _TRACE_ITER, extra=_INFO.pack(0, len(info)), pointers=(pointer,))
    try:
        handle = session.make(op)
    except KernelCallError as error:
        if error.errno == EBADF and named.get("map") is None:
            error.hint = (
                f"An iterator over {program.definition.spec.target} has to be told of which map: attach(map=...)."
            )
        raise
    return Link(session, program=program, target=where, mechanism="iter link", handles=(handle,))


def _check_known(session: Session, program: AttachableProgram, *, given: str, member: str) -> None:
    """A kernel that does not know a parameter may look at everything instead of refusing, so it is asked before."""
    btf = session.target.facts().btf
    unions = [btf.type(found) for found in btf.find("bpf_iter_link_info", Kind.UNION)] if btf is not None else []
    if any(each.name == member for union in unions if isinstance(union, Struct) for each in union.members):
        return
    raise PlanError(
        f"{program.name}: iterators of this kernel take no {given}=",
        feature=f"iter:{member}",
        since="6.1",
        hint='Mark the test @pytest.mark.bpf_kernel(">=6.1"), or look for it in what the iterator over all says.',
    )


def _info(
    session: Session, program: AttachableProgram, *, named: Mapping[str, object]
) -> tuple[bytes, tuple[FdAt, ...]]:
    """``union bpf_iter_link_info`` and the fds in it; b"" for none."""
    table, group, pid, tid = (named.get(name) for name in _PARAMETERS)
    given = [name for name in _PARAMETERS if named.get(name) is not None]
    if len(given) > 1:
        raise BpfUsageError(f"{program.name}: {given[0]}= and {given[1]}= exclude each other")
    if named.get("order") is not None and group is None:
        raise BpfUsageError(f"{program.name}: order= is about cgroup=, which is not given")
    if table is not None:
        if not isinstance(table, Map):
            raise BpfUsageError(f"{program.name}: map= is a loaded map, such as obj.maps['counts'], not {table!r}")
        return bytes(4), (FdAt(0, table.handle),)
    if group is not None:
        _check_known(session, program, given="cgroup", member="cgroup")
        target, _ = cgroup_target(session, program, group=group)
        return _CGROUP.pack(_order(program, given=named.get("order")), 0, 0), (FdAt(4, target),)
    for name, value in (("pid", pid), ("tid", tid)):
        if value is not None and (not isinstance(value, int) or value <= 0):
            raise BpfUsageError(f"{program.name}: {name}= is a number above 0, not {value!r}")
    if given:
        _check_known(session, program, given=given[0], member="task")
    return (_TASK.pack(tid or 0, pid or 0, 0), ()) if given else (b"", ())


def _order(program: AttachableProgram, *, given: object) -> int:
    name = "descendants" if given is None else given
    if name not in _ORDERS:
        raise BpfUsageError(f"{program.name}: order= is one of {', '.join(_ORDERS)}, not {given!r}")
    return _ORDERS[str(name)]


def _of(named: Mapping[str, object]) -> str:
    """ " of pid 7" """
    for name in _PARAMETERS:
        value = named.get(name)
        if value is not None:
            return f" of {name} {getattr(value, 'name', None) or getattr(value, 'path', value)}"
    return ""
