"""What the agent owns: file descriptors and other things to undo, by handles that are never used twice.

Runs here and in a guest; standard library only. A scope is an entry too: it owns the entries made in it, and closing
it closes them newest first.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from pytest_ebpf.agent.base.ledger import Ledger
from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.frozen import dataclass

__all__ = ["Entry", "EventReader", "MapShape", "Refused", "Table"]

_TOMBSTONES = 4096


class Refused(Exception):
    """The agent refuses the op (errno 0): a stale handle, a key of the wrong size."""


@dataclass(frozen=True, slots=True)
class MapShape:
    """Geometry of a map. ``width`` is the length of one value in user space: for a per-CPU map the value of every
    possible CPU, each rounded up to 8 bytes (kernel/bpf/syscall.c, bpf_map_value_size)."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    width: int


class EventReader(Protocol):
    """Reads the records of a map ahead of anybody who asks."""

    @property
    def fds(self) -> list[int]:
        """Readable when there may be records."""
        ...

    def keep_up(self) -> None:
        """Make room in the buffers; what nobody takes does not fill the memory."""
        ...


class Entry:
    """One thing that the agent owns: how to undo it, and what is known about it."""

    __slots__ = (
        *("attached", "closers", "fd", "handle", "held", "id", "own", "pins", "reader", "scope", "shape", "site"),
        "state",
    )

    def __init__(self, handle: Handle, fd: int, *, scope: int, site: str, own: bool) -> None:
        self.handle = handle
        self.fd = fd
        self.scope = scope  # serial of the owning scope; 0: the table
        self.site = site
        self.own = own  # made here, not fetched by path or id: only then it can leak
        self.id = 0  # the kernel's id, 0 when not asked for yet
        self.shape: MapShape | None = None  # maps
        self.state: object = None  # program type, ring consumer, perf buffers, socket: what the kind needs
        self.reader: Callable[[], EventReader] | None = None  # maps whose records wait for a reader
        self.closers: list[Callable[[], None]] = []  # run in reverse, before the fd closes
        self.pins: list[str] = []  # paths it was pinned at
        self.attached: dict[tuple[object, int], str] = {}  # what PROG_ATTACH hung it on -> words
        self.held: set[int] = set()  # serials of the objects that keep a reference on this one

    @property
    def kind(self) -> str:
        return self.handle.kind

    @property
    def label(self) -> str:
        """ "map 'counts'", for messages."""
        return _label(self.handle)

    def close(self) -> None:
        """Undo. Goes on after a failing step, and raises the first failure."""
        first: OSError | None = None
        while self.closers:
            try:
                self.closers.pop()()
            except OSError as error:
                first = first or error
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)
        if first is not None:
            raise first


def _label(handle: Handle) -> str:
    return f"{handle.kind or 'object'} '{handle.name}'" if handle.name else handle.kind or "object"


class Table:
    """Every open handle of one agent life. ``boot`` is that life's random name."""

    def __init__(self, *, open_ledger: Callable[[str], Ledger | None] = lambda boot: None) -> None:
        self.boot = os.urandom(8).hex()
        self.ledger = open_ledger(self.boot)
        self._entries: dict[int, Entry] = {}
        self._serial = 0
        self._graves: dict[int, str] = {}
        self._order: deque[int] = deque()
        self.cache: dict[str, object] = {}  # facts that cannot change while this agent lives

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def add(
        self, fd: int, kind: str, *, name: str = "", site: str = "", scope: Handle | None = None, own: bool = True
    ) -> Entry:
        """Take over ``fd`` (-1: there is none)."""
        self._serial += 1
        handle = Handle(self._serial, self.boot, kind, name)
        entry = Entry(handle, fd, scope=scope.serial if scope else 0, site=site, own=own)
        self._entries[self._serial] = entry
        return entry

    def get(self, handle: Handle) -> Entry:
        """The entry of a handle. Raises ``Refused`` with what it was and how it went."""
        entry = self._entries.get(handle.serial)
        if entry is None or handle.boot != self.boot:
            raise Refused(self._stale(handle))
        return entry

    def scope(self, handle: Handle) -> Entry:
        """The entry of a scope; one that has its handle from the other end is opened when it is first met."""
        serial = handle.serial
        if serial < 0 and handle.boot == self.boot and serial not in self._entries and serial not in self._graves:
            self._entries[serial] = Entry(handle, -1, scope=0, site="", own=True)
        return self.get(handle)

    def find(self, serial: int) -> Entry | None:
        """The entry with a serial, if it is open."""
        return self._entries.get(serial)

    def owned_by(self, serial: int) -> list[Entry]:
        """What a scope owns, newest first, nested scopes included before what is older than them."""
        owned: list[Entry] = []
        for entry in reversed(self._entries.values()):
            if entry.scope == serial:
                if entry.kind == "scope":
                    owned.extend(self.owned_by(entry.handle.serial))
                owned.append(entry)
        return owned

    def close(self, entry: Entry, *, how: str = "closed") -> None:
        """Close one entry and remember how, for those who still hold its handle."""
        self._entries.pop(entry.handle.serial, None)
        opened = f" (opened at {entry.site})" if entry.site else ""
        self._graves[entry.handle.serial] = f"{entry.label}{opened} was {how}"
        self._order.append(entry.handle.serial)
        if len(self._order) > _TOMBSTONES:
            del self._graves[self._order.popleft()]
        entry.close()

    def close_all(self) -> None:
        """Close everything, newest first; failures are ignored, because nothing can report them."""
        for entry in reversed(list(self._entries.values())):
            try:
                self.close(entry, how="closed with its kernel")
            except OSError:
                continue
        if self.ledger is not None:
            self.ledger.close()

    def _stale(self, handle: Handle) -> str:
        if handle.boot != self.boot:
            return f"{_label(handle)} belongs to an earlier life of this kernel (the guest was restarted since)"
        return self._graves.get(handle.serial) or f"{_label(handle)} was closed long ago, or never made"
