"""Ops on maps, map type by map type."""

from __future__ import annotations

import struct

import pytest

from pytest_ebpf.agent.ops import (
    BtfLoad,
    Describe,
    Described,
    Done,
    Entries,
    Failed,
    InfoByFd,
    Made,
    MapCreate,
    MapDelete,
    MapDump,
    MapFreeze,
    MapGet,
    MapPop,
    MapSet,
    MapUpdate,
    ProgLoaded,
    ProgRun,
    Ref,
    Try,
    Value,
)
from pytest_ebpf.kernels.base import Kernel, check, made
from support.bpf_asm import XDP_PASS, counting, program, returning
from support.btf_writer import minimal_btf
from support.contract_kernels import Run

HASH, ARRAY, PROG_ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU_HASH, LPM_TRIE = 1, 2, 3, 5, 6, 9, 11
ARRAY_OF_MAPS, HASH_OF_MAPS, QUEUE, STACK, RINGBUF, BLOOM = 12, 13, 22, 23, 27, 30
NO_PREALLOC = 1


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def u64(*values: int) -> bytes:
    return struct.pack(f"={len(values)}Q", *values)


@pytest.mark.parametrize("type", [HASH, LRU_HASH])
def test_hash(run: Run, type: int) -> None:
    results = run(
        MapCreate(type, 4, 8, 16, name="h"),
        MapGet(Ref(0), u32(1)),
        MapSet(Ref(0), u32(1), u64(7)),
        MapGet(Ref(0), u32(1)),
        MapDelete(Ref(0), u32(1)),
        MapGet(Ref(0), u32(1)),
        MapDelete(Ref(0), u32(1)),
    )
    assert results[1:6] == [Value(None), Done(), Value(u64(7)), Done(), Value(None)]
    assert results[6] == Failed("MapDelete", 2, "map 'h': No such file or directory")


def test_update_flags_reach_the_kernel(run: Run) -> None:
    noexist, exist = 1, 2
    results = run(
        MapCreate(HASH, 4, 8, 16, name="h"),
        Try(MapSet(Ref(0), u32(1), u64(1), exist)),
        MapSet(Ref(0), u32(1), u64(1), noexist),
        Try(MapSet(Ref(0), u32(1), u64(1), noexist)),
    )
    assert [getattr(result, "errno", None) for result in results[1:]] == [2, None, 17]


def test_array(run: Run) -> None:
    results = run(
        MapCreate(ARRAY, 4, 12, 3), MapSet(Ref(0), u32(2), b"x" * 12), MapGet(Ref(0), u32(2)), MapDump(Ref(0))
    )
    assert results[2] == Value(b"x" * 12)
    assert results[3] == Entries(u32(0) + u32(1) + u32(2), bytes(24) + b"x" * 12, 3, 4, 12)


@pytest.mark.parametrize("type", [PERCPU_ARRAY, PERCPU_HASH])
def test_per_cpu_values_have_one_slot_per_possible_cpu(kernel: Kernel, run: Run, type: int) -> None:
    cpus = check(kernel.run([Describe()])[0], Described).cpus
    value = u64(*range(10, 10 + cpus))
    results = run(
        MapCreate(type, 4, 4, 2, name="per_cpu"),
        MapSet(Ref(0), u32(0), value),
        MapGet(Ref(0), u32(0)),
        MapDump(Ref(0), limit=1),
        Try(MapSet(Ref(0), u32(0), bytes(4))),
    )
    # A slot of 4 bytes is padded to 8: what the padding holds on the way back is the kernel's affair.
    back = check(results[2], Value).data
    assert back is not None
    assert len(back) == 8 * cpus
    assert [struct.unpack_from("=I", back, 8 * cpu)[0] for cpu in range(cpus)] == list(range(10, 10 + cpus))
    dump = check(results[3], Entries)
    assert (dump.count, dump.key_stride, dump.value_stride) == (1, 4, 8 * cpus)
    assert f"takes {cpus} values of 8 bytes" in check(results[4], Failed).text


def test_a_program_counts_into_a_per_cpu_array(run: Run) -> None:
    results = run(
        MapCreate(PERCPU_ARRAY, 4, 8, 1),
        program(counting(), maps=(Ref(0),)),
        *[ProgRun(Ref(1), data=bytes(64))] * 3,
        MapGet(Ref(0), u32(0)),
    )
    data = check(results[-1], Value).data
    assert data is not None
    assert sum(struct.unpack(f"={len(data) // 8}Q", data)) == 3


