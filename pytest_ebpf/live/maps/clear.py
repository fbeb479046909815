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

__all__ = ["clear_entries", "take_fifo"]

_POPS = 512  # in one round trip


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


def take_fifo(session: Session, handle: Handle, *, most: int) -> list[bytes]:
    """Pop what is in a queue or stack, in that order; at most ``most``, since programs may push meanwhile."""
    taken: list[bytes] = []
    while len(taken) < most:
        ops: list[Op] = [MapPop(handle)] * min(_POPS, most - len(taken))
        answers = [session.checked(op, found, kind=Value) for op, found in zip(ops, session.run(ops), strict=True)]
        some = [answer.data for answer in answers if answer.data is not None]
        taken += some
        if len(some) < len(ops):
            break
    return taken
