"""Line 17: a library by name is the one that programs of the machine use, whatever else ld.so.cache lists."""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from pytest_ebpf import FakeKernel
from pytest_ebpf.agent.ops import Data, Failed, Op, ReadFile, Result
from pytest_ebpf.live.inspect.executables import find_binary
from pytest_ebpf.live.session import Session, Target
from pytest_ebpf.obj.executables import is_native
from support.fault_objects import library_cache

# the flags of ld.so.cache: x86-64, x32, i386, AArch64
ROWS = {
    "/libx32/libc.so.6": (0x803, (1, 62)),
    "/lib32/libc.so.6": (0x003, (1, 3)),
    "/lib64/libc.so.6": (0x303, (2, 62)),
    "/lib/aarch64-linux-gnu/libc.so.6": (0xA03, (2, 183)),
}


@pytest.fixture
def session_on() -> Callable[..., Session]:
    """A session on a kernel of that machine that reads files by the function given."""

    def make(read: Callable[[ReadFile], Result], *, machine: str) -> Session:
        target = SimpleNamespace(
            name="test",
            kernel=FakeKernel({ReadFile: read}),
            described=SimpleNamespace(machine=machine, byteorder="little"),
            time_scale=1.0,
        )
        return Session(cast(Target, target), name="test")

    return make


def head(width: int, machine: int) -> bytes:
    return b"\x7fELF" + bytes([width, 1, 1]) + bytes(9) + struct.pack("<HH", 3, machine)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("machine", "path"),
    [
        ("x86_64", "/lib64/libc.so.6"),
        ("i686", "/lib32/libc.so.6"),
        ("aarch64", "/lib/aarch64-linux-gnu/libc.so.6"),
    ],
)
def test_the_library_of_the_machine(session_on: Callable[..., Session], machine: str, path: str, order: int) -> None:
    rows = [("libc.so.6", path, flags) for path, (flags, _) in ROWS.items()][::order]
    cache = library_cache(rows)

    def read(op: Op) -> Result:
        assert isinstance(op, ReadFile)
        if op.path == "/etc/ld.so.cache":
            return Data(cache)
        return Data(head(*ROWS[op.path][1])) if op.path in ROWS else Failed("ReadFile", 2, "no")

    session = session_on(read, machine=machine)
    assert find_binary(session, "libc.so.6", who="uprobe") == path
    assert find_binary(session, "libc", who="uprobe") == path


def test_a_library_that_is_there_for_another_machine_only(session_on: Callable[..., Session]) -> None:
    cache = library_cache([("libc.so.6", "/libx32/libc.so.6", 0x803)])
    answers = {"/etc/ld.so.cache": Data(cache), "/libx32/libc.so.6": Data(head(1, 62))}
    session = session_on(lambda op: answers[op.path], machine="x86_64")
    assert find_binary(session, "libc.so.6", who="uprobe") == "/libx32/libc.so.6"


def test_an_elf_file_is_native_by_class_and_machine() -> None:
    assert is_native(head(2, 62), "x86_64")
    assert not is_native(head(1, 62), "x86_64"), "x32"
    assert not is_native(head(2, 183), "x86_64")
    assert is_native(head(2, 999), "a machine that nobody knows")
    assert not is_native(b"/* GNU ld script */ long enough", "x86_64")
    assert not is_native(b"", "x86_64")
