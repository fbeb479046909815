"""Records as they come, plain and asynchronous; many entries of a map in one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from pytest_ebpf.agent.ops import (
    Done,
    Entries,
    MapCreate,
    MapDeleteMany,
    MapTakeMany,
    MapUpdate,
    Records,
    Region,
    RingDrain,
)
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import MapDef

HASH, RINGBUF = 1, 27
U32 = [(n).to_bytes(4, "little") for n in range(256)]

MakeMap = Callable[..., tuple[Map, Session]]


@pytest.fixture
def make(session_on: Callable[..., Session]) -> MakeMap:
    def make(type: int, answers: dict[Any, Any]) -> tuple[Map, Session]:
        session = session_on(answers)
        definition = MapDef("m", type, key_size=4, value_size=4, max_entries=8)
        return Map(session, definition=definition, handle=session.make(MapCreate(type, 4, 4, 8))), session

    return make


def sent(session: Session, kind: type) -> list[Any]:
    return [op for batch in session.target.kernel.batches for op in batch if isinstance(op, kind)]


def coming() -> Callable[[RingDrain], Records]:
    """Two records, one, and then none any more."""
    waiting = [Records((b"a", b"b")), Records((b"c",), discarded=3)]
    return lambda op: waiting.pop(0) if waiting else Records(())


def test_a_loop_ends_when_nothing_comes(make: MakeMap) -> None:
    ring, session = make(RINGBUF, {RingDrain: coming()})
    assert list(ring.follow(timeout=2)) == [b"a", b"b", b"c"]
    assert [(op.at_least, op.timeout_ms) for op in sent(session, RingDrain)] == [(1, 2000)] * 3
    assert (ring.lost, ring.discarded) == (0, 3)


def test_what_a_loop_left_stays(make: MakeMap) -> None:
    ring, _ = make(RINGBUF, {RingDrain: coming()})
    for record in ring.follow():
        assert record == b"a"
        break
    assert ring.events() == [b"b", b"c"]


def test_coroutines_take_turns(make: MakeMap) -> None:
    ring, session = make(RINGBUF, {RingDrain: coming()})
    turns = 0

    async def other() -> None:
        nonlocal turns
        for _ in range(5):
            turns += 1
            await asyncio.sleep(0.001)

    async def read() -> list[object]:
        return [record async for record in ring.follow(timeout=0.1)]

    async def both() -> list[object]:
        records, _ = await asyncio.gather(read(), other())
        return records

    assert asyncio.run(both()) == [b"a", b"b", b"c"]
    assert turns == 5
    assert {op.timeout_ms for op in sent(session, RingDrain)} == {0}, "the agent never waits: it would hold the kernel"


def test_other_coroutines_get_their_turn_while_records_come_without_a_pause(make: MakeMap) -> None:
    ring, _ = make(RINGBUF, {RingDrain: Records((b"a", b"b"))})

    async def read() -> None:
        with anyio.fail_after(0.05):
            async for _ in ring.follow():
                pass

    with pytest.raises(TimeoutError):
        anyio.run(read)


def test_raw_events_stay_in_one_piece(make: MakeMap) -> None:
    region = Region(b"12345678aaaa____12345678bbbb____", 2, 4, 16, 8)
    ring, _ = make(RINGBUF, {RingDrain: [region, region, region]})
    assert ring.raw_events() is region
    assert list(region) == [region[0], region[-1]] == [b"aaaa", b"bbbb"]
    with pytest.raises(IndexError, match="record 2 of 2"):
        region[2]
    assert ring.expect(b"bbbb") == b"bbbb"
    assert ring.raw_events() == [b"aaaa", b"aaaa", b"bbbb"]


def test_many_entries_go_in_one_trip(make: MakeMap) -> None:
    taken = Entries(U32[1] + U32[2], U32[10] + U32[20], 2, 4, 4)
    table, session = make(HASH, {MapUpdate: Done(), MapDeleteMany: Done(), MapTakeMany: taken})
    table.update_many({1: 10, 2: b"four"}, flags=1)
    table.delete_many([3, U32[4]])
    assert table.drain() == [(1, 10), (2, 20)]
    assert sent(session, MapUpdate) == [MapUpdate(table.handle, U32[1] + U32[2], U32[10] + b"four", 2, flags=1)]
    assert sent(session, MapDeleteMany) == [MapDeleteMany(table.handle, U32[3] + U32[4], 2)]


def test_objects_are_stored_one_at_a_time(make: MakeMap) -> None:
    table, _ = make(13, {})
    with pytest.raises(BpfUsageError, match="one at a time"):
        table.update_many({1: table})
