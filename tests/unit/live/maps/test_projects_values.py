"""What suites of real projects wrote as values of maps: issue "the plugin tells the truth", C4 and C5."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_ebpf.agent.ops import Entries, MapCreate, MapDump
from pytest_ebpf.btf import types as t
from pytest_ebpf.live.maps.diff import map_differences
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.typed.object_types import ObjectTypes
from pytest_ebpf.obj.object import MapDef
from support.plan_facts import types

HASH = 1
BTF = types(
    t.Int("unsigned int", 4, 32),  # 1
    t.Enum("op", 4, (("OP_A", 0), ("OP_B", 1), ("OP_ALIAS", 1))),  # 2
    t.Struct("pair", 8, (t.Member("x", 1, 0), t.Member("y", 1, 32))),  # 3
    t.Array(3, 1, 1),  # 4
    t.Struct("outer", 12, (t.Member("a", 1, 0), t.Member("pairs", 4, 32))),  # 5
    t.Struct("deep", 12, (t.Member("a", 1, 0), t.Member("pair", 3, 32))),  # 6
    t.Struct("", 8, (t.Member("v4", 1, 0), t.Member("v6", 3, 0)), is_union=True),  # 7
    t.Struct("address", 12, (t.Member("family", 1, 0), t.Member("", 7, 32))),  # 8
    t.Struct("holder", 12, (t.Member("family", 1, 0), t.Member("u", 7, 32))),  # 9
)
U32 = [n.to_bytes(4, "little") for n in range(256)]
SIZES = {2: 4, 3: 8, 5: 12, 6: 12, 8: 12, 9: 12}


@pytest.fixture
def holding(session_on: Callable[..., Session]) -> Callable[..., Any]:
    def make(value_type: int, *values: int) -> Any:
        data, size = b"".join(U32[value] for value in values), SIZES[value_type]
        dump = Entries(keys=U32[0], values=data, count=1, key_stride=4, value_stride=size)
        session = session_on({MapDump: dump})
        definition = MapDef("m", HASH, key_size=4, value_size=size, max_entries=8, value_type=value_type)
        return Map(
            session, definition=definition, handle=session.make(MapCreate(HASH, 4, size, 8)), types=ObjectTypes(BTF)
        )

    return make


def test_c4_enumerators_compare_by_name(holding: Any) -> None:
    ops = holding(2, 1)
    assert ops == {0: "OP_B"}
    assert ops == {0: "OP_ALIAS"}
    assert ops == {0: 1}
    assert ops != {0: "OP_A"}
    assert ops != {0: "OP_TYPO"}
    (value,) = ops.values()
    assert value == "OP_B"
    assert value != "OP_A"
    assert {value: 1}[1] == 1
    assert map_differences(ops, {0: "OP_A"}) == ["  0: <OP_B: 1>, expected 'OP_A'"]


def test_c5_tuples_stand_for_structs_at_every_depth(holding: Any, session_on: Callable[..., Session]) -> None:
    assert holding(5, 1, 2, 3) == {0: (1, ((2, 3),))}
    assert holding(5, 1, 2, 3) == {0: (1, [(2, 3)])}
    assert holding(5, 1, 2, 3) == {0: {"a": 1, "pairs": [(2, 3)]}}
    assert holding(6, 1, 2, 3) == {0: (1, (2, 3))}
    assert holding(6, 1, 2, 3) != {0: (1, (2, 4))}
    assert map_differences(holding(6, 1, 2, 3), {0: (1, (2, 4))}) == ["  0.pair.y: 3, expected 4"]
    with pytest.raises(ValueError, match=r"value of map 'm' has 2 members \(x, y\), got 3 values"):
        assert holding(6, 1, 2, 3) == {0: (1, (2, 4, 5))}


def test_c5_tuples_are_stored_as_structs(holding: Any) -> None:
    codec = holding(5, 1, 2, 3).codec
    assert codec.bytes_of((1, ((2, 3),))) == U32[1] + U32[2] + U32[3]
    assert codec.bytes_of({"a": 1, "pairs": [(2, 3)]}) == U32[1] + U32[2] + U32[3]
    assert holding(8, 1).codec.bytes_of((2, 7)) == U32[2] + U32[7] + U32[0]  # the union's first member, as in C
    assert holding(8, 1).codec.bytes_of((2, {"v6": (7, 8)})) == U32[2] + U32[7] + U32[8]


def test_c5_structs_with_anonymous_unions_compare_by_the_fields_that_were_given(holding: Any) -> None:
    six = holding(8, 10, 1, 2)
    assert six == {0: {"family": 10, "v6": {"x": 1, "y": 2}}}
    assert six == {0: {"family": 10, "v6": (1, 2)}}
    assert six == {0: {"family": 10, "v4": 1}}
    assert six == {0: {"family": 10, "v4": 1, "v6": (1, 2)}}
    assert six != {0: {"family": 10, "v4": 2}}
    assert six != {0: {"family": 10}}  # nothing of the union was given
    assert six != {0: {"v4": 1}}  # and family shares its bytes with nobody
    assert six != {0: {"family": 10, "v4": 1, "v7": 1}}
    assert holding(9, 10, 1, 2) == {0: {"family": 10, "u": {"v4": 1}}}
    (value,) = six.values()
    assert value == {"family": 10, "v4": 1}
    assert value != {"family": 10, "v4": 2}
    assert map_differences(six, {0: {"family": 10}}) == [
        "  0.v4: 1, not mentioned in what was expected",
        "  0.v6: {'x': 1, 'y': 2}, not mentioned in what was expected",
    ]
