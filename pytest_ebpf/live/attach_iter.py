"""Attaching iterators: programs that the kernel calls for each of its maps, tasks, sockets, and whose text is read."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import FdAt, LinkCreate, PointerAt
from pytest_ebpf.errors import UsageError
from pytest_ebpf.live.links import Link
from pytest_ebpf.live.maps import Map
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.program import Program

__all__ = ["attach_iter"]

_TRACE_ITER = 28  # enum bpf_attach_type
_INFO = struct.Struct("=QI")  # link_create.iter_info and iter_info_len
_TASK = struct.Struct("=III")  # union bpf_iter_link_info, its struct task: tid, pid, pid_fd (Linux 6.1)


def attach_iter(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """An iterator link (Linux 5.8), with ``read()`` and ``text()``. ``map``: whose elements;
    ``pid``, ``tid``: only that process or thread."""
    assert program.definition.spec is not None
    info, fds = _info(program, named=named)
    where = f"{program.definition.spec.target}{_of(named)}"
    op = LinkCreate(program.handle, _TRACE_ITER)
    if info:
        pointer = PointerAt(0, info, fds=fds)
        op = LinkCreate(program.handle, _TRACE_ITER, extra=_INFO.pack(0, len(info)), pointers=(pointer,))
    return Link(session, program=program, where=where, way="iter link", handles=(session.make(op),))


def _info(program: Program, *, named: Mapping[str, object]) -> tuple[bytes, tuple[FdAt, ...]]:
    """``union bpf_iter_link_info`` and the fds in it; b"" for none."""
    table, pid, tid = named.get("map"), named.get("pid"), named.get("tid")
    if table is not None:
        if not isinstance(table, Map):
            raise UsageError(f"{program.name}: map= is a loaded map, such as obj.maps['counts'], not {table!r}")
        return bytes(4), (FdAt(0, table.handle),)
    for name, value in (("pid", pid), ("tid", tid)):
        if value is not None and (not isinstance(value, int) or value <= 0):
            raise UsageError(f"{program.name}: {name}= is a number above 0, not {value!r}")
    if pid is not None and tid is not None:
        raise UsageError(f"{program.name}: pid= and tid= exclude each other")
    if pid is None and tid is None:
        return b"", ()
    return _TASK.pack(tid or 0, pid or 0, 0), ()


def _of(named: Mapping[str, object]) -> str:
    """ " of pid 7" """
    for name in ("map", "pid", "tid"):
        value = named.get(name)
        if value is not None:
            return f" of {name} {value.name if isinstance(value, Map) else value}"
    return ""
