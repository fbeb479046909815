"""Sockets of a test, opened where the kernel under test is: in a guest they are the guest's."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Literal

from pytest_ebpf.agent.ops import (
    Address,
    Close,
    Data,
    Done,
    Failed,
    Handle,
    Made,
    Named,
    Op,
    PidFd,
    Received,
    SocketAccept,
    SocketBind,
    SocketConnect,
    SocketGet,
    SocketListen,
    SocketName,
    SocketOpen,
    SocketPeer,
    SocketReceive,
    SocketSend,
    SocketSet,
    SocketShutdown,
)
from pytest_ebpf.errors import BpfUsageError, GuestLost
from pytest_ebpf.live.handles import netns_handle
from pytest_ebpf.live.session import Session

__all__ = ["Process", "Socket", "open_process", "open_socket"]

_AF_XDP, _SOL_XDP, _XDP_RX_RING = 44, 283, 2  # linux/if_xdp.h
_RING = 64  # packets: Linux 7.3 lets a socket without a ring into no XSKMAP
_FAMILIES: Mapping[str, int] = MappingProxyType(
    {
        "ipv4": socket.AF_INET,
        "ipv6": socket.AF_INET6,
        "unix": socket.AF_UNIX,
        "packet": socket.AF_PACKET,
        "xdp": _AF_XDP,
    }
)
_KINDS: Mapping[str, int] = MappingProxyType(
    {
        "tcp": socket.SOCK_STREAM,
        "udp": socket.SOCK_DGRAM,
        "stream": socket.SOCK_STREAM,
        "dgram": socket.SOCK_DGRAM,
        "seqpacket": socket.SOCK_SEQPACKET,
        "raw": socket.SOCK_RAW,
        "packet": socket.SOCK_RAW,
        "xdp": socket.SOCK_RAW,
    }
)
_ETH_P_ALL = 0x0003
_LOCAL: Mapping[int, str] = MappingProxyType({socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"})
_SO_COOKIE = 57  # include/uapi/asm-generic/socket.h
_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class _Kind:
    family: int
    type: int
    protocol: int


class Socket:
    """An open socket, until ``close()``, the end of a ``with`` block, or the end of the test.

    Calls that wait take ``timeout`` in seconds (stretched where the processor is emulated); when it is over, and when
    the kernel refuses: ``KernelCallError`` with the errno (ETIMEDOUT: nothing happened).
    """

    def __init__(self, session: Session, *, handle: Handle, words: str, family: int) -> None:
        self._session = session
        self._handle = handle
        self._words = words
        self._family = family
        self._open = True

    @property
    def handle(self) -> Handle:
        """How ops name it: a value of a sockmap, the key of an sk_storage map, what a program is attached to."""
        return self._handle

    @property
    def address(self) -> Address:
        """Its own ``host`` and ``port``."""
        return self._session.one(SocketName(self._handle), Named).address

    @property
    def peer(self) -> Address:
        """The ``host`` and ``port`` it is connected to."""
        return self._session.one(SocketPeer(self._handle), Named).address

    @property
    def port(self) -> int:
        """Its own port."""
        return self.address.port

    @property
    def cookie(self) -> int:
        """What ``bpf_get_socket_cookie`` gives for it."""
        return int.from_bytes(self.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, size=8), _order(self._session))

    def bind(self, host: str = "", port: int = 0) -> Socket:
        """Give it an address; by default one of the loopback, any free port. unix: a path or "@name"; packet: an
        interface. Returns the socket itself."""
        self._done(SocketBind(self._handle, Address(host or _LOCAL.get(self._family, ""), port)))
        return self

    def listen(self, backlog: int = _BACKLOG) -> Socket:
        """Let others connect. Returns the socket itself."""
        self._done(SocketListen(self._handle, backlog))
        return self

    def connect(self, to: Socket | str, port: int = 0, *, timeout: float = 2.0) -> Socket:
        """To another socket of the test, or an address. Returns the socket itself."""
        address = to.address if isinstance(to, Socket) else Address(to, port)
        self._done(SocketConnect(self._handle, address, self._scaled(timeout)), timeout=timeout)
        return self

    def accept(self, *, timeout: float = 2.0) -> Socket:
        """The next connection."""
        made = self._session.one(SocketAccept(self._handle, self._scaled(timeout)), Made, timeout=self._wait(timeout))
        words = f"connection to {self._words}"
        return Socket(self._session, handle=made.handle, words=words, family=self._family)

    def send(self, data: bytes, *, timeout: float = 2.0) -> None:
        """All of ``data``, over the connection."""
        self._done(SocketSend(self._handle, data, timeout=self._scaled(timeout)), timeout=timeout)

    def send_to(self, data: bytes, to: Socket | str, *, port: int = 0, timeout: float = 2.0) -> None:
        """A datagram to another socket of the test, or an address."""
        address = to.address if isinstance(to, Socket) else Address(to, port)
        self._done(SocketSend(self._handle, data, address, timeout=self._scaled(timeout)), timeout=timeout)

    def recv(self, limit: int = 1 << 16, *, timeout: float = 2.0) -> bytes:
        """The next datagram, or what a stream has; b"" at the end of a stream."""
        return self.recv_from(limit, timeout=timeout)[0]

    def recv_from(self, limit: int = 1 << 16, *, timeout: float = 2.0) -> tuple[bytes, Address | None]:
        """As ``recv``, with the sender where the socket is not connected."""
        op = SocketReceive(self._handle, limit, self._scaled(timeout))
        received = self._session.one(op, Received, timeout=self._wait(timeout))
        return received.data, received.sender

    def silent(self, *, within: float = 0.1) -> bool:
        """Whether nothing arrives in that time, in seconds. What does arrive stays to be received."""
        op = SocketReceive(self._handle, 1, self._scaled(within), socket.MSG_PEEK)
        answer = self._session.attempt(op, Received, timeout=self._wait(within))
        if isinstance(answer, Failed) and answer.errno != errno.ETIMEDOUT:
            self._session.checked(op, answer, kind=Received)
        return isinstance(answer, Failed)

    def getsockopt(self, level: int, name: int, *, size: int = 4) -> bytes:
        """An option's bytes, at most ``size``."""
        return self._session.one(SocketGet(self._handle, level, name, size), Data).data

    def setsockopt(self, level: int, name: int, *, value: bytes | int) -> Socket:
        """Set an option; a number is an int of C. Returns the socket itself."""
        raw = value.to_bytes(4, _order(self._session), signed=value < 0) if isinstance(value, int) else value
        self._done(SocketSet(self._handle, level, name, raw))
        return self

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """No more in one direction or both."""
        self._done(SocketShutdown(self._handle, how))

    def close(self) -> None:
        """Close it now. Twice is harmless."""
        if self._open:
            self._open = False
            self._done(Close(self._handle))

    def _done(self, op: Op, *, timeout: float = 0.0) -> None:
        self._session.one(op, Done, timeout=self._wait(timeout))

    def _scaled(self, timeout: float) -> float:
        return timeout * self._session.target.time_scale

    def _wait(self, timeout: float) -> float | None:
        """For the answer of the agent."""
        return self._scaled(timeout) + 30 if timeout else None

    def __enter__(self) -> Socket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, GuestLost):
            self.close()

    def __repr__(self) -> str:
        return f"<Socket {self._words}{'' if self._open else ', closed'}>"


