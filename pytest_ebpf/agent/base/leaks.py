"""What commands leave behind: processes that left their group, namespaces that somebody is still in, mounts,
interfaces, control groups."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from types import MappingProxyType

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Table
from pytest_ebpf.agent.base.sysfs import in_guest, read_text
from pytest_ebpf.agent.ops import Done, Leak, Result, WatchAround

__all__ = ["leftovers", "mark_scope", "namespaces", "watch_around"]

_MARK = "PYTEST_EBPF_SCOPE"
_MARK_AT_START = f"{_MARK}=".encode()
_PATIENCE = 1.0  # seconds for a killed process to go
_CLOCK_SLACK = 1.0  # seconds
_CGROUPS = "/sys/fs/cgroup"
# What the kernel adds by itself: a file system when it is looked at, devices when a module is loaded.
_AUTOMOUNTS = ("/sys/kernel/debug/", "/proc/sys/fs/binfmt_misc")
_TUNNELS = ("tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6tnl0", "sit0", "ip6gre0", "ip6_vti0")
_FALLBACKS = frozenset((*_TUNNELS, "dummy0", "bond0", "ifb0", "ifb1", "teql0"))
_KINDS = MappingProxyType({"dir": "cgroup"})  # kind of a handle -> kind of what is around


class _Watched:
    """What a scope that started commands knows: whether any ran, and what was there before them."""

    def __init__(self) -> None:
        self.before: frozenset[tuple[str, str]] | None = None
        self.host_name = ""
        self.epoch = 0.0


def _state(scope: Entry) -> _Watched:
    if not isinstance(scope.state, _Watched):
        scope.state = _Watched()
    return scope.state


def mark_scope(batch: Batch) -> dict[str, str]:
    """What to add to a command's environment, by which its descendants are known wherever they go."""
    if batch.scope is None:
        return {}
    _state(batch.table.get(batch.scope))
    return {_MARK: _token(batch.table, batch.scope.serial)}


def _token(table: Table, serial: int) -> str:
    return f"{table.boot}-{serial}"


def watch_around(op: WatchAround, batch: Batch) -> Result:
    """Once per scope."""
    if batch.scope is not None:
        watched = _state(batch.table.get(batch.scope))
        if watched.before is None:
            watched.before = frozenset(_around())
            watched.host_name, watched.epoch = os.uname().nodename, _epoch()
    return Done()


def _around() -> Iterator[tuple[str, str]]:
    """(kind, name) of what commands can add to a machine."""
    for line in read_text("/proc/self/mountinfo").splitlines():
        place = line.split(" ")[4]
        if not place.startswith(_AUTOMOUNTS):
            yield "mount", place
    for kind, folder in (("interface", "/sys/class/net"), ("netns", "/run/netns"), ("cgroup", _CGROUPS)):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name not in _FALLBACKS and (kind != "cgroup" or entry.is_dir()):
                    yield kind, entry.path if kind == "cgroup" else entry.name


def namespaces(owned: list[Entry]) -> dict[str, Entry]:
    """Link text in /proc/PID/ns/net -> network namespace, for ``leftovers`` after they are closed."""
    return {f"net:[{os.fstat(entry.fd).st_ino}]": entry for entry in owned if entry.kind == "netns" and entry.fd >= 0}


def leftovers(table: Table, scope: Entry, *, spaces: dict[str, Entry]) -> list[Leak]:
    """End the processes of a closed scope that are still there, and tell what else outlived it."""
    leaks: list[Leak] = []
    if isinstance(scope.state, _Watched):
        leaks += _end_strays(_token(table, scope.handle.serial))
    if spaces:
        leaks += _occupied(table, spaces)
    if isinstance(scope.state, _Watched) and scope.state.before is not None:
        leaks += _added(table, scope.state.before)
        if in_guest():  # this machine's are not ours to set
            leaks += _put_back(scope.state)
    return leaks


def _epoch() -> float:
    """The time of day at the start of the monotonic clock: it changes when the clock is set."""
    return time.time() - time.monotonic()


def _put_back(watched: _Watched) -> Iterator[Leak]:
    """Host name and clock, which are easily set as before."""
    name, shift = os.uname().nodename, _epoch() - watched.epoch
    if name != watched.host_name:
        socket.sethostname(watched.host_name)
        yield Leak("host name", name, 0, "")
    if abs(shift) > _CLOCK_SLACK:
        time.clock_settime(time.CLOCK_REALTIME, time.monotonic() + watched.epoch)
        yield Leak("clock", f"{shift:+.0f} s", 0, "")


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


def _occupied(table: Table, spaces: dict[str, Entry]) -> Iterator[Leak]:
    """But for processes of scopes that are still open: they end with those."""
    open_scopes = {_token(table, entry.handle.serial) for entry in table if entry.kind == "scope"}
    for pid in _pids():
        with contextlib.suppress(OSError):
            entry = spaces.get(os.readlink(f"/proc/{pid}/ns/net"))
            if entry is not None and _mark_of(pid) not in open_scopes:
                words = f"process {pid} ({_name(pid)}), which is in it"
                yield Leak("netns", entry.handle.name, pid, entry.site, words)


def _added(table: Table, before: frozenset[tuple[str, str]]) -> Iterator[Leak]:
    """But for what ops made, in this scope's lifetime, for scopes that are still open."""
    ours = {(_KINDS.get(entry.kind, entry.kind), entry.handle.name) for entry in table}
    ours |= {("mount", f"/run/netns/{name}") for kind, name in ours if kind == "netns"}
    for kind, name in sorted(frozenset(_around()) - before - ours):
        yield Leak(kind, name, 0, "")
