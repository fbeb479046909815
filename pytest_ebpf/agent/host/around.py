"""What commands add to a machine: found by comparing, told, and removed.

A machine that others use too (the host) is not compared. What ops of this agent made for scopes that are still open is
not left behind: it is known by its handle, or by the program that hangs there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import MappingProxyType

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Table
from pytest_ebpf.agent.base.leaks import ScopeState, scope_state
from pytest_ebpf.agent.base.syscalls import delete_module, error_text, umount
from pytest_ebpf.agent.base.sysfs import AUTOLOADED, in_guest, read_text
from pytest_ebpf.agent.host.machine import remove_tree
from pytest_ebpf.agent.host.netns import program_id, remove_namespace
from pytest_ebpf.agent.host.network_state import hanging, remove_hanging, remove_interface
from pytest_ebpf.agent.host.sysctls import Settings, put_setting, read_settings
from pytest_ebpf.agent.ops import Done, Leak, Result, WatchAround
from pytest_ebpf.frozen import dataclass

__all__ = ["Surroundings", "put_back", "watch_around"]

_CLOCK_SLACK = 1.0  # seconds
_CGROUPS = "/sys/fs/cgroup"
_NAMESPACES = "/run/netns"
# What the kernel adds by itself: a file system when it is looked at, devices when a module is loaded.
_AUTOMOUNTS = ("/sys/kernel/debug/", "/proc/sys/fs/binfmt_misc", _NAMESPACES)
_TUNNELS = ("tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6tnl0", "sit0", "ip6gre0", "ip6_vti0")
_FALLBACKS = frozenset((*_TUNNELS, "dummy0", "bond0", "ifb0", "ifb1", "teql0"))
_KINDS = MappingProxyType({"dir": "cgroup"})  # kind of a handle -> kind of what is around
# Removed in this order: what hangs on a thing before the thing.
_ORDER = ("tc filter", "xdp", "pin", "qdisc", "interface", "netns", "mount", "cgroup", "module")

Key = tuple[str, str]  # kind, name


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A machine at the start of a scope. ``epoch``: the time of day at the start of the monotonic clock, which changes
    when the clock is set."""

    things: frozenset[Key]
    host_name: str
    epoch: float


@dataclass(frozen=True, slots=True)
class _Thing:
    """How to remove it; the program that it hangs there, 0 for none; the index of its interface."""

    remove: Callable[[], None]
    program: int = 0
    interface: int = 0


def watch_around(op: WatchAround, batch: Batch) -> Result:
    """Once per scope."""
    if batch.scope is not None:
        state = scope_state(batch.table.get(batch.scope))
        if state.around is None:
            if in_guest():
                _settings(batch.table).accept()
            state.around = Surroundings(frozenset(_things()), os.uname().nodename, _epoch())
    return Done()


def put_back(table: Table, scope: Entry, *, told: str) -> list[Leak]:
    """What was added since ``watch_around``; removed, where this is a guest. ``told``: what was reported already."""
    before = scope.state.around if isinstance(scope.state, ScopeState) else None
    if not isinstance(before, Surroundings):
        return []
    added = _added(table, before.things)
    if not in_guest():  # this machine's are not ours to remove
        return [Leak(kind, name, 0, "") for kind, name in added]
    leaks = [leak for leak in _remove(added) if leak.kind != "pin" or leak.name not in told]
    return [*leaks, *_settings_put_back(table), *_name_and_clock(before)]


def _things() -> dict[Key, _Thing]:
    """What commands can add to a machine."""
    found: dict[Key, _Thing] = {}
    for line in read_text("/proc/self/mountinfo").splitlines():
        place = line.split(" ")[4]
        if not place.startswith(_AUTOMOUNTS):
            found["mount", place] = _Thing(partial(umount, place))
            if " - bpf " in line:
                found |= {("pin", path): _Thing(partial(os.unlink, path)) for path in _pins(place)}
    for kind, folder, remove in _FOLDERS:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name not in _FALLBACKS and (kind != "cgroup" or entry.is_dir()):
                    name = entry.path if kind == "cgroup" else entry.name
                    found[kind, name] = _Thing(partial(remove, name))
    for one in hanging():
        found[one.kind, one.name] = _Thing(partial(remove_hanging, one), one.program, one.interface)
    return found | _modules()


def _pins(place: str) -> Iterator[str]:
    for folder, _, names in os.walk(place):
        yield from (f"{folder}/{name}" for name in names if not name.endswith(".debug"))


