"""Records of ring buffers and perf event arrays, none of which goes without being counted. The host unless kernels are
named."""

from __future__ import annotations

import asyncio

import pytest

from pytest_ebpf import Bpf
from support.paths import TESTS

RECORDS = TESTS / "objects" / "built" / "records.bpf.o"
FRAME, LARGE = bytes(64), bytes(2000)


def test_records_that_came_and_those_that_were_discarded(bpf: Bpf) -> None:
    obj = bpf.load(RECORDS)
    events = obj.maps["events"]
    obj["write"].run_many([FRAME] * 6)
    assert events.events() == [{"number": n, "kind": n % 3} for n in (0, 1, 3, 4)]
    assert (events.discarded, events.lost) == (2, 0)
    obj["write"].run_many([FRAME] * 3)
    assert events.expect({"number": 7}) == {"number": 7, "kind": 1}
    assert events.events() == [{"number": 6, "kind": 0}]
    assert events.discarded == 3
    assert events.events(timeout=0.05) == []


def test_a_full_ring_refuses_and_what_is_in_it_stays(bpf: Bpf) -> None:
    """The kernel does not count what it refuses: the program has to."""
    obj = bpf.load(RECORDS)
    obj["write"].run_many([FRAME] * 1000)
    events = obj.maps["events"]
    came = len(events.events())
    refused = obj.globals["refused"]
    assert refused > 0
    assert came + events.discarded + refused == 1000


def test_what_a_full_perf_buffer_loses_is_counted(bpf: Bpf) -> None:
    obj = bpf.load(RECORDS)
    samples, emitted, came = obj.maps["samples"], 1000, 0
    obj["sample"].run_many([LARGE] * emitted)
    came += len(samples.events())
    for _ in range(50):  # the loss is told with the next record of that processor
        if came + samples.lost == emitted:
            break
        obj["sample"].run_many([LARGE] * 4)
        emitted += 4
        came += len(samples.events())
    assert came + samples.lost == emitted
    assert samples.lost > 0


def test_records_as_they_come(bpf: Bpf) -> None:
    obj = bpf.load(RECORDS)
    events = obj.maps["events"]
    obj["write"].run_many([FRAME] * 3)
    assert [record["number"] for record in events.follow(timeout=0.1)] == [0, 1]  # type: ignore[index]

    async def numbers() -> list[int]:
        found = []
        async for record in events.follow(timeout=5.0):
            found.append(record["number"])  # type: ignore[index]
            if len(found) == 4:
                break
        return found

    async def both() -> list[int]:
        reader = asyncio.create_task(numbers())
        for _ in range(6):
            await asyncio.sleep(0)
            obj["write"].run(FRAME)
        return await reader

    assert asyncio.run(both()) == [3, 4, 6, 7]


def test_what_was_expected_and_what_came(bpf: Bpf) -> None:
    obj = bpf.load(RECORDS)
    obj["write"].run_many([FRAME] * 2)
    with pytest.raises(AssertionError, match=r"(?s)no record of map 'events' matched.*'number': 1"):
        obj.maps["events"].expect({"number": 9}, timeout=0.05)
    assert len(obj.maps["events"].events()) == 2  # nothing was taken


def test_many_records_are_read_as_one_piece(bpf: Bpf) -> None:
    obj = bpf.load(RECORDS, maps={"events": 1 << 24})
    events = obj.maps["events"]
    obj["write"].run_many([FRAME] * 30_000)
    raw = events.raw_events()
    assert (len(raw), events.discarded, obj.globals["refused"]) == (20_000, 10_000, 0)
    assert bytes(raw[-1]) == (29_998).to_bytes(4, "little") + (29_998 % 3).to_bytes(4, "little")
