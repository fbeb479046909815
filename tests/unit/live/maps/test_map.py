"""Maps, as a test holds them, on a kernel that answers from a script."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from pytest_ebpf.agent.ops import (
    Done,
    Entries,
    Failed,
    MapCreate,
    MapDelete,
    MapDeleteMany,
    MapDump,
    MapGet,
    MapPop,
    MapSet,
    MapUpdate,
    PerfDrain,
    Records,
    RingDrain,
    Try,
    Value,
)
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.kernels.fake import FakeKernel
from pytest_ebpf.live.maps.diff import explain_map
from pytest_ebpf.live.maps.kinds import MAP_KINDS
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import MapDef
from pytest_ebpf.uapi.flags import MapFlag
from pytest_ebpf.uapi.sections import MAP_TYPES

HASH, ARRAY, PROG_ARRAY, PERF, PERCPU_ARRAY, LPM, QUEUE, RINGBUF = 1, 2, 3, 4, 6, 11, 22, 27
U32 = [(n).to_bytes(4, "little") for n in range(256)]

MakeMap = Callable[..., tuple[Map, Session]]


@pytest.fixture
def make(session_on: Callable[..., Session]) -> MakeMap:
    """A map of a type with 4-byte keys and values, on a kernel with these answers."""

    def make(type: int, answers: dict[Any, Any] | None = None, **fields: int) -> tuple[Map, Session]:
        session = session_on(answers)
        sizes = {"key_size": 4, "value_size": 4, "max_entries": 8} | fields
        definition = MapDef("m", type, **sizes)
        return Map(session, definition=definition, handle=session.make(MapCreate(type, 4, 4, 8))), session

    return make


def sent(session: Session, kind: type) -> list[Any]:
    return [op for batch in session.target.kernel.batches for op in batch if isinstance(op, kind)]


def tried(session: Session, kind: type) -> list[Any]:
    plain = [getattr(op, "op", op) for batch in session.target.kernel.batches for op in batch]
    return [op for op in plain if isinstance(op, kind)]


def test_kinds_are_the_kernels() -> None:
    """Numbers and names as in the generated table."""
    assert {number: kind.name for number, kind in MAP_KINDS.items()} == {
        number: name.lower() for number, name in enumerate(MAP_TYPES) if number
    }


def asked_again(session: Session) -> list[object]:
    """Keys that were looked up by an op that may fail."""
    kernel = session.target.kernel
    assert isinstance(kernel, FakeKernel)
    tried = [op.op for batch in kernel.batches for op in batch if isinstance(op, Try)]
    return [op.key for op in tried if isinstance(op, MapGet)]


def test_reading(make: MakeMap) -> None:
    table, session = make(
        HASH, {MapGet: [Value(U32[7]), *(Value(None),) * 2, Value(U32[8]), Value(None), Value(U32[0])]}
    )
    assert table[1] == 7
    with pytest.raises(KeyError, match="5 is not in map 'm'"):
        table[5]
    assert table.get(2) == 8
    assert table.get(3, "none") == "none"
    assert 4 in table
    assert [op.key for op in sent(session, MapGet)] == [U32[n] for n in (1, 5, 2, 3, 4)]
    assert asked_again(session) == [U32[5][::-1]], "in case it is an address in the other byte order"


def test_a_key_of_no_fitting_type_is_not_in_the_map(make: MakeMap) -> None:
    table, session = make(HASH)
    assert None not in table
    assert sent(session, MapGet) == []


def test_writing(make: MakeMap) -> None:
    table, session = make(HASH, {MapSet: Done(), MapDelete: [Done(), Failed("MapDelete", errno.ENOENT, "no entry")]})
    table[1] = 2
    table.put(3, 4, flags=MapFlag.NOEXIST)
    del table[1]
    with pytest.raises(KeyError, match="1 is not in map 'm'"):
        del table[1]
    assert [(op.key, op.value, op.flags) for op in sent(session, MapSet)] == [(U32[1], U32[2], 0), (U32[3], U32[4], 1)]


def test_errors_carry_advice(make: MakeMap) -> None:
    table, _ = make(HASH, {MapSet: Failed("MapSet", errno.E2BIG, "m: Argument list too long")})
    with pytest.raises(KernelCallError, match="E2BIG") as error:
        table[1] = 2
    assert "raise max_entries" in str(error.value)


def test_walking(make: MakeMap) -> None:
    dump = Entries(keys=U32[1] + U32[2], values=U32[10] + U32[20], count=2, key_stride=4, value_stride=4)
    table, _ = make(HASH, {MapDump: dump})
    assert table.items() == [(1, 10), (2, 20)]
    assert list(table) == table.keys() == [1, 2]
    assert table.values() == [10, 20]
    assert len(table) == 2
    assert table == {1: 10, 2: 20}
    assert table == {U32[1]: U32[10], 2: 20}
    assert table != {1: 10}
    assert table != {1: 10, 2: 20, 3: 30}


def test_a_difference_is_told_by_element(make: MakeMap) -> None:
    dump = Entries(keys=U32[1] + U32[2], values=U32[10] + U32[20], count=2, key_stride=4, value_stride=4)
    table, _ = make(HASH, {MapDump: dump})
    assert explain_map(table, {1: 11, 3: 30}) == [
        "<Map m (hash)> does not hold what was expected",
        "  1: 10, expected 11",
        "  2: 20 is there, nothing was expected",
        "  3: is missing, expected 30",
    ]


def test_arrays_are_compared_without_their_zeros(make: MakeMap) -> None:
    dump = Entries(keys=U32[0] + U32[1], values=U32[0] + U32[20], count=2, key_stride=4, value_stride=4)
    table, _ = make(ARRAY, {MapDump: dump})
    assert len(table) == 8
    assert table == {1: 20}
    assert table == {0: 0, 1: 20}
    assert table != {0: 1, 1: 20}


def test_per_cpu(make: MakeMap) -> None:
    """Two processors: values are padded to 8 bytes each."""
    values = U32[3] + bytes(4) + U32[4] + bytes(4)
    dump = Entries(keys=U32[0], values=values, count=1, key_stride=4, value_stride=16)
    table, session = make(PERCPU_ARRAY, {MapGet: Value(values), MapSet: Done(), MapDump: dump})
    assert table[0] == [3, 4]
    assert table.sum(0) == 7
    assert table.items() == [(0, [3, 4])]
    table[0] = 9
    table[0] = [1, 2]
    assert [op.value for op in sent(session, MapSet)] == [
        U32[9] + bytes(4) + U32[9] + bytes(4),
        U32[1] + bytes(4) + U32[2] + bytes(4),
    ]
    with pytest.raises(ValueError, match="a value per processor: need 2, got 3"):
        table[0] = [1, 2, 3]


def test_sum_of_a_plain_map_is_its_value(make: MakeMap) -> None:
    table, _ = make(ARRAY, {MapGet: Value(U32[5])})
    assert table.sum(0) == 5


def test_lpm_keys(make: MakeMap) -> None:
    table, session = make(LPM, {MapSet: Done(), MapGet: Value(U32[1])}, key_size=8)
    table["192.0.2.0/24"] = 1
    assert table["192.0.2.9"] == 1
    assert [op.key for op in sent(session, MapSet)] == [bytes([24, 0, 0, 0, 192, 0, 2, 0])]
    assert [op.key for op in sent(session, MapGet)] == [bytes([32, 0, 0, 0, 192, 0, 2, 9])]


def test_queues(make: MakeMap) -> None:
    queue, session = make(
        QUEUE, {MapSet: Done(), MapPop: [Value(U32[1]), Value(None)], MapGet: Value(U32[1])}, key_size=0
    )
    queue.push(1)
    assert queue.peek() == queue.pop() == 1
    with pytest.raises(LookupError, match="queue 'm' is empty"):
        queue.pop()
    assert [(op.key, op.value) for op in sent(session, MapSet)] == [(b"", U32[1])]
    with pytest.raises(BpfUsageError, match="map 'm' is a queue: it has no keys"):
        queue[0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.push(1), r"push\(\) is for queues and stacks"),
        (lambda m: m.events(), "events are read from ring buffers"),
        (lambda m: m.expect({}), "events are read from ring buffers"),
    ],
)
def test_methods_of_other_kinds(make: MakeMap, call: Callable[[Map], object], words: str) -> None:
    table, _ = make(HASH)
    with pytest.raises(BpfUsageError, match=f"map 'm' is a hash: {words}"):
        call(table)


def test_objects_as_values(make: MakeMap) -> None:
    slots, session = make(PROG_ARRAY, {MapSet: Done(), MapGet: Value(U32[9])})
    other, _ = make(HASH)
    program = session.make(MapCreate(1, 4, 4, 1))
    slots[0] = type("P", (), {"handle": program})()
    assert sent(session, MapSet)[0].value == program
    assert slots[0] == 9  # an id that is no program of the object
    with pytest.raises(TypeError, match="takes a program, not 5"):
        slots[0] = 5
    assert other is not slots


def test_events_wait_only_when_told_to(make: MakeMap) -> None:
    ring, session = make(RINGBUF, {RingDrain: [Records((b"a", b"b")), Records((b"c",)), Records(())]})
    assert ring.events() == [b"a", b"b"]
    assert ring.events(timeout=2, at_least=3) == [b"c"]
    assert ring.events(timeout=1) == []
    assert [(op.at_least, op.timeout_ms) for op in sent(session, RingDrain)] == [(0, 0), (3, 2000), (1, 1000)]


def test_expect_leaves_the_others(make: MakeMap) -> None:
    ring, _ = make(RINGBUF, {RingDrain: [Records((b"a", b"b")), Records((b"c",)), Records(())]})
    assert ring.expect(b"b") == b"b"
    assert ring.expect(b"c") == b"c"
    assert ring.events() == [b"a"]


def test_expect_tells_what_came(make: MakeMap) -> None:
    ring, _ = make(RINGBUF, {RingDrain: lambda op: Records((), lost=0) if op.at_least else Records((b"x",), lost=2)})
    with pytest.raises(AssertionError, match=r"(?s)no record of map 'm' matched b'y' within 0.05 s.*b'x'.*dropped 2"):
        ring.expect(b"y", timeout=0.05)


def test_perf_buffers(make: MakeMap) -> None:
    perf, session = make(PERF, {PerfDrain: Records((b"a",))})
    assert perf.events(timeout=1) == [b"a"]
    assert [(op.at_least, op.timeout_ms) for op in sent(session, PerfDrain)] == [(1, 1000)]
    with pytest.raises(BpfUsageError, match="the object has no BTF, so there is no 'struct x'"):
        perf.events(type="struct x")


def test_clear(make: MakeMap) -> None:
    dump = Entries(keys=U32[1], values=U32[10], count=1, key_stride=4, value_stride=4)
    gone = Failed("MapDeleteMany", errno.ENOENT, "no entry")
    table, session = make(HASH, {MapDump: dump, MapDeleteMany: [Done(), gone], MapDelete: Done()})
    table.clear()
    assert tried(session, MapDeleteMany) == [MapDeleteMany(table.handle, U32[1], 1)]
    assert tried(session, MapDelete) == []
    table.clear()  # something else deleted an entry in that instant: each by itself
    assert tried(session, MapDelete) == [MapDelete(table.handle, U32[1])]
    array, session = make(ARRAY, {MapDump: dump, MapUpdate: Done()})
    array.clear()
    assert tried(session, MapUpdate) == [MapUpdate(array.handle, U32[1], bytes(4), 1)]
    queue, session = make(QUEUE, {MapPop: Value(None)}, max_entries=3)
    queue.clear()
    assert tried(session, MapPop) == [MapPop(queue.handle)] * 3
