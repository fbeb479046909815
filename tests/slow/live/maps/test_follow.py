"""Asynchronous loops under each event loop: importing trio takes long."""

from __future__ import annotations

import gc
import warnings

import anyio

from pytest_ebpf.agent.ops import MapCreate, Records, RingDrain
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.obj.object import MapDef
from pytest_ebpf.uapi.enums import MapType
from support.fake_target import fake_session


def ring_of_three() -> Map:
    """Two records, one, and then none any more."""
    waiting = [Records((b"a", b"b")), Records((b"c",), discarded=3)]
    session = fake_session({RingDrain: lambda op: waiting.pop(0) if waiting else Records(())})
    definition = MapDef("m", MapType.RINGBUF, key_size=4, value_size=4, max_entries=8)
    return Map(session, definition=definition, handle=session.make(MapCreate(MapType.RINGBUF, 4, 4, 8)))


def test_what_an_asynchronous_loop_left_is_there_at_once() -> None:
    """An event loop would close a generator later or warn of it."""
    for backend in ("asyncio", "trio"):
        ring = ring_of_three()

        async def read(ring: Map = ring) -> list[object]:
            async for record in ring.follow():
                assert record == b"a"
                break
            assert ring.expect(b"c") == b"c"
            return ring.events()

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert anyio.run(read, backend=backend) == [b"b"]
            gc.collect()
