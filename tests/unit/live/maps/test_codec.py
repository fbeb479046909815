"""Keys and values of maps that are objects, values of one processor, and shared memory, on a kernel from a script."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import Any

import pytest

from pytest_ebpf.agent.ops import (
    Data,
    Done,
    Entries,
    Failed,
    FdAt,
    InodeOf,
    MapCreate,
    MapDump,
    MapGet,
    MapSet,
    MemRead,
    MemWrite,
    OpenFile,
    PidFd,
    RingProduce,
    Value,
)
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.maps.stacks import Frame
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import MapDef

PERCPU_HASH, STACK_TRACE, DEVMAP, SOCKMAP, CGROUP_STORAGE = 5, 7, 14, 15, 19
SK_STORAGE, INODE_STORAGE, TASK_STORAGE, USER_RINGBUF, ARRAY, CGRP_STORAGE = 24, 28, 29, 31, 2, 32
ON_CPU = 8

Make = Callable[..., tuple[Map, Session]]


class Thing:
    """Something with a handle."""

    def __init__(self, session: Session) -> None:
        self.handle = session.make(OpenFile("/thing"))


@pytest.fixture
def make(session_on: Callable[..., Session]) -> Make:
    def make(type: int, answers: dict[Any, Any] | None = None, **fields: int) -> tuple[Map, Session]:
        session = session_on(answers)
        sizes = {"key_size": 4, "value_size": 4, "max_entries": 8} | fields
        handle = session.make(MapCreate(type, 4, 4, 8))
        return Map(session, definition=MapDef("m", type, **sizes), handle=handle), session

    return make


def sent(session: Session, kind: type) -> list[Any]:
    plain = [getattr(op, "op", op) for batch in session.target.kernel.batches for op in batch]
    return [op for op in plain if isinstance(op, kind)]


@pytest.mark.parametrize(
    ("type", "key", "opened"),
    [
        (TASK_STORAGE, 17, PidFd(17)),
        (INODE_STORAGE, "/etc/passwd", OpenFile("/etc/passwd")),
        (CGRP_STORAGE, "/sys/fs/cgroup/x", OpenFile("/sys/fs/cgroup/x")),
    ],
)
def test_what_a_key_names_is_open_for_the_one_batch(make: Make, type: int, key: object, opened: PidFd) -> None:
    table, session = make(type, {MapGet: Value(b"\5\0\0\0"), PidFd: Done(), OpenFile: Done()})
    assert table[key] == 5
    batch = session.target.kernel.batches[-1]
    assert [getattr(op, "op", op).__class__.__name__ for op in batch] == [opened.__class__.__name__, "MapGet", "Close"]
    assert getattr(batch[0], "pid", key) == key


def test_a_process_without_a_value_is_a_key_error(make: Make) -> None:
    """Its id is a number, but the key is the process."""
    table, _ = make(TASK_STORAGE, {MapGet: Value(None), PidFd: Done()})
    with pytest.raises(KeyError, match="17 is not in map"):
        table[17]


def test_a_key_that_is_open_goes_as_it_is(make: Make) -> None:
    table, session = make(SK_STORAGE, {MapGet: Value(None)})
    thing = Thing(session)
    assert table.get(thing) is None
    assert sent(session, MapGet)[0].key == thing.handle
    with pytest.raises(TypeError, match=r"takes a socket from bpf\.socket\(\), not 5"):
        table[5]
    with pytest.raises(BpfUsageError, match="cannot be listed"):
        len(table)


def test_the_storage_of_a_group_is_found_by_its_attach_type(make: Make) -> None:
    def keys(*kinds: int) -> Entries:
        raw = b"".join(struct.pack("=QI4x", 77, kind) for kind in kinds)
        return Entries(raw, bytes(4 * len(kinds)), len(kinds), 16, 4)

    answers = {InodeOf: Value((77).to_bytes(8, "little")), MapGet: Value(b"\1\0\0\0"), MapDump: [keys(1), keys(0, 1)]}
    table, session = make(CGROUP_STORAGE, answers, key_size=16)
    group = Thing(session)
    assert table[group] == 1
    assert sent(session, MapGet)[0].key == struct.pack("=QI4x", 77, 1)
    with pytest.raises(ValueError, match="each of the attach types 0, 1"):
        table[group]


def test_a_port_with_a_program(make: Make) -> None:
    table, session = make(DEVMAP, {MapSet: Done(), MapGet: Value(struct.pack("=II", 2, 9))}, value_size=8)
    program = Thing(session)
    table[1] = {"ifindex": 2, "program": program}
    table[2] = 3
    first, second = sent(session, MapSet)
    assert (first.value, first.fds) == (struct.pack("=II", 2, 0), (FdAt(4, program.handle),))
    assert (second.value, second.fds) == (struct.pack("=II", 3, 0), ())
    assert table[1] == {"ifindex": 2, "program": 9}
    with pytest.raises(TypeError, match="program= takes a loaded program, not 'egress'"):
        table[1] = {"ifindex": 2, "program": "egress"}
    with pytest.raises(BpfUsageError, match="one at a time"):
        table.update_many({1: {"ifindex": 2, "program": program}})


def test_sockets_are_values(make: Make) -> None:
    table, session = make(SOCKMAP, {MapSet: Done(), MapGet: Value((99).to_bytes(8, "little"))}, value_size=8)
    table[0] = Thing(session)
    assert table[0] == 99
    with pytest.raises(TypeError, match=r"takes a socket from bpf\.socket\(\), not b'x'"):
        table[0] = b"x"


def test_one_processor_with_and_without_the_kernels_help(make: Make) -> None:
    whole = struct.pack("=I4xI4x", 3, 4)
    invalid = Failed("MapSet", errno.EINVAL, "invalid")
    answers = {MapGet: [Value(b"\7\0\0\0"), Value(whole), Value(whole)], MapSet: [Done(), invalid, Done()]}
    table, session = make(PERCPU_HASH, answers)
    assert table.on_cpu(1)[5] == 7
    assert [op.flags for op in sent(session, MapGet)] == [ON_CPU | 1 << 32, 0]
    table.on_cpu(1)[5] = 9
    table.on_cpu(1)[5] = 9  # refused: read, changed, written back
    assert [op.value for op in sent(session, MapSet)] == [b"\t\0\0\0", b"\t\0\0\0", struct.pack("=I4xI4x", 3, 9)]
    with pytest.raises(IndexError, match="processor 2: the kernel has 0 to 1"):
        table.on_cpu(2)


def test_memory_is_read_and_written_in_pieces(make: Make) -> None:
    table, session = make(ARRAY, {MemRead: Data(b"abcd"), MemWrite: Done()})
    assert (len(table.memory), table.memory[4:8]) == (64, b"abcd")
    table.memory[60:] = b"last"
    assert sent(session, MemRead) == [MemRead(table.handle, 4, 4)]
    assert sent(session, MemWrite) == [MemWrite(table.handle, 60, b"last")]
    with pytest.raises(ValueError, match="2 bytes for 4"):
        table.memory[0:4] = b"xy"


def test_records_without_a_type_are_bytes(make: Make) -> None:
    full = Failed("RingProduce", errno.ENOSPC, "room for 0 of 1 records")
    table, session = make(USER_RINGBUF, {RingProduce: [Done(), full]})
    table.produce(b"ab", bytearray(b"c"))
    assert sent(session, RingProduce)[0].records == (b"ab", b"c")
    with pytest.raises(KernelCallError, match="ENOSPC"):
        table.produce(b"d")
    with pytest.raises(BpfUsageError, match="has no BTF, so they are bytes"):
        table.produce({"a": 1})


def test_a_stack_without_names(make: Make) -> None:
    table, _ = make(STACK_TRACE, {MapGet: [Value(struct.pack("=3Q", 0x1000, 0x2000, 0)), Value(None)]}, value_size=24)
    assert table.stack(1).frames == (Frame(0x1000), Frame(0x2000))
    with pytest.raises(KeyError, match="has no stack 2"):
        table.stack(2)
