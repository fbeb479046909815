"""Symbols of programs and libraries: places in the file, and what is said when there is none."""

from __future__ import annotations

import ctypes
import struct
import sys
from pathlib import Path

import pytest

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.executables import find_libraries, function_places


def loaded_from(name: str) -> tuple[Path, int]:
    """The file and the place in it that the dynamic loader has for a function of the C library."""
    address = ctypes.cast(getattr(ctypes.CDLL("libc.so.6"), name), ctypes.c_void_p).value
    assert address is not None
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, _, offset, _, _, *path = line.split(maxsplit=5)
        start, end = (int(each, 16) for each in where.split("-"))
        if start <= address < end:
            return Path(path[0]), address - start + int(offset, 16)
    raise AssertionError(name)


@pytest.mark.parametrize("name", ["getppid", "malloc", "fopen"])
def test_a_symbol_is_where_the_dynamic_loader_has_it(name: str) -> None:
    path, place = loaded_from(name)
    assert function_places(path.read_bytes(), (name,), path=str(path)) == (place,)


def test_a_symbol_that_is_not_there_is_answered_with_the_nearest() -> None:
    path, _ = loaded_from("getppid")
    with pytest.raises(ObjectError, match="it has no function 'getppidd'") as error:
        function_places(path.read_bytes(), ("getppidd",), path=str(path))
    assert "getppid" in error.value.hint


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x01\x01" + bytes(57)])
def test_what_is_no_executable(data: bytes) -> None:
    with pytest.raises(ObjectError, match="demo: it "):
        function_places(data, ("main",), path="demo")


def test_a_cut_off_executable_is_refused() -> None:
    whole = Path(sys.executable).resolve().read_bytes()
    with pytest.raises(ObjectError):
        function_places(whole[: len(whole) // 2], ("main",), path="python")


def cache(*libraries: tuple[int, str, str]) -> bytes:
    """An ld.so.cache of (flags, name, path)."""
    entries, strings = b"", b""
    base = 48 + 24 * len(libraries)
    for flags, name, path in libraries:
        key = base + len(strings)
        strings += name.encode() + b"\0"
        value = base + len(strings)
        strings += path.encode() + b"\0"
        entries += struct.pack("=iIIIQ", flags, key, value, 0, 0)
    head = b"glibc-ld.so.cache1.1" + struct.pack("=II", len(libraries), len(strings))
    return head.ljust(48, b"\0") + entries + strings


def test_libraries_by_name() -> None:
    known = cache((0x0001, "libx.so.1", "/lib32/libx.so.1"), (0x0303, "libx.so.1", "/lib64/libx.so.1"))
    assert sorted(find_libraries(known, "libx.so.1")) == ["/lib32/libx.so.1", "/lib64/libx.so.1"]
    assert sorted(find_libraries(known, "libx")) == ["/lib32/libx.so.1", "/lib64/libx.so.1"]
    assert find_libraries(known, "lib") == []
    assert find_libraries(b"something else", "libx") == []
    assert find_libraries(known[:60], "libx") == []