def test_lpm_trie_finds_the_longest_prefix(run: Run) -> None:
    def key(bits: int, *address: int) -> bytes:
        return u32(bits) + bytes(address)

    results = run(
        MapCreate(LPM_TRIE, 8, 4, 8, flags=NO_PREALLOC, name="routes"),
        MapSet(Ref(0), key(8, 10, 0, 0, 0), u32(8)),
        MapSet(Ref(0), key(16, 10, 1, 0, 0), u32(16)),
        MapGet(Ref(0), key(32, 10, 1, 2, 3)),
        MapGet(Ref(0), key(32, 10, 9, 2, 3)),
        MapGet(Ref(0), key(32, 192, 0, 2, 1)),
        MapDump(Ref(0)),
        MapDelete(Ref(0), key(16, 10, 1, 0, 0)),
        MapGet(Ref(0), key(32, 10, 1, 2, 3)),
    )
    assert results[3:6] == [Value(u32(16)), Value(u32(8)), Value(None)]
    assert check(results[6], Entries).count == 2
    assert results[8] == Value(u32(8))


@pytest.mark.parametrize(("type", "first"), [(QUEUE, 1), (STACK, 2)])
def test_queue_and_stack(run: Run, type: int, first: int) -> None:
    results = run(
        MapCreate(type, 0, 4, 4, name="q"),
        MapGet(Ref(0), b""),
        MapSet(Ref(0), b"", u32(1)),
        MapSet(Ref(0), b"", u32(2)),
        MapGet(Ref(0), b""),
        MapPop(Ref(0)),
        MapPop(Ref(0)),
        MapPop(Ref(0)),
        Try(MapDump(Ref(0))),
    )
    assert results[1] == Value(None)
    assert results[4:8] == [Value(u32(first)), Value(u32(first)), Value(u32(3 - first)), Value(None)]
    assert "no keys" in check(results[8], Failed).text


def test_pop_from_a_hash(run: Run, release: tuple[int, int]) -> None:
    results = run(MapCreate(HASH, 4, 4, 4, name="h"), MapSet(Ref(0), u32(1), u32(9)), Try(MapPop(Ref(0), u32(1))))
    if release >= (5, 14):
        assert results[2] == Value(u32(9))
    else:
        assert check(results[2], Failed).errno == 524


def test_bloom_filter(run: Run, release: tuple[int, int]) -> None:
    results = run(
        Try(MapCreate(BLOOM, 0, 4, 100, name="bloom")),
        MapSet(Ref(0), b"", u32(1)),
        MapGet(Ref(0), u32(1)),
        MapGet(Ref(0), u32(2)),
    )
    if release >= (5, 16):
        assert results[1:] == [Done(), Value(u32(1)), Value(None)]
    else:
        assert check(results[0], Failed).errno == 22


def test_prog_array_stores_programs_and_answers_with_ids(run: Run) -> None:
    results = run(
        MapCreate(PROG_ARRAY, 4, 4, 8, name="jumps"),
        program(returning(XDP_PASS)),
        MapSet(Ref(0), u32(3), Ref(1)),
        MapGet(Ref(0), u32(3)),
        MapGet(Ref(0), u32(0)),
        MapDump(Ref(0)),
    )
    id = check(results[1], ProgLoaded).id
    assert results[3:] == [Value(u32(id)), Value(None), Entries(u32(3), u32(id), 1, 4, 4)]


@pytest.mark.parametrize("type", [ARRAY_OF_MAPS, HASH_OF_MAPS])
def test_map_in_map(run: Run, type: int) -> None:
    results = run(
        MapCreate(ARRAY, 4, 8, 1, name="inner"),
        MapCreate(type, 4, 4, 4, name="outer", inner_map=Ref(0)),
        MapSet(Ref(1), u32(0), Ref(0)),
        MapGet(Ref(1), u32(0)),
        InfoByFd(Ref(0)),
    )
    info = results[4]
    id = check(results[3], Value).data
    assert id == info.data[4:8]  # type: ignore[union-attr]


