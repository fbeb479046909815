"""Of what type a record is."""

from __future__ import annotations

import pytest

from pytest_ebpf.btf import types as t
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.maps.record_types import record_type
from pytest_ebpf.live.typed.object_types import ObjectTypes
from pytest_ebpf.obj.object import MapDef
from support.plan_facts import types

PERF, RING = 4, 27
BTF = types(
    t.Int("unsigned int", 4, 32),  # 1
    t.Array(1, 1, 0),  # 2
    t.Struct("event", 8, (t.Member("a", 1, 0), t.Member("b", 1, 32))),  # 3
    t.Struct("tail", 4, (t.Member("n", 1, 0), t.Member("rest", 2, 32))),  # 4
    t.Struct("only", 24, (t.Member("a", 1, 0),)),  # 5
    t.Struct("one", 16, (t.Member("a", 1, 0),)),  # 6
    t.Struct("two", 16, (t.Member("a", 1, 0),)),  # 7
    t.Enum("color", 4, (("RED", 0),)),  # 8
    t.Float("double", 8),  # 9
    t.Typedef("event_t", 3),  # 10
)


@pytest.mark.parametrize(
    ("definition", "size", "found"),
    [
        (MapDef("ring", RING, value_type=5), 24, 5),  # the map's own
        (MapDef("ring", RING, value_type=1), 4, 1),
        (MapDef("ring", RING, value_type=4), 40, 4),  # as long as it likes
        (MapDef("ring", RING, value_type=6), 24, 5),  # not of that size: the only one that is
        (MapDef("perf", PERF, value_type=1), 12, 0),  # an fd
        (MapDef("perf", PERF, value_type=6), 20, 6),  # padded
        (MapDef("events", RING), 8, 3),  # by name
        (MapDef("event", RING), 12, 3),
        (MapDef("tails", RING), 104, 4),
        (MapDef("ring", RING), 24, 5),
        (MapDef("ring", RING), 16, 0),  # one or two?
    ],
)
def test_the_type_of_a_record(definition: MapDef, size: int, found: int) -> None:
    got = record_type(ObjectTypes(BTF), size=size, definition=definition, wanted=None)
    assert (got.type_id if got else 0) == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("struct two", 7), ("two", 7), ("enum color", 8), ("double", 9), ("event_t", 10), ("unsigned int", 1)],
)
def test_the_type_asked_for(wanted: str, found: int) -> None:
    got = record_type(ObjectTypes(BTF), size=99, definition=MapDef("events", RING), wanted=wanted)
    assert got is not None
    assert got.type_id == found


def test_a_type_that_is_not_there() -> None:
    with pytest.raises(BpfUsageError, match=r"no type 'struct evnt'\ndid you mean event\?"):
        record_type(ObjectTypes(BTF), size=8, definition=MapDef("events", RING), wanted="struct evnt")
