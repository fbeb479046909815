"""What commands leave behind: processes that left their group, namespaces that somebody is still in."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Table
from pytest_ebpf.agent.base.sysfs import read_text
from pytest_ebpf.agent.ops import Leak

__all__ = ["ScopeState", "end_marked", "leftovers", "mark_scope", "namespaces", "scope_state"]

_MARK = "PYTEST_EBPF_SCOPE"
_MARK_AT_START = f"{_MARK}=".encode()
_PATIENCE = 1.0  # seconds for a killed process to go
_STARTING = 0.02  # seconds


class ScopeState:
    """Of a scope that started commands: ``around`` is what ``host.around`` keeps of the machine before them."""

    def __init__(self) -> None:
        self.around: object = None


def scope_state(scope: Entry) -> ScopeState:
    """Made when it is first asked for."""
    if not isinstance(scope.state, ScopeState):
        scope.state = ScopeState()
    return scope.state


def mark_scope(batch: Batch) -> dict[str, str]:
    """What to add to a command's environment, by which its descendants are known wherever they go."""
    if batch.scope is None:
        return {}
    scope_state(batch.table.get(batch.scope))
    if batch.table.ledger is not None:
        batch.table.ledger.note_command()
    return {_MARK: _token(batch.table, batch.scope.serial)}


def _token(table: Table, serial: int) -> str:
    return f"{table.boot}-{serial}"


def namespaces(owned: list[Entry]) -> dict[str, Entry]:
    """Link text in /proc/PID/ns/net -> network namespace, for ``leftovers`` after they are closed."""
    return {f"net:[{os.fstat(entry.fd).st_ino}]": entry for entry in owned if entry.kind == "netns" and entry.fd >= 0}


def leftovers(table: Table, scope: Entry, *, spaces: dict[str, Entry]) -> list[Leak]:
    """End the processes of a closed scope that are still there, and tell what else outlived it."""
    leaks: list[Leak] = []
    if isinstance(scope.state, ScopeState):
        leaks += _end_strays(_token(table, scope.handle.serial))
    if spaces:
        leaks += _occupied(table, spaces)
    return leaks


def _end_strays(token: str) -> list[Leak]:
    """A process that is being killed has no environment any more before it is gone."""
    deadline = time.monotonic() + _PATIENCE
    killed: set[int] = set()
    while strays := [*_marked(token), *filter(_lives, killed)]:
        if time.monotonic() > deadline:
            return [Leak("process", _name(pid), pid, "", "itself: SIGKILL did not end it") for pid in {*strays}]
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed.update(strays)
        time.sleep(0.005)
    return []


def end_marked(boot: str) -> list[tuple[int, str]]:
    """End the processes that agents whose mark begins with ``boot`` have started: their numbers and names."""
    found = [(pid, _name(pid)) for pid in _pids() if _mark_of(pid).startswith(boot)]
    for pid, _ in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while any(_lives(pid) for pid, _ in found) and time.monotonic() < deadline:
        time.sleep(0.005)
    return found


def _lives(pid: int) -> bool:
    state = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return bool(state) and state[0] not in ("Z", "X")


def _marked(token: str) -> list[int]:
    return [pid for pid in _pids() if _mark_of(pid) == token and pid != os.getpid()]


def _mark_of(pid: int) -> str:
    """The scope that a process was started in, "" for none of ours."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        for line in file.read().split(b"\0"):
            if line.startswith(_MARK_AT_START):
                return line[len(_MARK_AT_START) :].decode(errors="replace")
    return ""


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _name(pid: int) -> str:
    return read_text(f"/proc/{pid}/comm").strip()


def _starts(pid: int, scopes: set[str]) -> bool:
    """Whether it was only about to have its environment: execve(2) ends for the parent a moment before that is there
    (fs/exec.c, Linux 6.18)."""
    time.sleep(_STARTING)
    return _mark_of(pid) in scopes


def _occupied(table: Table, spaces: dict[str, Entry]) -> Iterator[Leak]:
    """But for processes of scopes that are still open: they end with those."""
    open_scopes = {_token(table, entry.handle.serial) for entry in table if entry.kind == "scope"}
    for pid in _pids():
        with contextlib.suppress(OSError):
            entry = spaces.get(os.readlink(f"/proc/{pid}/ns/net"))
            if entry is not None and _mark_of(pid) not in open_scopes and not _starts(pid, open_scopes):
                words = f"process {pid} ({_name(pid)}), which is in it"
                yield Leak("netns", entry.handle.name, pid, entry.site, words)
