"""Ops on what the kernel itself brings (its BTF), on arenas, and on pins that end with their object."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pytest_ebpf.agent.ops import (
    BtfByName,
    Close,
    Data,
    Done,
    Failed,
    FdAt,
    Handle,
    Info,
    InfoByFd,
    ListDir,
    Made,
    MapCreate,
    MapGet,
    MapSet,
    MemRead,
    MemWrite,
    Mount,
    ObjGet,
    ObjPin,
    Ref,
    ScopeClose,
    ScopeClosed,
    ScopeOpen,
    Try,
    Value,
)
from pytest_ebpf.kernels.base import Kernel, check, made
from support.contract_kernels import Run

HASH, ARRAY, ARENA = 1, 2, 33
MMAPABLE = 1 << 10
ENOTSUPP = 524


def test_a_directory(run: Run) -> None:
    names = check(run(ListDir("/proc/self/ns"))[0], Data).data
    assert names.endswith(b"\0")
    assert b"net" in names.split(b"\0")
    assert names.split(b"\0")[:-1] == sorted(names.split(b"\0")[:-1])
    (failed,) = run(ListDir("/no/such/place"))
    assert isinstance(failed, Failed)
    assert failed.errno == errno.ENOENT


def test_the_kernels_types_by_name(run: Run) -> None:
    (listed,) = run(Try(ListDir("/sys/kernel/btf")))
    if not isinstance(listed, Data) or len(listed.data.split(b"\0")) < 3:
        (answer,) = run(Try(BtfByName("vmlinux")))
        assert isinstance(answer, Made | Failed)  # names came with 5.11, and with it the BTF of modules
        return
    found, info, missing = run(BtfByName("vmlinux"), InfoByFd(Ref(0)), Try(BtfByName("no_such_module")))
    assert isinstance(found, Made)
    assert isinstance(info, Info)
    assert info.kind == "btf"
    assert isinstance(missing, Failed)
    assert missing.errno == errno.ENOENT


def test_an_arena(run: Run) -> None:
    create = MapCreate(ARENA, 0, 0, 2, flags=MMAPABLE, name="arena")
    first = run(Try(create))[0]
    if isinstance(first, Failed):
        assert first.errno in (errno.EINVAL, errno.EPERM, ENOTSUPP)  # Linux 6.9
        return
    results = run(
        create,
        MemWrite(Ref(0), 4090, b"over the edge"),
        MemRead(Ref(0), 4090, 13),
        MemRead(Ref(0), 0, 2),
        Try(MemWrite(Ref(0), 8190, b"too long")),
    )
    assert results[1:4] == [Done(), Data(b"over the edge"), Data(bytes(2))]
    assert isinstance(results[4], Failed)
    assert "8192 bytes" in results[4].text


def test_only_what_can_be_mapped_is_memory(run: Run) -> None:
    _, failed = run(MapCreate(ARRAY, 4, 4, 1, name="plain"), Try(MemRead(Ref(0), 0, 4)))
    assert isinstance(failed, Failed)
    assert failed.text == "map 'plain' cannot be mapped: it was made without BPF_F_MMAPABLE"
    _, failed = run(MapCreate(HASH, 4, 4, 1, name="hash"), Try(MemWrite(Ref(0), 0, b"1234")))
    assert isinstance(failed, Failed)
    assert failed.text == "map 'hash' is neither an array nor an arena that was made here: it cannot be mapped"


def test_an_fd_needs_room_in_the_value(run: Run) -> None:
    _, failed, _, value = run(
        MapCreate(ARRAY, 4, 4, 1),
        Try(MapSet(Ref(0), bytes(4), bytes(4), fds=(FdAt(1, Ref(0)),))),
        MapSet(Ref(0), bytes(4), bytes(4), fds=(FdAt(0, Ref(0)),)),
        MapGet(Ref(0), bytes(4)),
    )
    assert isinstance(failed, Failed)
    assert failed.text == "no room for an fd at byte 1 of 4"
    assert value != Value(bytes(4))  # some fd of the agent's


@pytest.fixture
def bpffs(kernel: Kernel, tmp_path: Path) -> tuple[Kernel, Handle, str]:
    """A kernel, a scope in it, and a path in a bpf file system."""
    scope = made(kernel.run([ScopeOpen("pins")])[0])
    check(kernel.run([Mount("bpf", "/sys/fs/bpf", "bpf")], scope=scope)[0], Done)
    return kernel, scope, f"/sys/fs/bpf/{tmp_path.name}"


def test_a_pin_that_ends_with_its_object(bpffs: tuple[Kernel, Handle, str]) -> None:
    kernel, scope, path = bpffs
    results = kernel.run(
        [
            MapCreate(ARRAY, 4, 4, 1, name="pinned"),
            ObjPin(Ref(0), path, undo=True),
            ObjGet(path),
            Close(Ref(0)),
            Try(ObjGet(path)),
        ],
        scope=scope,
    )
    assert isinstance(results[2], Made)
    assert isinstance(results[4], Failed)
    assert results[4].errno == errno.ENOENT
    again = kernel.run([MapCreate(ARRAY, 4, 4, 1), ObjPin(Ref(0), path, undo=True)], scope=scope)
    assert again[1] == Done()
    closed = check(kernel.run([ScopeClose(scope)])[0], ScopeClosed)
    assert closed.leaks == ()
