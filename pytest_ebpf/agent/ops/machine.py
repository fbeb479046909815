"""Ops on the machine around the programs: files, namespaces, commands, scopes."""

from __future__ import annotations

from pytest_ebpf.agent.ops.base import FdAt, Obj
from pytest_ebpf.frozen import dataclass

__all__ = [
    "Describe",
    "ListDir",
    "MakeDir",
    "Mount",
    "MountNs",
    "NetNs",
    "Netlink",
    "OpenFile",
    "ReadFile",
    "ReadTree",
    "SWITCH_WAS_OFF",
    "SwitchOn",
    "ScopeClose",
    "ScopeOpen",
    "Spawn",
    "WatchAround",
    "WriteFile",
    "WriteTree",
]


SWITCH_WAS_OFF = " (was off)"


@dataclass(frozen=True, slots=True)
class Describe:
    """Facts about the machine -> Described."""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """-> Data, or Failed. ``limit`` 0 reads to the end. ``filesystem``: "tracefs" or "debugfs", which need not be
    mounted, when ``path`` is one in it."""

    path: str
    limit: int = 0
    filesystem: str = ""


@dataclass(frozen=True, slots=True)
class ListDir:
    """The names in a directory -> Data: sorted, each followed by a NUL."""

    path: str


@dataclass(frozen=True, slots=True)
class WriteFile:
    """-> Done. A new file is removed with the scope; ``mode`` is for such a file."""

    path: str
    data: bytes
    append: bool = False
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class SwitchOn:
    """Have a switch of the whole kernel on until the handle or its scope is closed -> Made. The name of the handle ends
    in ``SWITCH_WAS_OFF`` when it was off; it is off again afterwards, unless others rely on it then.

    ``filesystem``: "tracefs", "debugfs" or "proc", which need not be mounted; ``name``: the file in it, which reads 0
    or 1.
    """

    filesystem: str
    name: str
    site: str = ""


@dataclass(frozen=True, slots=True)
class ReadTree:
    """A file, or a directory with everything in it -> Data: a tar archive of what is there, named from the path on."""

    path: str


@dataclass(frozen=True, slots=True)
class WriteTree:
    """Unpack a tar archive into a directory, which is made if need be -> Done. What was not there goes with the
    scope."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class MakeDir:
    """Make a directory that the scope removes again (a cgroup, a bpffs directory) -> Made; the handle is its fd."""

    path: str
    site: str = ""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """open(2), read-only (directories too) -> Made."""

    path: str
    site: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """mount(2) -> Done; EBUSY because it is already mounted there is Done as well."""

    source: str
    target: str
    fstype: str
    flags: int = 0
    data: str = ""


@dataclass(frozen=True, slots=True)
class MountNs:
    """A new mount namespace, private -> Made. For ``In``; its mounts are gone when the handle closes."""

    site: str = ""


@dataclass(frozen=True, slots=True)
class WatchAround:
    """Remember which mounts, interfaces, named network namespaces and control groups there are -> Done. What commands
    add to them until the scope closes, and leave behind, is reported as a leak. For a machine of one's own."""


@dataclass(frozen=True, slots=True)
class NetNs:
    """A new network namespace, loopback up -> Made. Gone when the handle closes."""

    name: str = ""
    site: str = ""


@dataclass(frozen=True, slots=True)
class Netlink:
    """Send one rtnetlink request, already built, and collect its answers -> Data: the raw messages up to ACK/DONE.
    Failed carries the errno of an error answer. ``fds`` puts fds into the request before it is sent."""

    request: bytes
    netns: Obj | None = None
    protocol: int = 0
    fds: tuple[FdAt, ...] = ()


@dataclass(frozen=True, slots=True)
class Spawn:
    """Run a command to its end -> Exited. ``timeout`` in seconds; past it the whole process group is killed. ``env`` is
    added to the environment of the agent. ``user``: name or number, "" for the agent's own. ``caps``: the capabilities
    it may have, a bit for each; -1 for those that the user has."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    timeout: float = 30.0
    env: tuple[tuple[str, str], ...] | None = None
    cwd: str | None = None
    netns: Obj | None = None
    cgroup: str | None = None
    user: str = ""
    caps: int = -1


@dataclass(frozen=True, slots=True)
class ScopeOpen:
    """A new owner for objects -> Made. Pass its handle as ``scope`` to ``Kernel.run``."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class ScopeClose:
    """Close everything the scope owns, newest first -> ScopeClosed with what outlived it."""

    scope: Obj
