"""Maps keep the conventions of ``MutableMapping``, on a kernel that answers from a script."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import pytest

from pytest_ebpf import MapFlag, MapTypeName
from pytest_ebpf.agent.ops import (
    Close,
    Done,
    Entries,
    Failed,
    MapCreate,
    MapDelete,
    MapDump,
    MapGet,
    MapPop,
    MapSet,
    MapUpdate,
    Mount,
    ObjPin,
    ObjUnpin,
    OpenFile,
    PidFd,
    Value,
)
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import MapDef
from pytest_ebpf.uapi.enums import MapType

U32 = [(n).to_bytes(4, "little") for n in range(256)]
Make = Callable[..., tuple[Map, Session]]


@pytest.fixture
def make(session_on: Callable[..., Session]) -> Make:
    def make(type: MapType, answers: dict[Any, Any] | None = None, **fields: int) -> tuple[Map, Session]:
        session = session_on(answers)
        definition = MapDef("m", type, **({"key_size": 4, "value_size": 4, "max_entries": 8} | fields))
        return Map(session, definition=definition, handle=session.make(MapCreate(type, 4, 4, 8))), session

    return make


def last_batch(session: Session) -> tuple[Any, ...]:
    batch: tuple[Any, ...] = session.target.kernel.batches[-1]
    return batch


class HasKeys:
    """What ``dict.update`` takes besides mappings and pairs."""

    def keys(self) -> list[int]:
        return [1, 2]

    def __getitem__(self, key: int) -> int:
        return key * 10


@pytest.mark.parametrize("entries", [{1: 10, 2: 20}, [(1, 10), (2, 20)], ((n, n * 10) for n in (1, 2)), HasKeys()])
def test_update_takes_what_a_dict_takes_and_is_one_op(make: Make, entries: Any) -> None:
    table, session = make(MapType.HASH, {MapUpdate: Done()})
    table.update(entries, flags=MapFlag.EXIST)
    assert last_batch(session) == (MapUpdate(table.handle, U32[1] + U32[2], U32[10] + U32[20], 2, flags=2),)


def test_update_with_nothing_sends_nothing(make: Make) -> None:
    table, session = make(MapType.HASH, {})
    before = len(session.target.kernel.batches)
    table.update({})
    table.update()
    assert len(session.target.kernel.batches) == before


def test_update_encodes_as_an_element_is_encoded(make: Make) -> None:
    """Per-CPU values (of two CPUs), prefixes."""
    per_cpu, session = make(MapType.PERCPU_ARRAY, {MapUpdate: Done()})
    per_cpu.update({0: [1, 2], 1: 7})
    values = b"".join(U32[n] + bytes(4) for n in (1, 2, 7, 7))
    assert last_batch(session) == (MapUpdate(per_cpu.handle, U32[0] + U32[1], values, 2),)
    routes, session = make(MapType.LPM_TRIE, {MapUpdate: Done()}, key_size=8)
    routes.update({"192.0.2.0/24": 1})
    assert last_batch(session) == (MapUpdate(routes.handle, U32[24] + bytes((192, 0, 2, 0)), U32[1], 1),)


def test_update_of_a_map_that_holds_objects_is_one_batch(make: Make) -> None:
    table, session = make(MapType.SOCKMAP, {MapSet: Done()}, value_size=8)
    first, second = (session.make(OpenFile("/socket")) for _ in range(2))
    table.update({0: first, 1: second}, flags=MapFlag.NOEXIST)
    assert last_batch(session) == (
        MapSet(table.handle, U32[0], first, flags=1),
        MapSet(table.handle, U32[1], second, flags=1),
    )


def test_update_opens_the_keys_that_are_objects(make: Make) -> None:
    table, session = make(MapType.TASK_STORAGE, {MapSet: Done()})
    table.update({17: 1, 18: 2})
    batch = last_batch(session)
    assert [type(op) for op in batch] == [PidFd, MapSet, Close] * 2
    assert [op.pid for op in batch if isinstance(op, PidFd)] == [17, 18]
    assert [(op.key, op.value) for op in batch if isinstance(op, MapSet)] == [
        (batch[2].obj, U32[1]),
        (batch[5].obj, U32[2]),
    ]


def test_update_that_fails_closes_the_key_it_opened(make: Make) -> None:
    table, session = make(MapType.TASK_STORAGE, {MapSet: [Done(), Failed("MapSet", errno.ENOMEM, "no memory")]})
    with pytest.raises(KernelCallError, match="ENOMEM"):
        table.update({17: 1, 18: 2, 19: 3})
    (closed,) = last_batch(session)
    assert isinstance(closed, Close)
    with pytest.raises(KernelCallError, match="closed"):
        session.one(closed, Done)


def test_the_former_update_names_put(make: Make) -> None:
    table, _ = make(MapType.HASH, {})
    with pytest.raises(BpfUsageError, match="got 2 arguments") as error:
        table.update(1, 2)  # type: ignore[arg-type]
    assert "m.put(key, value, flags=...)" in str(error.value)


def test_a_map_is_a_mutable_mapping(make: Make) -> None:
    dump = Entries(keys=U32[1] + U32[2], values=U32[10] + U32[20], count=2, key_stride=4, value_stride=4)
    table, session = make(MapType.HASH, {MapDump: dump, MapGet: Value(U32[10]), MapDelete: Done()})
    assert isinstance(table, MutableMapping)
    assert isinstance(table, Mapping)
    assert dict(table.items()) == {1: 10, 2: 20}
    assert table == {1: 10, 2: 20}
    assert table.popitem() == (1, 10)
    assert last_batch(session) == (MapDelete(table.handle, U32[1]),)
    with pytest.raises(TypeError, match="unhashable"):
        hash(table)


def test_setdefault_of_a_key_that_is_there(make: Make) -> None:
    table, session = make(MapType.HASH, {MapGet: Value(U32[7])})
    assert table.setdefault(1, 5) == 7
    assert last_batch(session) == (MapGet(table.handle, U32[1]),)


@pytest.mark.parametrize("answer", [Done(), Failed("MapSet", errno.EEXIST, "exists")])
def test_setdefault_stores_only_what_is_absent(make: Make, answer: Any) -> None:
    """EEXIST: a program stored the key meanwhile, and its value counts."""
    seen: list[Any] = []

    def store(op: MapSet) -> Any:
        seen.append(op)
        return answer

    table, _ = make(MapType.HASH, {MapGet: [Value(None), Value(U32[5])], MapSet: store})
    assert table.setdefault(1, 5) == 5
    assert [(op.value, op.flags) for op in seen] == [(U32[5], MapFlag.NOEXIST)]


def test_setdefault_passes_other_errors_on(make: Make) -> None:
    table, _ = make(MapType.HASH, {MapGet: Value(None), MapSet: Failed("MapSet", errno.E2BIG, "full")})
    with pytest.raises(KernelCallError, match="E2BIG"):
        table.setdefault(1, 5)


def test_pop_as_of_a_dict(make: Make) -> None:
    table, _ = make(MapType.HASH, {MapPop: [Value(U32[3]), Value(None), Value(None)]})
    assert table.pop(1) == 3
    assert table.pop(1, None) is None
    with pytest.raises(KeyError, match="1 is not in map 'm'"):
        table.pop(1)


def test_sizes(make: Make) -> None:
    table, _ = make(MapType.PERCPU_HASH, {}, key_size=8, value_size=12, max_entries=64)
    assert (table.key_size, table.value_size, table.max_entries) == (8, 12, 64)


def test_pinning(make: Make) -> None:
    table, session = make(MapType.HASH, {Mount: Done(), ObjPin: Done(), ObjUnpin: Done()})
    assert table.pin("counts") is table
    assert last_batch(session) == (ObjPin(table.handle, "/sys/fs/bpf/counts"),)
    assert table.unpin() is table
    assert last_batch(session) == (ObjUnpin("/sys/fs/bpf/counts"),)
    before = len(session.target.kernel.batches)
    table.unpin()
    assert len(session.target.kernel.batches) == before


def test_the_type_is_an_enum_that_equals_its_text(make: Make) -> None:
    table, _ = make(MapType.LRU_HASH, {})
    assert table.type is MapTypeName.LRU_HASH
    assert table.type == "lru_hash"
    assert f"{table.type}" == table.kind.name
