"""Which file a name means: the build for the byte order of the kernel, in the first directory that has one."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from pytest_ebpf.agent.base.handles import Refused
from pytest_ebpf.agent.host.netns import _split
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.live.object_file import find_object, names_for


@pytest.mark.parametrize("name", ["x.bpf.o", "x.o"])
def test_a_big_endian_kernel_is_given_the_big_endian_build(tmp_path: Path, name: str) -> None:
    for file in (name, "x.bpfeb.o"):
        (tmp_path / file).touch()
    assert find_object(name, [tmp_path]).name == name
    assert find_object(name, [tmp_path], byteorder="big").name == "x.bpfeb.o"
    assert find_object(tmp_path / name, [], byteorder="big").name == "x.bpfeb.o"
    assert find_object("x.bpfeb.o", [tmp_path]).name == "x.bpfeb.o"  # named, it is meant


def test_where_there_is_one_build_it_is_meant(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
    (first / "x.bpf.o").touch()
    (second / "x.bpfeb.o").touch()
    assert find_object("x.bpf.o", [first, second], byteorder="big") == first / "x.bpf.o"
    (first / "x.bpf.o").unlink()
    assert find_object("x.bpf.o", [first, second], byteorder="big") == second / "x.bpfeb.o"
    with pytest.raises(ObjectError, match="no such file"):
        find_object("x.bpf.o", [first, second])


def test_other_files_have_one_name() -> None:
    assert names_for(Path("types.h"), "big") == [Path("types.h")]
    assert names_for(Path("a/x.bpf.o"), "big") == [Path("a/x.bpfeb.o"), Path("a/x.bpf.o")]


def test_a_netlink_request_of_the_other_byte_order_is_refused() -> None:
    other = ">" if sys.byteorder == "little" else "<"
    request = struct.pack(f"{other}IHHII", 20, 16, 5, 1, 0) + bytes(4)
    with pytest.raises(Refused, match="in the host's byte order, which is not this machine's"):
        _split(request)
    assert _split(struct.pack("=IHHII", 20, 16, 5, 1, 0) + bytes(4)) != []
