"""Ops on maps: many entries at once, and maps whose keys are file descriptors."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pytest_ebpf.agent.ops import (
    BtfLoad,
    Done,
    Entries,
    Failed,
    MapCreate,
    MapDelete,
    MapDeleteMany,
    MapDump,
    MapGet,
    MapSet,
    MapTakeMany,
    MapUpdate,
    OpenFile,
    Ref,
    Try,
    Value,
)
from pytest_ebpf.kernels.base import check
from support.btf_writer import minimal_btf
from support.contract_kernels import Run

HASH, ARRAY, PERCPU_HASH, LRU_HASH, LPM_TRIE, QUEUE, INODE_STORAGE = 1, 2, 5, 9, 11, 22, 28
NO_PREALLOC = 1


def u32(*values: int) -> bytes:
    return struct.pack(f"={len(values)}I", *values)


def pairs(entries: Entries) -> dict[bytes, bytes]:
    """Key -> value."""
    keys, values = entries.key_stride, entries.value_stride
    return {entries.keys[i * keys :][:keys]: entries.values[i * values :][:values] for i in range(entries.count)}


@pytest.mark.parametrize("type", [HASH, LRU_HASH])
@pytest.mark.parametrize("count", [0, 1, 3000])
def test_take_many_empties_a_hash(run: Run, type: int, count: int) -> None:
    keys = [u32(7 * i) for i in range(count)]
    results = run(
        MapCreate(type, 4, 4, 8000, name="h"),
        MapUpdate(Ref(0), b"".join(keys), b"".join(keys), count),
        MapTakeMany(Ref(0)),
        MapDump(Ref(0)),
    )
    assert pairs(check(results[2], Entries)) == {key: key for key in keys}
    assert check(results[3], Entries).count == 0


def test_take_many_with_a_limit_loses_nothing(run: Run) -> None:
    keys = [u32(i) for i in range(500)]
    results = run(
        MapCreate(HASH, 4, 4, 500),
        MapUpdate(Ref(0), b"".join(keys), b"".join(keys), 500),
        MapTakeMany(Ref(0), limit=100),
        MapDump(Ref(0)),
    )
    taken, left = (pairs(check(result, Entries)) for result in results[2:])
    assert len(taken) >= 100
    assert len(left) > 0
    assert not taken.keys() & left.keys()
    assert taken | left == {key: key for key in keys}


def test_only_hashes_give_their_entries_away(run: Run) -> None:
    results = run(
        MapCreate(ARRAY, 4, 4, 4), MapCreate(QUEUE, 0, 4, 4), Try(MapTakeMany(Ref(0))), Try(MapTakeMany(Ref(1)))
    )
    assert check(results[2], Failed).errno == 524
    assert "no keys" in check(results[3], Failed).text


@pytest.mark.parametrize(("type", "flags"), [(HASH, 0), (LPM_TRIE, NO_PREALLOC)])
def test_delete_many(run: Run, type: int, flags: int) -> None:
    keys = [u32(32, i) for i in range(40)]
    results = run(
        MapCreate(type, 8, 4, 100, flags=flags, name="h"),
        MapUpdate(Ref(0), b"".join(keys), bytes(160), 40),
        MapDeleteMany(Ref(0), b"".join(keys[:30]), 30),
        MapDump(Ref(0)),
        MapDeleteMany(Ref(0), b"", 0),
        Try(MapDeleteMany(Ref(0), keys[30], 2)),
        Try(MapDeleteMany(Ref(0), keys[30] + keys[0] + keys[31], 3)),
        MapDump(Ref(0)),
    )
    assert [results[2], results[4]] == [Done()] * 2
    assert pairs(check(results[3], Entries)).keys() == set(keys[30:])
    assert check(results[5], Failed).text == "map 'h': 2 keys are 16 bytes, got 8"
    assert results[6] == Failed("MapDeleteMany", 2, "map 'h': No such file or directory after 1 of 3 keys")
    assert pairs(check(results[7], Entries)).keys() == set(keys[31:])


def test_inode_storage_is_keyed_by_an_open_file(run: Run, release: tuple[int, int]) -> None:
    path = str(Path("/proc/self/status"))
    results = run(
        BtfLoad(minimal_btf()),
        Try(MapCreate(INODE_STORAGE, 4, 4, 0, flags=NO_PREALLOC, name="s", btf=Ref(0), btf_key=1, btf_value=1)),
        OpenFile(path),
    )
    if isinstance(results[1], Failed):
        assert results[1].errno == 22, "a kernel without BPF LSM (CONFIG_BPF_LSM) has no inode storage"
        return
    storage, file = results[1].handle, results[2].handle  # type: ignore[union-attr]
    results = run(
        MapGet(storage, file),
        MapSet(storage, file, u32(5)),
        MapGet(storage, file),
        MapDelete(storage, file),
        Try(MapDelete(storage, file)),
    )
    assert results[:4] == [Value(None), Done(), Value(u32(5)), Done()]
    assert check(results[4], Failed).errno == 2