_FOLDERS: tuple[tuple[str, str, Callable[[str], None]], ...] = (
    ("interface", "/sys/class/net", remove_interface),
    ("netns", _NAMESPACES, remove_namespace),
    ("cgroup", _CGROUPS, remove_tree),
)


def _modules() -> dict[Key, _Thing]:
    """But for those that the kernel asked for, a part of what it does. Without its requests nothing is known."""
    requests = read_text(AUTOLOADED, default="?")
    if requests == "?":
        return {}
    own = {_module_name(line) for line in requests.splitlines()}
    names = [line.partition(" ")[0] for line in read_text("/proc/modules").splitlines()]
    return {("module", name): _Thing(partial(delete_module, name)) for name in names if name not in own}


def _module_name(line: str) -> str:
    """Of "insmod /lib/modules/6.1/kernel/drivers/net/dummy.ko.xz numdummies=0", as modprobe prints it."""
    path = line.split(" ")[1] if " " in line else line
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def _added(table: Table, before: frozenset[Key]) -> dict[Key, _Thing]:
    """What is new, in the order in which it is removed; but for what ops made for scopes that are still open."""
    ours = {(_KINDS.get(entry.kind, entry.kind), entry.handle.name) for entry in table}
    ours |= {("pin", path) for entry in table for path in entry.pins}
    things = {key: thing for key, thing in _things().items() if key not in before and key not in ours}
    programs = _programs(table) if any(thing.interface for thing in things.values()) else set()
    used = {thing.interface for thing in things.values() if thing.program in programs}
    gone = {thing.interface for (kind, _), thing in things.items() if kind == "qdisc"}  # with its filters
    for key in list(things):
        kind, thing = key[0], things[key]
        if thing.interface and (
            thing.program in programs
            or (kind == "qdisc" and thing.interface in used)
            or (kind == "tc filter" and thing.interface in gone)
        ):
            del things[key]
    return dict(sorted(things.items(), key=lambda item: (_ORDER.index(item[0][0]), -item[0][1].count("/"), item[0][1])))


def _programs(table: Table) -> set[int]:
    """The ids of the programs that are open here."""
    return {program_id(entry.fd) for entry in table if entry.kind == "prog" and entry.fd >= 0} - {0}


def _remove(added: dict[Key, _Thing]) -> Iterator[Leak]:
    """Some things can go only after others: as long as one more goes, the rest is tried again."""
    left, why = dict(added), dict[Key, str]()
    while left:
        before = len(left)
        for key, thing in list(left.items()):
            try:
                thing.remove()
                del left[key]
            except OSError as error:
                why[key] = error_text(error.errno or 0)
        if len(left) == before:
            break
    if left:
        still = _things()
        left = {key: thing for key, thing in left.items() if key in still}
    for kind, name in added:
        yield Leak(kind, name, 0, "", stays=why[kind, name] if (kind, name) in left else "")


def _settings(table: Table) -> Settings:
    kept = table.cache.get("settings")
    if not isinstance(kept, Settings):
        known = table.cache.get("setting values")
        kept = table.cache["settings"] = Settings(known if isinstance(known, dict) and known else read_settings())
    return kept


def _settings_put_back(table: Table) -> Iterator[Leak]:
    """But for switches that are on for a scope that is still open."""
    settings = _settings(table)
    switches = tuple(entry.handle.name.partition(" ")[0] for entry in table if entry.kind == "switch")
    for path in settings.changed():
        if switches and path.endswith(switches):
            continue
        name = path.removeprefix("/proc/sys/").replace("/", ".")
        try:
            put_setting(path, settings.values[path])
            yield Leak("sysctl", name, 0, "")
        except OSError as error:
            yield Leak("sysctl", name, 0, "", stays=error_text(error.errno) if error.errno else str(error))


def _epoch() -> float:
    return time.time() - time.monotonic()


def _name_and_clock(before: Surroundings) -> Iterator[Leak]:
    name, shift = os.uname().nodename, _epoch() - before.epoch
    if name != before.host_name:
        socket.sethostname(before.host_name)
        yield Leak("host name", name, 0, "")
    if abs(shift) > _CLOCK_SLACK:
        time.clock_settime(time.CLOCK_REALTIME, time.monotonic() + before.epoch)
        yield Leak("clock", f"{shift:+.0f} s", 0, "")
