"""Ops on sockets that the agent owns: traffic without a shell, and things for programs and maps to hang on."""

from __future__ import annotations

from pytest_ebpf.agent.ops.base import Address, Obj
from pytest_ebpf.frozen import dataclass

__all__ = [
    "PidFd",
    "SocketAccept",
    "SocketBind",
    "SocketConnect",
    "SocketGet",
    "SocketListen",
    "SocketName",
    "SocketOpen",
    "SocketPeer",
    "SocketReceive",
    "SocketSend",
    "SocketSet",
    "SocketShutdown",
]


@dataclass(frozen=True, slots=True)
class SocketOpen:
    """socket(2) -> Made. ``cgroup``: path of the control group that it is to belong to (a socket belongs to that of the
    task which made it); the task that does so is a short-lived child."""

    family: int
    type: int
    protocol: int = 0
    netns: Obj | None = None
    cgroup: str = ""
    site: str = ""


@dataclass(frozen=True, slots=True)
class SocketBind:
    """bind(2) -> Done."""

    socket: Obj
    address: Address


@dataclass(frozen=True, slots=True)
class SocketListen:
    """listen(2) -> Done."""

    socket: Obj
    backlog: int = 16


@dataclass(frozen=True, slots=True)
class SocketConnect:
    """connect(2) -> Done. ``timeout`` in seconds here and below; when it is over: Failed(ETIMEDOUT)."""

    socket: Obj
    address: Address
    timeout: float = 1.0


@dataclass(frozen=True, slots=True)
class SocketAccept:
    """accept(2) -> Made."""

    socket: Obj
    timeout: float = 1.0
    site: str = ""


@dataclass(frozen=True, slots=True)
class SocketSend:
    """send(2) or sendto(2) of all of ``data`` -> Done."""

    socket: Obj
    data: bytes
    to: Address | None = None
    flags: int = 0
    timeout: float = 1.0


@dataclass(frozen=True, slots=True)
class SocketReceive:
    """recvfrom(2) -> Received: one datagram, or what a stream has."""

    socket: Obj
    limit: int = 1 << 16
    timeout: float = 1.0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class SocketName:
    """getsockname(2) -> Named."""

    socket: Obj


@dataclass(frozen=True, slots=True)
class SocketPeer:
    """getpeername(2) -> Named."""

    socket: Obj


@dataclass(frozen=True, slots=True)
class SocketGet:
    """getsockopt(2) -> Data, at most ``size`` bytes."""

    socket: Obj
    level: int
    name: int
    size: int = 4


@dataclass(frozen=True, slots=True)
class SocketSet:
    """setsockopt(2) -> Done. An ``Obj`` as value is that object's fd as an int (SO_ATTACH_BPF)."""

    socket: Obj
    level: int
    name: int
    value: bytes | Obj


@dataclass(frozen=True, slots=True)
class SocketShutdown:
    """shutdown(2) -> Done. ``how``: 0 reading, 1 writing, 2 both."""

    socket: Obj
    how: int = 2


@dataclass(frozen=True, slots=True)
class PidFd:
    """pidfd_open(2) (Linux 5.3) -> Made: the key of task storages. ``pid`` 0: the agent's own process."""

    pid: int = 0
    site: str = ""
