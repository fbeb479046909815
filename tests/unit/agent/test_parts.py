"""Small parts of the agent: handles, layouts, CPU lists, generated numbers."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from pytest_ebpf.agent.base.handles import Refused, Table
from pytest_ebpf.agent.base.syscalls import Memory, address_of, error_text
from pytest_ebpf.agent.base.sysfs import cpu_set, read_bytes, read_text
from pytest_ebpf.agent.bpf.info import object_name
from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.uapi.enums import AttachType, Cmd, MapType, ProgType
from pytest_ebpf.uapi.layout import Layout
from pytest_ebpf.uapi.links import LinkType

PIECE = Layout({"a": (0, "I"), "b": (8, "Q"), "name": (16, "16s"), "late": (40, "I")})


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0,2-3,7\n", (0, 2, 3, 7)), ("", ()), ("0-1,4-5", (0, 1, 4, 5))],
)
def test_cpu_lists(text: str, cpus: tuple[int, ...]) -> None:
    assert cpu_set(text) == cpus


def test_a_layout_is_as_short_as_its_last_field_in_use() -> None:
    assert PIECE.pack(a=1, b=0, late=0) == struct.pack("=I", 1)
    assert PIECE.pack(a=1, b=2) == struct.pack("=I4xQ", 1, 2)
    assert len(PIECE.pack(late=1)) == 44
    assert len(PIECE.pack()) == 4


def test_a_layout_reads_what_is_there() -> None:
    data = PIECE.pack(a=1, b=2**63, name=b"hello")
    assert PIECE.get(data, name="a") == 1
    assert PIECE.get(data, name="b") == 2**63
    assert PIECE.text(data, name="name") == "hello"
    assert PIECE.get(data, name="late") == 0  # an older kernel's struct ends earlier


def test_numbers_that_programs_are_written_against() -> None:
    assert Cmd.PROG_LOAD == 5
    assert Cmd.LINK_CREATE == 28
    assert Cmd.PROG_STREAM_READ_BY_FD == 37
    assert MapType.RINGBUF == 27
    assert MapType.ARENA == 33
    assert ProgType.NETFILTER == 32
    assert AttachType.XDP == 37
    assert AttachType.TCX_INGRESS == 46
    assert AttachType.TRACE_FSESSION_MULTI == 61
    assert LinkType.TRACING_MULTI == 15


@pytest.mark.parametrize(
    ("name", "fit"),
    [
        ("counts", b"counts"),
        ("a-b c", b"a_b_c"),
        ("sixteen_letters_", b"sixteen_letters"),
        ("", b""),
        (".bss", b".bss"),
    ],
)
def test_names(name: str, fit: bytes) -> None:
    assert object_name(name) == fit


def test_error_texts() -> None:
    assert error_text(2) == "No such file or directory"
    assert error_text(524) == "not supported by this kernel"


@pytest.mark.parametrize("size", [1, 100, 3 << 20])
def test_memory(size: int) -> None:
    memory = Memory(size)
    assert len(memory.view) == size
    assert bytes(memory.view[:16]) == bytes(min(16, size))
    memory.view[:1] = b"x"
    assert memory.text() == b"x"


def test_memory_full_to_the_last_byte_is_text_too() -> None:
    memory = Memory(4)
    memory.view[:] = b"abcd"
    assert memory.text() == b"abcd"


def test_addresses() -> None:
    assert address_of(b"") == 0
    assert address_of(b"abc") != 0


def test_reading_files(tmp_path: object) -> None:
    assert read_text("/no/such", default="x") == "x"
    assert read_bytes("/dev/zero", limit=5) == bytes(5)


@pytest.mark.parametrize("size", [0, 1, 2048, 4095, 4096, 4097, 8192, (1 << 20) + 1, 3 << 20])
def test_all_of_a_file_is_read_whatever_its_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(data := os.urandom(size))
    assert read_bytes(str(path)) == data
    for limit in (1, 4095, 4096, 4097, 1 << 20):
        assert read_bytes(str(path), limit=limit) == data[:limit]


def test_what_cannot_be_read_twice_is_read_once(tmp_path: Path) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(fd, data := os.urandom(10_000))
        assert read_bytes(path) == data
    finally:
        os.close(fd)


def test_a_setting_is_asked_for_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel clears as much memory as is asked for: 13 ms per file in an emulated guest, when it was a megabyte."""
    asked: list[int] = []
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, n: asked.append(n) or read(fd, n))  # type: ignore[func-returns-value]
    assert read_text("/proc/sys/kernel/ostype") == "Linux"
    assert asked == [4096, 4096]


def test_handles_close_what_they_own() -> None:
    table = Table()
    read, write = os.pipe()
    order: list[str] = []
    entry = table.add(read, "file", name="pipe", site="test_a.py:3")
    entry.closers += [lambda: order.append("first made"), lambda: order.append("last made")]
    table.close(entry)
    assert order == ["last made", "first made"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)
    os.close(write)
    with pytest.raises(Refused, match=r"file 'pipe' \(opened at test_a.py:3\) was closed"):
        table.get(entry.handle)


def test_a_failing_step_does_not_stop_the_others() -> None:
    table = Table()
    done: list[int] = []

    def fail() -> None:
        raise OSError(5, "no")

    entry = table.add(-1, "dir")
    entry.closers += [lambda: done.append(1), fail, lambda: done.append(2)]
    with pytest.raises(OSError, match="no"):
        table.close(entry)
    assert done == [2, 1]
    assert len(table) == 0


def test_old_graves_are_forgotten_but_still_refused() -> None:
    table = Table()
    first = table.add(-1, "map", name="first")
    table.close(first)
    for _ in range(5000):
        table.close(table.add(-1, "map"))
    with pytest.raises(Refused, match="map 'first' was closed long ago, or never made"):
        table.get(first.handle)


def test_boots_differ() -> None:
    one, other = Table(), Table()
    handle = one.add(-1, "map", name="m").handle
    other.add(-1, "map", name="m")
    assert one.boot != other.boot
    with pytest.raises(Refused, match="earlier life"):
        other.get(handle)
    with pytest.raises(Refused, match="earlier life"):
        one.get(Handle(handle.serial, "", "map", "m"))


def test_scopes_own_newest_first_with_what_is_nested() -> None:
    table = Table()
    outer = table.add(-1, "scope", name="outer")
    a = table.add(-1, "map", name="a", scope=outer.handle)
    inner = table.add(-1, "scope", name="inner", scope=outer.handle)
    b = table.add(-1, "map", name="b", scope=inner.handle)
    c = table.add(-1, "map", name="c", scope=outer.handle)
    table.add(-1, "map", name="elsewhere")
    assert [entry.handle.name for entry in table.owned_by(outer.handle.serial)] == ["c", "b", "inner", "a"]
    assert {a.scope, c.scope} == {outer.handle.serial}
    assert b.scope == inner.handle.serial
