"""What suites of real projects expected of records: issue "the plugin tells the truth", C1, C2, C3 and C7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_ebpf.agent.ops import MapCreate, Op, Records, RingDrain
from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.typed.object_types import ObjectTypes
from pytest_ebpf.obj.object import MapDef
from support.plan_facts import types

RINGBUF = 27
BTF = types(
    t.Int("unsigned int", 4, 32),  # 1
    t.Int("char", 1, 8, signed=True),  # 2
    t.Array(2, 1, 8),  # 3
    t.Enum("op", 4, (("OP_A", 0), ("OP_B", 1))),  # 4
    t.Struct(
        "event", 20, (t.Member("pid", 1, 0), t.Member("op", 4, 32), t.Member("comm", 3, 64), t.Member("n", 1, 128))
    ),
    t.Array(1, 1, 3),  # 6
    t.Struct("args", 20, (t.Member("count", 1, 0), t.Member("sizes", 6, 32), t.Member("odd", 1, 128))),  # 7
    t.Array(2, 1, 16),  # 8
    t.Struct("exec", 24, (t.Member("pid", 1, 0), t.Member("count", 1, 32), t.Member("args", 8, 64))),  # 9
    t.Struct("bits", 4, (t.Member("low", 1, 0, 3), t.Member("high", 1, 3, 29))),  # 10
)
EVENT = (7).to_bytes(4, "little") + (1).to_bytes(4, "little") + b"true".ljust(8, b"\0") + bytes(4)
TRUE = {"pid": 7, "op": "OP_B", "comm": "true", "n": 0}


@pytest.fixture
def ring(session_on: Callable[..., Session]) -> Callable[..., tuple[Map, list[Op]]]:
    def make(name: str, *records: bytes, btf: Btf | None = BTF, value_type: int = 0) -> tuple[Map, list[Op]]:
        waiting, asked = [Records(records)], []

        def drained(op: RingDrain) -> Records:
            asked.append(op)
            return waiting.pop() if waiting else Records(())

        session = session_on({RingDrain: drained})
        handle = session.make(MapCreate(RINGBUF, 0, 0, 4096))
        definition = MapDef(name, RINGBUF, max_entries=4096, value_type=value_type)
        return Map(session, definition=definition, handle=handle, types=ObjectTypes(btf)), asked

    return make


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"pidd": 7}, r"struct event has no field 'pidd'; did you mean pid\?"),
        ({"pid": "seven"}, r"pid: takes a number, not 'seven'"),
        ({"pid": 1 << 32}, r"pid: 4294967296 does not fit unsigned int"),
        ({"op": "OP_C"}, r"op: 'OP_C' is none of OP_A, OP_B"),
        ({"comm": b"true"}, r"comm: what is stored as b'true' is read as 'true'"),
        ({"comm": "a long name"}, r"comm: 11 bytes of text do not fit 8"),
        ({"comm": {"x": 1}}, r"comm: char\[8\] has no fields"),
        ((7, 1, 2, 3, 4), r"struct event has 4 members \(pid, op, comm, n\), got 5 values"),
        (7, r"takes a dict of fields, not 7"),
        ([7, 1], r"struct event is a dict of fields, never the list \[7, 1\]"),
        ({"pid": [7]}, r"pid: .*is one value, never the list \[7\]"),
    ],
)
@pytest.mark.parametrize("type", [None, "struct event"])
def test_c1_what_can_never_match_is_said_before_the_wait(
    ring: Any, wanted: object, message: str, type: str | None
) -> None:
    events, asked = ring("events", EVENT)
    with pytest.raises(
        BpfUsageError, match=rf"(?s)no record of map 'events' can match .*{message}.*Its records are struct event"
    ):
        events.expect(wanted, timeout=60, type=type)
    assert not asked


@pytest.mark.parametrize(
    "wanted",
    [
        TRUE,
        {"pid": 7},
        {"pid": lambda pid: pid > 1},
        {"pid": pytest.approx(7)},
        {"pid": True + 6, "op": 1, "comm": "true"},
        {"n": 0},
        (7, "OP_B", "true", 0),
        lambda record: record["pid"] == 7,
    ],
)
@pytest.mark.parametrize("type", [None, "struct event"])
def test_c1_what_can_match_does(ring: Any, wanted: object, type: str | None) -> None:
    events, _ = ring("events", EVENT)
    assert events.expect(wanted, timeout=0.01, type=type) == TRUE


def test_c1_a_bitfield_is_as_wide_as_it_is(ring: Any) -> None:
    events, _ = ring("rb", (7).to_bytes(4, "little"))
    with pytest.raises(BpfUsageError, match=r"low: 8 does not fit 3 bits"):
        events.expect({"low": 8}, type="bits")
    assert events.expect({"low": 7}, timeout=0.01) == {"low": 7, "high": 0}


def test_c1_records_without_a_type_are_told_before_the_wait(ring: Any) -> None:
    """struct event and struct args have 20 bytes both."""
    events, asked = ring("rb", EVENT)
    with pytest.raises(
        BpfUsageError, match=r"records of map 'rb' have no type that is known.*\n.*type=\"struct event\""
    ):
        events.expect({"comm": "true"}, timeout=60)
    assert not asked
    nothing, _ = ring("rb", EVENT, btf=None)
    with pytest.raises(BpfUsageError, match=r'no type that is known.*\n.*load\(\.\.\., types="events.h"\)'):
        nothing.expect({"comm": "true"}, timeout=60)
    assert nothing.expect(EVENT, timeout=0.01) == EVENT  # bytes match bytes


def test_c1_records_that_turn_out_to_have_no_type(ring: Any) -> None:
    """Only struct exec has args and is the only struct of its size, but what comes has another size."""
    events, asked = ring("rb", bytes(5000))
    with pytest.raises(BpfUsageError, match=r'(?s)no type that is known.*type="struct exec"') as error:
        events.expect({"args": "x"}, timeout=60)
    assert len(asked) == 1
    assert len(str(error.value)) < 500


def test_c1_other_records_keep_waiting(ring: Any) -> None:
    events, _ = ring("events", b"\1\2", EVENT)
    assert events.expect({"pid": 7}, timeout=0.01) == TRUE
    with pytest.raises(AssertionError, match=r"(?s)no record .* matched .*b'\\x01\\x02'"):
        events.expect({"pid": 7}, timeout=0.01)
    large, _ = ring("events", bytes(5000))
    with pytest.raises(AssertionError, match=r"5000 bytes, without a type: 0000"):
        large.expect({"pid": 7}, timeout=0.01)


@pytest.mark.parametrize("call", ["events", "expect", "follow"])
def test_c2_an_unknown_type_is_an_error_before_the_first_record(ring: Any, call: str) -> None:
    events, asked = ring("events")
    calls = {
        "events": lambda: events.events(type="struct nope", timeout=60),
        "expect": lambda: events.expect({"pid": 7}, type="struct nope", timeout=60),
        "follow": lambda: events.follow(type="struct nope", timeout=60),
    }
    with pytest.raises(BpfUsageError, match="the object has no type 'struct nope'"):
        calls[call]()
    assert not asked


EXEC = (7).to_bytes(4, "little") + (2).to_bytes(4, "little")


@pytest.mark.parametrize("type", [None, "struct exec"])
@pytest.mark.parametrize(("tail", "args"), [(b"ls\0", "ls"), (b"ls -l", "ls -l"), (b"", "")])
def test_c3_a_short_record_is_read_as_far_as_it_goes(ring: Any, type: str | None, tail: bytes, args: str) -> None:
    """As execsnoop sends it: with as much of its last array as was filled."""
    execs, _ = ring("rb", EXEC + tail, value_type=9)
    expected = {"pid": 7, "count": 2} | ({"args": args} if tail else {})
    assert execs.events(type=type) == [expected]


def test_c3_the_last_array_is_cut_at_its_elements(ring: Any) -> None:
    words = b"".join(n.to_bytes(4, "little") for n in (2, 10, 11))
    args, _ = ring("rb", words + b"\1\2", bytes(2))
    assert args.events(type="struct args") == [{"count": 2, "sizes": [10, 11]}, {}]


def test_c3_a_short_record_of_a_struct_without_an_array_at_its_end_stays_bytes(ring: Any) -> None:
    events, _ = ring("events", EVENT[:16])
    assert events.events() == [EVENT[:16]]


def test_c1_of_many_types_the_one_of_the_size_of_the_record_is_named(ring: Any) -> None:
    """Types of the kernel that the object has too may have the same field."""
    larger = types(
        t.Int("unsigned int", 4, 32),  # 1
        t.Struct("task", 16, (t.Member("pid", 1, 0),)),  # 2
        t.Struct("thread", 12, (t.Member("pid", 1, 0),)),  # 3
        t.Struct("event", 20, (t.Member("pid", 1, 0), t.Member("n", 1, 32))),  # 4
        t.Struct("other", 20, (t.Member("x", 1, 0),)),  # 5
    )
    records, _ = ring("rb", bytes(20), btf=larger)
    with pytest.raises(BpfUsageError, match=r'expect\(\.\.\., type="struct event"\)\.$'):
        records.expect({"pid": 7}, timeout=60)
