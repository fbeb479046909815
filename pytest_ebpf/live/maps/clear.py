"""Emptying a map, whatever its type, in few round trips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Done, Failed, MapDelete, MapDeleteMany, MapPop, MapUpdate, Op, Try, Value
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.maps.map import Map

__all__ = ["clear_map"]


def clear_map(session: Session, table: Map) -> None:
    """See ``Map.clear``. An entry that goes by itself meanwhile (LRU) is as good as deleted."""
    kind, handle = table.kind, table.handle
    if kind.access == "fifo":
        _drain(session, table)
        return
    dump = table.dump()
    if not dump.count:
        return
    if kind.indexed and kind.holds == "data":
        session.one(MapUpdate(handle, dump.keys, bytes(len(dump.values)), dump.count), Done)
        return
    answer = session.attempt(MapDeleteMany(handle, dump.keys, dump.count), Done)
    if isinstance(answer, Failed):  # an entry that is not there any more ends a batch
        ops: list[Op] = [Try(MapDelete(handle, key)) for key, _ in dump.pairs()]
        session.run(ops)


def _drain(session: Session, table: Map) -> None:
    """Programs may push meanwhile: as often as there is room, and no more."""
    ops: list[Op] = [MapPop(table.handle)] * table.definition.max_entries
    for op, result in zip(ops, session.run(ops), strict=True):
        session.checked(op, result, kind=Value)
