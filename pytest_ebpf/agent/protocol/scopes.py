"""Scopes: closing all that a test made, and finding what outlives it.

Whether something leaked is a question to the kernel: is the id still there? The answer comes late, because much dies
asynchronously: a map after the RCU grace period of the program that used it, an inner map after its outer map, a
program after its link on newer kernels (put after RCU) or after its cgroup or network namespace. So:

* what has a visible holder (a pin, an attachment, a map or program that lives on) leaked, and is reported at once;
* what is still there for a reason that may be passing becomes a suspect, and is looked at again when a later scope
  closes: nobody waits for it;
* what is still there for no such reason gets a moment, and is reported then.
"""

from __future__ import annotations

import contextlib
import os
import time

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Refused, Table
from pytest_ebpf.agent.base.leaks import leftovers, namespaces
from pytest_ebpf.agent.base.syscalls import address_of, bpf, bpf_errno
from pytest_ebpf.agent.base.sysfs import read_text
from pytest_ebpf.agent.bpf.info import ID_KINDS, fd_kind, kernel_id
from pytest_ebpf.agent.host.around import put_back
from pytest_ebpf.agent.ops import Close, Done, Failed, Handle, Leak, Made, Result, ScopeClose, ScopeClosed, ScopeOpen
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.uapi.enums import Cmd, MapType
from pytest_ebpf.uapi.layouts import ATTR_ID, ATTR_OBJ

__all__ = ["close", "scope_close", "scope_open"]

_KINDS = ("prog", "map", "link")
_MOMENT = 0.1
_SUSPICION = 30.0  # seconds: an emulated guest on a busy machine was seen to need more than 3 for a grace period
_MAX_PINS = 2000


@dataclass(frozen=True, slots=True)
class _Closed:
    """An object that was just closed."""

    kind: str
    name: str
    id: int
    site: str
    pins: tuple[str, ...]
    attached: tuple[str, ...]
    held_by: str  # the label of an object of ours that lives on and refers to it
    passing: bool  # something that dies asynchronously may hold it
    since: float


def scope_open(op: ScopeOpen, batch: Batch) -> Result:
    """A scope inside the batch's scope."""
    return Made(batch.own(-1, "scope", name=op.name).handle)


def close(op: Close, batch: Batch) -> Result:
    """One object, now."""
    entry = batch.entry(op.obj)
    if entry.kind == "scope":
        raise Refused(f"{entry.label}: ScopeClose closes scopes")
    batch.table.close(entry)
    return Done()


def scope_close(op: ScopeClose, batch: Batch) -> Result:
    """Close what the scope owns, newest first."""
    scope = batch.table.scope(op.scope) if isinstance(op.scope, Handle) else batch.entry(op.scope)
    if scope.kind != "scope":
        raise Refused(f"{scope.label} is not a scope")
    table = batch.table
    owned = table.owned_by(scope.handle.serial)
    serials = {entry.handle.serial for entry in owned}
    watched = [_closing(entry, table=table, serials=serials, owned=owned) for entry in owned if _watched(entry)]
    spaces = namespaces(owned)
    failures: list[str] = []
    for entry in [*owned, scope]:
        try:
            table.close(entry, how=f"closed with its scope {scope.handle.name!r}")
        except OSError as error:
            failures.append(f"{entry.label}: {error.strerror}")
    leaks = (*_leaks(table, watched), *leftovers(table, scope, spaces=spaces))
    leaks += tuple(put_back(table, scope, told=" ".join(leak.held_by for leak in leaks)))
    if failures:
        return Failed("ScopeClose", 0, "; ".join(failures))
    return ScopeClosed(leaks)


def _watched(entry: Entry) -> bool:
    return entry.own and entry.kind in _KINDS


def _closing(entry: Entry, *, table: Table, serials: set[int], owned: list[Entry]) -> _Closed:
    outside = [held for serial in entry.held - serials if (held := table.find(serial)) is not None]
    lasting = [words for (target, _), words in entry.attached.items() if _outlives(target, serials)]
    return _Closed(
        kind=entry.kind,
        name=entry.handle.name,
        id=entry.id or kernel_id(entry.fd, entry.kind),
        site=entry.site,
        pins=tuple(entry.pins),
        attached=tuple(lasting),
        held_by=outside[0].label if outside else "",
        passing=_may_pass(entry, owned),
        since=time.monotonic(),
    )


