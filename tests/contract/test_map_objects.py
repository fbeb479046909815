"""Ops on maps that hold, or hang on, other objects of the kernel, and on maps that are memory."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from pytest_ebpf.agent.ops import (
    Address,
    BtfLoad,
    Data,
    Describe,
    Described,
    Done,
    Entries,
    Failed,
    FdAt,
    InodeOf,
    Made,
    MapCreate,
    MapDelete,
    MapDump,
    MapFreeze,
    MapGet,
    MapPop,
    MapSet,
    MemRead,
    MemWrite,
    OpenFile,
    PidFd,
    Ref,
    Result,
    RingProduce,
    SocketBind,
    SocketListen,
    SocketOpen,
    SocketSet,
    Try,
    Value,
)
from pytest_ebpf.kernels.base import Kernel, check
from support.bpf_asm import XDP_PASS, program, returning
from support.btf_writer import minimal_btf
from support.contract_kernels import Run

HASH, ARRAY, PERCPU_HASH, PERCPU_ARRAY, STACK_TRACE, CGROUP_ARRAY, LRU_PERCPU_HASH = 1, 2, 5, 6, 7, 8, 10
DEVMAP, SOCKMAP, CPUMAP, XSKMAP, SOCKHASH, CGROUP_STORAGE, REUSEPORT_SOCKARRAY = 14, 15, 16, 17, 18, 19, 20
SK_STORAGE, DEVMAP_HASH, TASK_STORAGE, USER_RINGBUF, CGRP_STORAGE, INSN_ARRAY, RHASH = 24, 25, 29, 31, 32, 34, 35
NO_PREALLOC, MMAPABLE, ON_CPU, ALL_CPUS = 1, 1 << 10, 8, 16
XDP_DEVMAP, XDP_CPUMAP = 33, 35  # enum bpf_attach_type
LOOPBACK = 1
AF_XDP, SOL_XDP, XDP_RX_RING = 44, 283, 2
EINVAL_OR_UNKNOWN = (errno.EINVAL, 524)


def u32(*values: int) -> bytes:
    return struct.pack(f"={len(values)}I", *values)


def errno_of(result: Result) -> int:
    return check(result, Failed).errno


@pytest.mark.parametrize(("type", "size"), [(DEVMAP, 4), (DEVMAP, 8), (DEVMAP_HASH, 4), (DEVMAP_HASH, 8)])
def test_device_maps(run: Run, type: int, size: int) -> None:
    value = u32(LOOPBACK).ljust(size, b"\0")
    results = run(
        MapCreate(type, 4, size, 4, name="ports"),
        MapSet(Ref(0), u32(2), value),
        MapGet(Ref(0), u32(2)),
        MapGet(Ref(0), u32(3)),
        MapDelete(Ref(0), u32(2)),
        MapGet(Ref(0), u32(2)),
        Try(MapSet(Ref(0), u32(0), u32(999_999).ljust(size, b"\0"))),
    )
    assert results[2:6] == [Value(value), Value(None), Done(), Value(None)]
    assert errno_of(results[6]) == errno.EINVAL  # no such interface


def test_a_device_map_with_a_program(run: Run) -> None:
    results = run(
        MapCreate(DEVMAP, 4, 8, 4),
        program(returning(XDP_PASS), expected_attach_type=XDP_DEVMAP),
        MapSet(Ref(0), u32(1), u32(LOOPBACK, 0), fds=(FdAt(4, Ref(1)),)),
        MapGet(Ref(0), u32(1)),
    )
    id = results[1].id  # type: ignore[union-attr]
    assert results[3] == Value(u32(LOOPBACK, id))


def test_a_cpu_map_with_a_program(run: Run) -> None:
    results = run(
        MapCreate(CPUMAP, 4, 8, 1),
        program(returning(XDP_PASS), expected_attach_type=XDP_CPUMAP),
        MapSet(Ref(0), u32(0), u32(192, 0), fds=(FdAt(4, Ref(1)),)),
        MapGet(Ref(0), u32(0)),
        MapDelete(Ref(0), u32(0)),
        MapGet(Ref(0), u32(0)),
    )
    id = results[1].id  # type: ignore[union-attr]
    assert results[3:] == [Value(u32(192, id)), Done(), Value(None)]


def test_a_cgroup_array(run: Run) -> None:
    results = run(MapCreate(CGROUP_ARRAY, 4, 4, 2), OpenFile("/proc/self"), Try(MapSet(Ref(0), u32(1), Ref(1))))
    assert errno_of(results[2]) == errno.EBADF  # /proc is no cgroup2
    results = run(
        MapCreate(CGROUP_ARRAY, 4, 4, 2), Try(OpenFile("/sys/fs/cgroup")), Try(MapSet(Ref(0), u32(1), Ref(1)))
    )
    if results[2] == Done():  # mounted here, and version 2
        assert run(MapDelete(results[0].handle, u32(1))) == [Done()]  # type: ignore[union-attr]


@pytest.mark.parametrize(("type", "key"), [(SOCKMAP, u32(1)), (SOCKHASH, b"key!")])
def test_socket_maps(run: Run, type: int, key: bytes) -> None:
    results = run(
        MapCreate(type, 4, 8, 4, name="sockets"),
        SocketOpen(socket.AF_INET, socket.SOCK_STREAM),
        SocketBind(Ref(1), Address("127.0.0.1", 0)),
        SocketListen(Ref(1)),
        MapSet(Ref(0), key, Ref(1)),
        MapGet(Ref(0), key),
        MapDelete(Ref(0), key),
        Try(MapGet(Ref(0), key)),
    )
    cookie = check(results[5], Value).data
    assert cookie is not None
    assert int.from_bytes(cookie, "little") > 0
    assert results[6:] == [Done(), Value(None)]


def test_a_reuseport_array(run: Run) -> None:
    results = run(
        MapCreate(REUSEPORT_SOCKARRAY, 4, 8, 4),
        SocketOpen(socket.AF_INET, socket.SOCK_DGRAM),
        Try(MapSet(Ref(0), u32(0), Ref(1))),
    )
    assert errno_of(results[2]) == errno.EINVAL  # it is in no group: that takes SO_REUSEPORT and an address
    results = run(
        MapCreate(REUSEPORT_SOCKARRAY, 4, 8, 4),
        SocketOpen(socket.AF_INET, socket.SOCK_DGRAM),
        SocketSet(Ref(1), socket.SOL_SOCKET, socket.SO_REUSEPORT, u32(1)),
        SocketBind(Ref(1), Address("127.0.0.1", 0)),
        MapSet(Ref(0), u32(0), Ref(1)),
        MapGet(Ref(0), u32(0)),
        MapDelete(Ref(0), u32(0)),
    )
    assert check(results[5], Value).data is not None
    assert results[6] == Done()


def test_an_xsk_map(run: Run) -> None:
    results = run(
        MapCreate(XSKMAP, 4, 4, 4, name="queues"),
        Try(SocketOpen(AF_XDP, socket.SOCK_RAW)),
        Try(SocketSet(Ref(1), SOL_XDP, XDP_RX_RING, u32(64))),  # 7.3 wants a ring of a socket in such a map
        Try(MapSet(Ref(0), u32(0), Ref(1))),
        Try(MapGet(Ref(0), u32(0))),
        Try(MapDelete(Ref(0), u32(0))),
    )
    if isinstance(results[1], Failed):
        assert results[1].errno == errno.EAFNOSUPPORT  # a kernel without CONFIG_XDP_SOCKETS
        return
    assert results[2:4] == [Done()] * 2
    assert errno_of(results[4]) in (524, errno.EOPNOTSUPP)  # user space never reads it
    assert results[5] == Done()


def storage(type: int) -> tuple[BtfLoad, Try]:
    create = MapCreate(type, 4, 4, 0, flags=NO_PREALLOC, name="s", btf=Ref(0), btf_key=1, btf_value=1)
    return BtfLoad(minimal_btf()), Try(create)


def keyed_by(run: Run, storage: Made, key: Made) -> None:
    """What every storage does."""
    map, key_of = storage.handle, key.handle
    results = run(
        MapGet(map, key_of),
        MapSet(map, key_of, u32(5)),
        Try(MapSet(map, key_of, u32(5), 1)),
        MapGet(map, key_of),
        MapDelete(map, key_of),
        Try(MapDelete(map, key_of)),
        Try(MapDump(map)),
    )
    assert results[:2] == [Value(None), Done()]
    assert errno_of(results[2]) == errno.EEXIST
    assert results[3:5] == [Value(u32(5)), Done()]
    assert errno_of(results[5]) == errno.ENOENT
    assert errno_of(results[6]) in (524, errno.EOPNOTSUPP)  # only programs can go over objects


def test_socket_storage(run: Run) -> None:
    results = run(*storage(SK_STORAGE), SocketOpen(socket.AF_INET, socket.SOCK_DGRAM))
    keyed_by(run, check(results[1], Made), check(results[2], Made))


def test_task_storage(run: Run, release: tuple[int, int]) -> None:
    results = run(*storage(TASK_STORAGE), PidFd())
    if isinstance(results[1], Failed):
        assert release < (5, 11)
        return
    keyed_by(run, check(results[1], Made), check(results[2], Made))


def test_cgroup_storage_of_a_cgroup(run: Run, release: tuple[int, int]) -> None:
    results = run(*storage(CGRP_STORAGE), Try(OpenFile("/sys/fs/cgroup")))
    if isinstance(results[1], Failed):
        assert release < (6, 2)
        return
    file = check(results[2], Made)
    (tried,) = run(Try(MapGet(results[1].handle, file.handle)))  # type: ignore[union-attr]
    if isinstance(tried, Failed):
        assert tried.errno == errno.EBADF  # no cgroup2 there
        return
    keyed_by(run, check(results[1], Made), file)


def test_the_inode_of_a_file(run: Run) -> None:
    _, first, _, second = run(OpenFile("/proc"), InodeOf(Ref(0)), OpenFile("/proc/sys"), InodeOf(Ref(2)))
    assert len(check(first, Value).data or b"") == 8
    assert first != second


def test_deprecated_cgroup_storage_wants_its_cgroup(run: Run) -> None:
    results = run(MapCreate(CGROUP_STORAGE, 16, 8, 0), MapGet(Ref(0), bytes(16)), MapDump(Ref(0)))
    assert results[1] == Value(None)
    assert check(results[2], Entries).count == 0


def test_an_array_as_memory(run: Run) -> None:
    results = run(
        MapCreate(ARRAY, 4, 12, 600, flags=MMAPABLE, name="shared"),
        MapSet(Ref(0), u32(1), b"x" * 12),
        MemRead(Ref(0), 14, 16),
        MemWrite(Ref(0), 16 * 599 + 4, b"last"),
        MapGet(Ref(0), u32(599)),
        Try(MemRead(Ref(0), 16 * 600 - 4, 5)),
        Try(MemWrite(Ref(0), -1, b"x")),
        MapFreeze(Ref(0)),  # not while it is mapped to be written
        MemRead(Ref(0), 16 * 599 + 4, 4),
        Try(MemWrite(Ref(0), 0, b"x")),
    )
    assert results[2] == Data(bytes(2) + b"x" * 12 + bytes(2))
    assert results[4] == Value(bytes(4) + b"last" + bytes(4))
    assert check(results[5], Failed).text == "map 'shared' has 9600 bytes, not 5 at 9596"
    assert errno_of(results[6]) == 0
    assert results[8] == Data(b"last")
    assert errno_of(results[9]) == errno.EPERM


def test_a_user_ring_buffer_takes_records_until_it_is_full(run: Run, release: tuple[int, int]) -> None:
    results = run(
        Try(MapCreate(USER_RINGBUF, 0, 0, 4096, name="input")),
        RingProduce(Ref(0), tuple([b"twelve bytes"] * 100)),  # of 24 bytes each
        Try(RingProduce(Ref(0), tuple([b"twelve bytes"] * 100))),
        Try(RingProduce(Ref(0), (b"x" * 4096,))),
    )
    if release < (6, 1):
        assert errno_of(results[0]) == errno.EINVAL
        return
    assert results[1] == Done()
    assert results[2] == Failed("RingProduce", errno.ENOSPC, "map 'input': there was room for 70 of 100 records")
    assert errno_of(results[3]) == errno.ENOSPC
    _, refused = run(MapCreate(HASH, 4, 4, 1, name="h"), Try(RingProduce(Ref(0), (b"x",))))
    assert check(refused, Failed).text == "map 'h' is not a user ring buffer (HASH)"


@pytest.mark.parametrize("type", [PERCPU_ARRAY, PERCPU_HASH, LRU_PERCPU_HASH])
def test_the_value_of_one_cpu(kernel: Kernel, run: Run, release: tuple[int, int], type: int) -> None:
    """BPF_F_CPU and BPF_F_ALL_CPUS, which kernels before 7.0 call invalid."""
    cpus = check(kernel.run([Describe()])[0], Described).cpus
    last = cpus - 1
    results = run(
        MapCreate(type, 4, 4, 2, name="per_cpu"),
        MapSet(Ref(0), u32(0), bytes(8 * cpus)),
        Try(MapSet(Ref(0), u32(0), u32(7), ALL_CPUS)),
        Try(MapSet(Ref(0), u32(0), u32(9), ON_CPU | last << 32)),
        Try(MapGet(Ref(0), u32(0), ON_CPU | last << 32)),
        MapGet(Ref(0), u32(0)),
    )
    if release < (7, 0):
        assert [errno_of(result) for result in results[2:5]] == [errno.EINVAL] * 3
        return
    assert results[4] == Value(u32(9))
    whole = check(results[5], Value).data or b""
    assert [struct.unpack_from("=I", whole, 8 * cpu)[0] for cpu in range(cpus)] == [7] * last + [9]


def test_entries_of_per_cpu_hashes_are_taken_one_by_one(run: Run, release: tuple[int, int], kernel: Kernel) -> None:
    cpus = check(kernel.run([Describe()])[0], Described).cpus
    _, _, popped, after = run(
        MapCreate(PERCPU_HASH, 4, 8, 4),
        MapSet(Ref(0), u32(1), struct.pack("=Q", 3) * cpus),
        Try(MapPop(Ref(0), u32(1))),
        MapGet(Ref(0), u32(1)),
    )
    if release < (5, 14):
        assert errno_of(popped) == 524
        return
    assert popped == Value(struct.pack("=Q", 3) * cpus)
    assert after == Value(None)


def test_stack_traces_have_keys_and_can_be_deleted(run: Run) -> None:
    results = run(
        MapCreate(STACK_TRACE, 4, 8 * 127, 16),
        MapGet(Ref(0), u32(3)),
        MapDump(Ref(0)),
        Try(MapDelete(Ref(0), u32(3))),
        Try(MapSet(Ref(0), u32(3), bytes(8 * 127))),
    )
    assert results[1] == Value(None)
    assert check(results[2], Entries).count == 0
    assert errno_of(results[3]) == errno.ENOENT
    assert errno_of(results[4]) == errno.EINVAL  # only the kernel writes them


def test_an_instruction_array(run: Run, release: tuple[int, int]) -> None:
    """struct bpf_insn_array_value: where an instruction was, is now, and is in machine code (Linux 6.19)."""
    results = run(
        Try(MapCreate(INSN_ARRAY, 4, 16, 2, name="targets")),
        MapSet(Ref(0), u32(1), u32(5, 0, 0, 0)),
        MapGet(Ref(0), u32(1)),
        MapFreeze(Ref(0)),
        Try(MapSet(Ref(0), u32(1), u32(6, 0, 0, 0))),
        MapDump(Ref(0)),
    )
    if release < (6, 19):
        assert errno_of(results[0]) == errno.EINVAL
        return
    assert results[2] == Value(u32(5, 0, 0, 0))
    assert errno_of(results[4]) == errno.EPERM
    assert check(results[5], Entries).count == 2


def test_a_resizable_hash(run: Run, release: tuple[int, int]) -> None:
    """Linux 7.2 has them."""
    results = run(
        Try(MapCreate(RHASH, 4, 8, 64, flags=NO_PREALLOC, name="rhash")),
        MapSet(Ref(0), u32(1), bytes(7) + b"1"),
        MapGet(Ref(0), u32(1)),
        MapDump(Ref(0)),
        MapDelete(Ref(0), u32(1)),
        MapGet(Ref(0), u32(1)),
    )
    if release < (7, 2) and isinstance(results[0], Failed):
        assert errno_of(results[0]) == errno.EINVAL
        return
    assert results[2] == Value(bytes(7) + b"1")
    assert results[3] == Entries(u32(1), bytes(7) + b"1", 1, 4, 8)
    assert results[4:] == [Done(), Value(None)]