def test_frozen_maps_refuse_changes(run: Run) -> None:
    results = run(
        MapCreate(ARRAY, 4, 8, 1, flags=1 << 7, name="rodata"),  # BPF_F_RDONLY_PROG
        MapSet(Ref(0), u32(0), u64(5)),
        MapFreeze(Ref(0)),
        Try(MapSet(Ref(0), u32(0), u64(6))),
        MapGet(Ref(0), u32(0)),
    )
    assert results[3] == Failed("MapSet", 1, "map 'rodata': Operation not permitted")
    assert results[4] == Value(u64(5))


def test_sizes_are_checked_before_the_kernel_reads_past_the_end(run: Run) -> None:
    results = run(
        MapCreate(HASH, 4, 8, 4, name="h"),
        *[Try(MapGet(Ref(0), b"123")), Try(MapSet(Ref(0), u32(0), b"1234567")), Try(MapDelete(Ref(0), b""))],
        Try(MapUpdate(Ref(0), u32(0), u64(0), 2)),
        Try(MapPop(Ref(0), b"12345")),
    )
    assert [check(result, Failed).errno for result in results[1:]] == [0] * 5
    assert check(results[1], Failed).text == "map 'h' takes keys of 4 bytes, got 3"
    assert check(results[2], Failed).text == "map 'h' takes values of 8 bytes, got 7"


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_update_and_dump_many(run: Run, count: int) -> None:
    keys = [struct.pack("=I", i * 7) for i in range(count)]
    values = [struct.pack("=Q", i) for i in range(count)]
    results = run(
        MapCreate(HASH, 4, 8, 6000),
        MapUpdate(Ref(0), b"".join(keys), b"".join(values), count),
        MapDump(Ref(0)),
        MapDump(Ref(0), limit=3),
    )
    assert results[1] == Done()
    dump = check(results[2], Entries)
    pairs = {dump.keys[i * 4 :][:4]: dump.values[i * 8 :][:8] for i in range(dump.count)}
    assert dump.count == count
    assert pairs == dict(zip(keys, values, strict=True))
    assert check(results[3], Entries).count == min(count, 3)


def test_update_many_says_how_far_it_came(run: Run) -> None:
    results = run(
        MapCreate(HASH, 4, 4, 2, flags=NO_PREALLOC, name="small"),
        MapUpdate(Ref(0), b"".join(map(u32, range(4))), bytes(16), 4),
    )
    assert results[1] == Failed("MapUpdate", 7, "map 'small': Argument list too long after 2 of 4 entries")


def test_a_hundred_thousand_entries_come_whole(run: Run) -> None:
    count = 100_000
    keys = struct.pack(f"={count}I", *range(count))
    (created,) = run(MapCreate(HASH, 4, 8, count))
    results = run(MapUpdate(made(created), keys, bytes(8 * count), count), MapDump(made(created)))
    dump = check(results[1], Entries)
    assert dump.count == count
    assert set(struct.unpack(f"={count}I", dump.keys)) == set(range(count))


def test_a_map_refused_with_btf_is_made_without(run: Run) -> None:
    results = run(
        BtfLoad(minimal_btf()),
        MapCreate(QUEUE, 0, 4, 4, name="q", btf=Ref(0), btf_key=1, btf_value=1),
        MapCreate(ARRAY, 4, 4, 1, name="typed", btf=Ref(0), btf_key=1, btf_value=1),
        InfoByFd(Ref(1)),
        InfoByFd(Ref(2)),
    )
    assert [isinstance(result, Made) for result in results[:3]] == [True] * 3
    ids = [struct.unpack_from("=I", check(result, type(results[3])).data, 64)[0] for result in results[3:]]  # type: ignore[union-attr]
    assert ids[0] == 0
    assert ids[1] != 0


def test_names_are_made_fit_for_the_kernel(run: Run) -> None:
    name = "a very-long näme"
    results = run(MapCreate(ARRAY, 4, 4, 1, name=name), InfoByFd(Ref(0)), Try(MapGet(Ref(0), b"")))
    info = results[1].data  # type: ignore[union-attr]
    assert info[24:40].rstrip(b"\0") == b"a_very_long_n_m"
    assert check(results[2], Failed).text.startswith(f"map '{name}' takes")


def test_ring_buffers_have_no_entries(run: Run) -> None:
    results = run(MapCreate(RINGBUF, 0, 0, 4096, name="rb"), Try(MapDump(Ref(0))))
    assert "RINGBUF" in check(results[1], Failed).text