def _outlives(target: object, serials: set[int]) -> bool:
    return getattr(target, "serial", 0) not in serials


def _may_pass(entry: Entry, owned: list[Entry]) -> bool:
    """Does the scope hold something whose end may keep ``entry`` for a while?"""
    kinds = {other.kind for other in owned}
    if entry.kind == "map":
        cleared_late = entry.shape is not None and entry.shape.type == MapType.PROG_ARRAY
        return cleared_late or bool(kinds & {"prog", "netns", "dir"}) or any(other.state == "outer" for other in owned)
    return bool(kinds & {"link", "perf_event", "netns", "dir", "map"}) if entry.kind == "prog" else "dir" in kinds


def _leaks(table: Table, watched: list[_Closed]) -> tuple[Leak, ...]:
    suspects = table.cache.get("suspects")
    older: list[_Closed] = suspects if isinstance(suspects, list) else []
    alive = [closed for closed in watched if _alive(closed)]
    now = time.monotonic()
    due = [closed for closed in older if now - closed.since > _SUSPICION]
    waiting = [closed for closed in older if now - closed.since <= _SUSPICION]
    leaks: list[Leak] = []
    if alive or due:
        pins = _pins()
        for closed in alive:
            holder = _holder(closed, pins)
            if holder:
                leaks.append(_leak(closed, holder))
            elif closed.passing:
                waiting.append(closed)
            elif not _gone_soon(closed):
                leaks.append(_leak(closed, "an attachment or a reference outside the scope"))
        leaks += [_leak(c, _holder(c, pins) or "something outside the scope") for c in due if _alive(c)]
    table.cache["suspects"] = waiting
    return tuple(leaks)


def _leak(closed: _Closed, held_by: str) -> Leak:
    return Leak(closed.kind, closed.name, closed.id, closed.site, held_by)


def _alive(closed: _Closed) -> bool:
    """Is the id still there? Asked by walking the ids, not by opening one: an fd of a program array that is closed
    while the kernel is still clearing the array costs a reference for ever (prog_array_map_clear, seen on 6.18)."""
    if not closed.id:
        return False
    attr = ATTR_ID.pack(id=closed.id - 1).ljust(12, b"\0")
    if bpf_errno(ID_KINDS[closed.kind][0], attr) < 0:
        return False  # the last id, or no permission to ask: nothing to report either
    return ATTR_ID.get(attr, name="next_id") == closed.id


def _gone_soon(closed: _Closed) -> bool:
    deadline = time.monotonic() + _MOMENT
    while time.monotonic() < deadline:
        time.sleep(0.002)
        if not _alive(closed):
            return True
    return False


def _holder(closed: _Closed, pins: dict[tuple[str, int], str]) -> str:
    """Words for what visibly holds an object; "" for nothing."""
    for path in closed.pins:
        if os.path.lexists(path):
            return f"pinned at {path}"
    if path := pins.get((closed.kind, closed.id), ""):
        return f"pinned at {path}"
    if closed.attached:
        return f"attached to {', '.join(closed.attached)}"
    return f"used by {closed.held_by}" if closed.held_by else ""


def _pins() -> dict[tuple[str, int], str]:
    """(kind, id) -> path of what is pinned in the bpf file systems of this machine."""
    found: dict[tuple[str, int], str] = {}
    for line in read_text("/proc/self/mounts").splitlines():
        _, place, fstype, *_ = line.split(" ")
        if fstype == "bpf":
            for path in _files(place):
                if len(found) >= _MAX_PINS:
                    return found
                with contextlib.suppress(OSError):
                    found.setdefault(_pinned(path), path)
    return found


def _files(place: str) -> list[str]:
    return [f"{folder}/{name}" for folder, _, names in os.walk(place) for name in names if not name.endswith(".debug")]


def _pinned(path: str) -> tuple[str, int]:
    name = os.fsencode(path)
    fd = bpf(Cmd.OBJ_GET, ATTR_OBJ.pack(pathname=address_of(name)).ljust(12, b"\0"))
    try:
        kind = fd_kind(fd)
        return kind, kernel_id(fd, kind) if kind else 0
    finally:
        os.close(fd)
