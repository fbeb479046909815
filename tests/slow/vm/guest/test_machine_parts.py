"""The parts of a machine that are processes, and a shell in the place of QEMU."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_ebpf.outcome import Outcome
from pytest_ebpf.vm.guest.command import supervised
from pytest_ebpf.vm.guest.launch import Parts, clock_agrees
from pytest_ebpf.vm.guest.process import End, QemuProcess
from pytest_ebpf.vm.guest.rundir import close_rundir, open_rundir, sweep
from pytest_ebpf.vm.guest.stream import Stream
from pytest_ebpf.vm.guest.tools import find_tools

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


@pytest.mark.parametrize(("uptime", "agrees"), [(0.5, True), (9.0, True), (30.0, False), (170.0, False)])
def test_a_clock_that_runs_away_is_noticed(tmp_path: Path, uptime: float, agrees: bool) -> None:
    """Ten seconds after QEMU was started."""
    stream, _theirs = pair()
    rundir = open_rundir(tmp_path, "x")
    qemu = QemuProcess(["true"], rundir=rundir, on_end=lambda: None)
    parts = Parts(qemu, stream, stream, rundir, os.getpid(), time.monotonic() - 10)
    assert clock_agrees(parts, uptime=uptime) is agrees
    parts.take_apart()
