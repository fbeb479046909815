"""The directory of one running machine: its console and QEMU's own messages.

A lock in it is held by the process that made it; a directory whose lock is free was left by a process that was killed,
and the next one to make a directory removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from pytest_ebpf.frozen import dataclass

__all__ = ["RunDir", "close_rundir", "open_rundir", "sweep"]

_LOCK = "lock"
_GATE = ".gate"


@dataclass(frozen=True, slots=True)
class RunDir:
    """``path``, and ``lock``, the descriptor that marks it as in use."""

    path: Path
    lock: int

    @property
    def console(self) -> Path:
        return self.path / "console.log"

    @property
    def shell(self) -> Path:
        """A socket: the console of people's shells, of a guest that can be entered."""
        return self.path / "shell.sock"

    @property
    def gdb(self) -> Path:
        """A socket: QEMU's stub for debuggers."""
        return self.path / "gdb.sock"

    @property
    def messages(self) -> Path:
        return self.path / "qemu.log"


def open_rundir(parent: Path, name: str) -> RunDir:
    """A new directory below ``parent``; leftovers of dead processes are removed."""
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / _GATE).open("a") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)  # a directory is swept before or after it gets its lock, not between
        sweep(parent)
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return RunDir(path, lock)


def close_rundir(rundir: RunDir) -> None:
    """Remove the directory. Call once."""
    shutil.rmtree(rundir.path, ignore_errors=True)
    os.close(rundir.lock)


def sweep(parent: Path) -> None:
    """Remove the directories of processes that have ended."""
    for lock in parent.glob(f"*/{_LOCK}"):
        with contextlib.suppress(OSError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