def _order(session: Session) -> Literal["little", "big"]:
    return "big" if session.target.described.byteorder == "big" else "little"


def open_socket(
    session: Session,
    kind: str,
    *,
    family: str = "",
    protocol: int = 0,
    netns: object = None,
    cgroup: object = None,
    reuse_port: bool = False,
) -> Socket:
    """See ``Bpf.socket``."""
    plain = _kind(kind, family=family, protocol=protocol)
    group = getattr(cgroup, "path", cgroup) or ""
    if not isinstance(group, str):
        raise BpfUsageError(f"cgroup= is a group from bpf.cgroup() or a path, not {cgroup!r}")
    namespace = None if netns is None else netns_handle(session, netns)
    made = session.make(SocketOpen(plain.family, plain.type, plain.protocol, namespace, group))
    opened = Socket(session, handle=made, words=f"{kind} {family or ''}".strip(), family=plain.family)
    if plain.type == socket.SOCK_STREAM and plain.family != socket.AF_UNIX:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, value=1)
    if plain.family == _AF_XDP:
        opened.setsockopt(_SOL_XDP, _XDP_RX_RING, value=_RING)
    if reuse_port:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, value=1)
    return opened


def _kind(kind: str, *, family: str, protocol: int) -> _Kind:
    if kind not in _KINDS:
        raise BpfUsageError(*_choice("a socket is", kind, known=_KINDS))
    default = kind if kind in ("packet", "xdp") else "unix" if kind in ("stream", "dgram", "seqpacket") else "ipv4"
    if (family or default) not in _FAMILIES:
        raise BpfUsageError(*_choice("family= is", family, known=_FAMILIES))
    number = _FAMILIES[family or default]
    if number == socket.AF_PACKET and not protocol:
        protocol = socket.htons(_ETH_P_ALL)
    return _Kind(number, _KINDS[kind], protocol)


def _choice(what: str, given: object, *, known: Mapping[str, int]) -> tuple[str]:
    from difflib import get_close_matches

    near = get_close_matches(str(given), known, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return (f"{what} one of {', '.join(known)}, not {given!r}{meant}",)


class Process:
    """A descriptor of a process: the key of a task storage map."""

    def __init__(self, session: Session, *, handle: Handle, pid: int) -> None:
        self._session = session
        self.handle = handle
        self.pid = pid

    def __repr__(self) -> str:
        return f"<Process {self.pid or 'of the agent'}>"


def open_process(session: Session, pid: int = 0) -> Process:
    """See ``Bpf.process``."""
    return Process(session, handle=session.make(PidFd(pid)), pid=pid)
