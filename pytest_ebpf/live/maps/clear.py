"""Emptying a map, whatever its type, in few round trips."""

from __future__ import annotations

from pytest_ebpf.agent.ops import (
    Done,
    Entries,
    Failed,
    Handle,
    MapDelete,
    MapDeleteMany,
    MapPop,
    MapUpdate,
    Op,
    Try,
    Value,
)
from pytest_ebpf.live.maps.kinds import MapKind
from pytest_ebpf.live.session import Session

__all__ = ["clear_entries", "clear_fifo"]


def clear_entries(session: Session, handle: Handle, *, kind: MapKind, dump: Entries) -> None:
    """Delete the entries of ``dump``, or zero them where they are always present. An entry that was removed meanwhile
    (LRU) counts as deleted."""
    if not dump.count:
        return
    if kind.indexed and kind.holds == "data":
        session.one(MapUpdate(handle, dump.keys, bytes(len(dump.values)), dump.count), Done)
        return
    answer = session.attempt(MapDeleteMany(handle, dump.keys, dump.count), Done)
    if isinstance(answer, Failed):  # an entry that is not there any more ends a batch
        ops: list[Op] = [Try(MapDelete(handle, key)) for key, _ in dump.pairs()]
        session.run(ops)


def clear_fifo(session: Session, handle: Handle, *, max_entries: int) -> None:
    """Pop ``max_entries`` values off a queue or stack. Programs may push meanwhile."""
    ops: list[Op] = [MapPop(handle)] * max_entries
    for op, result in zip(ops, session.run(ops), strict=True):
        session.checked(op, result, kind=Value)
