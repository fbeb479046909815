"""The parts of a machine, each on its own and without QEMU: process, stream, directory, tools."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.outcome import Outcome
from pytest_ebpf.vm.guest import tools as tools_module
from pytest_ebpf.vm.guest.command import supervised
from pytest_ebpf.vm.guest.launch import Parts, clock_agrees
from pytest_ebpf.vm.guest.process import End, QemuProcess
from pytest_ebpf.vm.guest.rundir import RunDir, close_rundir, open_rundir, sweep
from pytest_ebpf.vm.guest.stream import Stream
from pytest_ebpf.vm.guest.tools import find_tools, is_static, missing_tools
from pytest_ebpf.vm.images.expiry import drop_stale, mark_used

PANIC = "[ 1.0] Kernel panic - not syncing: sysrq triggered crash"


def watched(tmp_path: Path, script: str) -> tuple[QemuProcess, list[float]]:
    """A shell in the place of QEMU, and when its end was reported."""
    ends: list[float] = []
    rundir = open_rundir(tmp_path / "running", "test")
    process = QemuProcess(["/bin/sh", "-c", script], rundir=rundir, on_end=lambda: ends.append(time.monotonic()))
    return process, ends


@pytest.mark.parametrize(
    ("script", "end"),
    [
        (f"echo '{PANIC}'", End("kernel panic: sysrq triggered crash", Outcome.PANIC)),
        (f"echo '{PANIC}'; kill -9 $$", End("QEMU was killed by SIGKILL", Outcome.INFRASTRUCTURE)),
        (
            "echo 'qemu-system-x86_64: -cpu: no such model' >&2; exit 1",
            End("QEMU ended with status 1: -cpu: no such model", Outcome.INFRASTRUCTURE),
        ),
        (
            "echo 'qemu-system-x86_64: terminating on signal 15 from pid 42 (kill)' >&2",
            End("QEMU was ended from outside, by SIGTERM from process 42", Outcome.INFRASTRUCTURE),
        ),
        (
            "echo 'pytest-ebpf: process 1: OSError: x'",
            End("the guest turned itself off: process 1: OSError: x", Outcome.FAILED),
        ),
        ("true", End("the guest turned itself off", Outcome.FAILED)),
    ],
    ids=["panic", "killed", "refused", "ended", "init failed", "off"],
)
def test_the_end_is_explained(tmp_path: Path, script: str, end: End) -> None:
    process, ends = watched(tmp_path, script)
    assert process.wait(5)
    assert process.end() == end
    assert not process.alive()
    assert len(ends) == 1


def test_one_that_was_stopped_says_so(tmp_path: Path) -> None:
    process, _ = watched(tmp_path, "sleep 60")
    assert process.alive()
    assert process.end() is None
    process.kill()
    process.kill()
    assert not process.alive()
    assert process.end() == End("it was stopped", Outcome.INFRASTRUCTURE)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_program_that_does_not_exist(tmp_path: Path) -> None:
    rundir = open_rundir(tmp_path / "running", "test")
    process = QemuProcess(["/nowhere/qemu"], rundir=rundir, on_end=lambda: None)
    assert process.wait(5)
    end = process.end()
    assert end is not None
    assert end.reason.startswith("QEMU could not be started")
    assert process.pid == 0


def test_the_process_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    """PR_SET_PDEATHSIG is about the thread that forked."""
    made: list[QemuProcess] = []
    setpriv = find_tools().setpriv
    rundir = open_rundir(tmp_path / "running", "test")

    def ask() -> None:
        argv = supervised(["sleep", "60"], setpriv=setpriv)
        made.append(QemuProcess(argv, rundir=rundir, on_end=lambda: None))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert made[0].alive()
    made[0].kill()


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


def test_a_directory_of_a_dead_process_is_swept_and_one_in_use_is_not(tmp_path: Path) -> None:
    mine = open_rundir(tmp_path, "mine")
    dead = tmp_path / "dead-x"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "console.log").write_text("x")
    holder = [sys.executable, "-c", _HOLD, str(tmp_path / "held-x")]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        sweep(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["held-x", mine.path.name]
        other.communicate(b"")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [mine.path.name]
    close_rundir(mine)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


_HOLD = """
import fcntl, os, sys
os.mkdir(sys.argv[1])
file = open(sys.argv[1] + "/lock", "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


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


@pytest.mark.parametrize(("uptime", "agrees"), [(0.5, True), (9.0, True), (30.0, False), (170.0, False)])
def test_a_clock_that_runs_away_is_noticed(tmp_path: Path, uptime: float, agrees: bool) -> None:
    """Ten seconds after QEMU was started."""
    stream, _theirs = pair()
    rundir = open_rundir(tmp_path, "x")
    qemu = QemuProcess(["true"], rundir=rundir, on_end=lambda: None)
    parts = Parts(qemu, stream, stream, rundir, os.getpid(), time.monotonic() - 10)
    assert clock_agrees(parts, uptime=uptime) is agrees
    parts.take_apart()


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
