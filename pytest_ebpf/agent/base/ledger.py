"""What this process would leave on its machine if it were killed: written down when it is made, struck out when it is
removed. The next run reads it (``host/sweep.py``). A guest dies with its run, and needs none.

One file per life of an agent, locked as long as it lives. A line is ``["+", kind, name]`` or ``["-", …]``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator

__all__ = ["Ledger", "dead_ledgers", "ledger_folder", "open_ledger", "read_ledger"]

_SUFFIX = ".ledger"


def ledger_folder() -> str:
    """A directory of this user's that does not outlive the boot; "" where there is none."""
    if os.geteuid() == 0:
        return "/run/pytest-ebpf"
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    return f"{own}/pytest-ebpf" if own else ""


class Ledger:
    """The file is made with the first line."""

    def __init__(self, folder: str, name: str) -> None:
        self._path = f"{folder}/{name}{_SUFFIX}"
        self._fd = -1
        self._commands = False

    def note(self, kind: str, name: str) -> None:
        """Something was made that does not end with this process."""
        self._write("+", (kind, name))

    def strike(self, kind: str, name: str) -> None:
        """It is gone."""
        self._write("-", (kind, name))

    def note_command(self) -> None:
        """A command is started: its descendants are known by their mark (``base/leaks.py``)."""
        if not self._commands:
            self._commands = True
            self.note("commands", "")

    def close(self) -> None:
        """Nothing is left."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            os.close(self._fd)
            self._fd = -1

    def _write(self, sign: str, what: tuple[str, str]) -> None:
        with contextlib.suppress(OSError):  # no place to write to: as before there were ledgers
            if self._fd < 0:
                self._open()
            os.write(self._fd, json.dumps([sign, *what]).encode() + b"\n")

    def _open(self) -> None:
        """Nobody sees it before it is locked."""
        folder, _, name = self._path.rpartition("/")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        hidden = f"{folder}/.{name}"
        self._fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        os.rename(hidden, self._path)


def open_ledger(name: str) -> Ledger | None:
    """The ledger of an agent's life; None where there is no place for one."""
    folder = ledger_folder()
    return Ledger(folder, name) if folder else None


def dead_ledgers(folder: str) -> Iterator[str]:
    """The ledgers of processes that were killed, each locked while it is looked at, and removed after that."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            path = f"{folder}/{name}"
            with contextlib.suppress(OSError), open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if name.endswith(_SUFFIX) and os.fstat(file.fileno()).st_nlink and _is_ours(file.fileno()):
                    yield path
                os.unlink(path)


def _is_ours(fd: int) -> bool:
    return os.fstat(fd).st_uid == os.geteuid()


def read_ledger(path: str) -> list[tuple[str, str]]:
    """(kind, name) of what was not struck out, newest first. A line that was cut off by the end is ignored."""
    left: dict[tuple[str, str], None] = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            with contextlib.suppress(ValueError, TypeError):
                sign, kind, name = json.loads(line)
                if sign == "+":
                    left[str(kind), str(name)] = None
                else:
                    left.pop((str(kind), str(name)), None)
    return list(reversed(left))
