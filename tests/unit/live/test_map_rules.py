"""What is wrong with a map that the kernel refused."""

from __future__ import annotations

import pytest

from pytest_ebpf.agent.ops import MapCreate, Ref
from pytest_ebpf.live.map_rules import map_hint

HASH, ARRAY, STACK_TRACE, LPM, ARRAY_OF_MAPS, QUEUE, TASK_STORAGE, RINGBUF, ARENA = 1, 2, 7, 11, 12, 22, 29, 27, 33


@pytest.mark.parametrize(
    ("op", "part"),
    [
        (MapCreate(ARRAY_OF_MAPS, 4, 4, 8, name="outer"), "__array(values, ...)"),
        (MapCreate(RINGBUF, 0, 0, 0, name="rb"), "maps={'rb': 1 << 18}"),
        (MapCreate(HASH, 4, 8, 0, name="start"), "maps={'start': 1024}"),
        (MapCreate(STACK_TRACE, 4, 0, 10, name="stacks"), "maps={'stacks': {'value_size': 8}}"),
        (MapCreate(HASH, 0, 8, 10, name="m"), "maps={'m': {'key_size': 4}}"),
        (MapCreate(ARRAY, 8, 8, 10, name="m"), "keys of 4 bytes"),
        (MapCreate(STACK_TRACE, 4, 12, 10, name="m"), "multiple of 8"),
        (MapCreate(QUEUE, 4, 8, 10, name="m"), "no keys"),
        (MapCreate(RINGBUF, 0, 0, 12288, name="m"), "power of two"),
        (MapCreate(LPM, 8, 8, 10, name="m"), "BPF_F_NO_PREALLOC"),
        (MapCreate(TASK_STORAGE, 4, 8, 10, flags=1, name="m"), "it has to be 0"),
        (MapCreate(ARENA, 0, 0, 10, name="m"), "BPF_F_MMAPABLE"),
    ],
    ids=lambda value: f"type {value.type}" if isinstance(value, MapCreate) else value,
)
def test_the_wrong_field_is_named(op: MapCreate, part: str) -> None:
    assert part in map_hint(op)


@pytest.mark.parametrize(
    "op",
    [
        MapCreate(HASH, 4, 8, 10),
        MapCreate(ARRAY, 4, 8, 1),
        MapCreate(STACK_TRACE, 4, 1016, 10),
        MapCreate(RINGBUF, 0, 0, 4096),
        MapCreate(ARRAY_OF_MAPS, 4, 4, 8, inner_map=Ref(0)),
        MapCreate(TASK_STORAGE, 4, 8, 0, flags=1),
        MapCreate(ARENA, 0, 0, 100, flags=1 << 10),
    ],
    ids=lambda op: f"type {op.type}",
)
def test_a_sound_definition_is_not_blamed(op: MapCreate) -> None:
    assert map_hint(op) == ""
