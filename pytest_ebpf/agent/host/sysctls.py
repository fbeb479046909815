"""Settings of the kernel (/proc/sys) that commands changed, with the values that they had before.

Reading all 900 takes a tenth of a second in an emulated guest: that is done once. From then on the kernel tells which
were written to (fanotify; where it cannot, all are read each time).
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable

from pytest_ebpf.agent.base.syscalls import fanotify
from pytest_ebpf.agent.base.sysfs import read_bytes

__all__ = ["Settings", "put_setting", "read_settings"]

TOP = "/proc/sys"
# What is random or counts by itself, what is a command and no value, and what has a kind of its own.
_NOT_VALUES = ("/kernel/random/", "/fs/binfmt_misc/", "/kernel/hostname", "/kernel/ns_last_pid", "/vm/drop_caches")
_EVENT = struct.Struct("=IBBHQii")  # struct fanotify_event_metadata
_CHUNK = 1 << 14


class Settings:
    """``values`` are those that the machine should have: path -> content."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self.values = values
        self._group = -1
        with contextlib.suppress(OSError):
            self._group = fanotify("/proc")

    def accept(self) -> None:
        """What was changed up to now is as it should be."""
        self.values.update(read_settings(self._written()))

    def changed(self) -> list[str]:
        """The paths of settings that are not as they should be."""
        now = read_settings(self._written())
        return sorted(path for path, value in now.items() if self.values.get(path, value) != value)

    def _written(self) -> Iterable[str]:
        if self._group < 0:
            return self.values
        paths: set[str] = set()
        with contextlib.suppress(OSError):  # BlockingIOError: that was all
            while events := os.read(self._group, _CHUNK):
                paths |= _paths(events)
        return [path for path in paths if _is_value(path)]


def read_settings(paths: Iterable[str] | None = None) -> dict[str, bytes]:
    """The values of settings, of all where no ``paths`` are given; those that can only be written are left out."""
    if paths is None:
        paths = [path for folder, _, names in os.walk(TOP) for name in names if _is_value(path := f"{folder}/{name}")]
    found: dict[str, bytes] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            found[path] = read_bytes(path, limit=4096)
    return found


def put_setting(path: str, value: bytes) -> None:
    """``OSError`` if the kernel does not take it, or does not keep it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value)
    finally:
        os.close(fd)
    if read_bytes(path, limit=4096) != value:
        raise OSError(0, "the kernel keeps another value")


def _is_value(path: str) -> bool:
    below = path.removeprefix(TOP)
    return below != path and not below.startswith(_NOT_VALUES)


def _paths(events: bytes) -> set[str]:
    """The files that events are about; each has a descriptor, which is closed."""
    paths: set[str] = set()
    offset = 0
    while offset + _EVENT.size <= len(events):
        length, _, _, _, _, fd, _ = _EVENT.unpack_from(events, offset)
        offset += length
        if fd >= 0:
            with contextlib.suppress(OSError):
                paths.add(os.readlink(f"/proc/self/fd/{fd}"))
            os.close(fd)
    return paths
