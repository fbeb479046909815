"""The parts of a machine, each on its own and without QEMU: process, stream, directory, tools."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import threading
from pathlib import Path

import pytest

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.guest import tools as tools_module
from pytest_ebpf.vm.guest.rundir import RunDir, close_rundir, open_rundir
from pytest_ebpf.vm.guest.stream import Stream
from pytest_ebpf.vm.guest.tools import find_tools, is_static, missing_tools
from pytest_ebpf.vm.images.expiry import drop_stale, mark_used


def pair() -> tuple[Stream, socket.socket]:
    ours, theirs = socket.socketpair()
    return Stream(ours), theirs


def test_a_silent_end_is_a_timeout() -> None:
    stream, _theirs = pair()
    with pytest.raises(TimeoutError):
        stream.read(10, 0.05)
    with pytest.raises(TimeoutError):
        stream.read_line(0.05)
    assert not stream.wait_readable(0)


def test_a_closed_end_is_end_of_file_and_cannot_be_written() -> None:
    stream, theirs = pair()
    theirs.sendall(b"one\ntwo")
    theirs.close()
    assert stream.wait_readable(0)
    assert stream.read_line(1) == b"one\n"
    assert stream.read_line(1) == b"two"
    assert stream.read(10, 1) == b""
    with pytest.raises(OSError, match="Broken pipe"):
        stream.write(b"x", 1)


def test_an_end_that_does_not_read_is_a_timeout() -> None:
    stream, _theirs = pair()
    with pytest.raises(TimeoutError):
        stream.write(bytes(64 << 20), 0.2)


def test_failing_a_stream_wakes_its_reader() -> None:
    stream, _theirs = pair()
    threading.Timer(0.05, stream.fail).start()
    assert stream.read(1, 60) == b""  # a reader whose time is up gets a TimeoutError
    stream.close()
    stream.close()


def test_what_nobody_used_for_long_is_dropped(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / f"{name}-directory" / "x").mkdir(parents=True)
        (tmp_path / f"{name}-file").touch()
    for name in ("old-directory", "old-file", "new-file"):
        os.utime(tmp_path / name, (0, 0))
    mark_used(tmp_path / "new-file")
    mark_used(tmp_path / "none")
    drop_stale(tmp_path, older=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new-directory", "new-file"]


def test_another_architecture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(BootFailed, match="need an x86-64 machine, this is aarch64"):
        find_tools()


def test_directories_made_and_swept_at_once_stay(tmp_path: Path) -> None:
    """A directory without its lock yet was taken for one of a dead process."""
    made: list[RunDir] = []
    threads = [threading.Thread(target=lambda: made.append(open_rundir(tmp_path, "x"))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one.console.parent.is_dir() for one in made)
    for one in made:
        close_rundir(one)


def test_the_lock_is_really_held(tmp_path: Path) -> None:
    rundir = open_rundir(tmp_path, "mine")
    with (rundir.path / "lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def elf(*kinds: int) -> bytes:
    """A 64-bit ELF header with program headers of these types."""
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", header, 0x20, 64)
    struct.pack_into("<HH", header, 0x36, 56, len(kinds))
    return bytes(header) + b"".join(struct.pack("<I", kind).ljust(56, b"\0") for kind in kinds)


def test_a_busybox_that_needs_a_loader_does_not_count() -> None:
    assert is_static(elf(1, 1))
    assert not is_static(elf(1, 3))
    assert not is_static(b"#!/bin/sh\n")


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (("busybox",), ["a statically linked busybox", "apt-get install busybox-static"]),
        (("modprobe", "depmod"), ["modprobe and depmod", "apt-get install kmod"]),
        (("qemu-system-x86_64", "strings"), ["qemu-system-x86_64", "apt-get install qemu-system-x86 binutils"]),
    ],
    ids=["busybox", "kmod", "qemu"],
)
def test_what_is_missing_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, gone: tuple[str, ...], words: list[str]
) -> None:
    found = tools_module.find_program
    monkeypatch.setattr(tools_module, "find_program", lambda name: None if name.startswith(gone) else found(name))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(BootFailed) as failed:
        find_tools()
    assert all(word in str(failed.value) for word in words)
    assert len(missing_tools()) == len(gone)


def test_virtme_run_is_found_beside_python_and_asked_for_by_pip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert missing_tools()["virtme-run"] == f"run: {tmp_path / 'python'} -m pip install virtme-ng"
    (tmp_path / "virtme-run").touch()
    assert "virtme-run" not in missing_tools()
