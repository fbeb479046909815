"""Sockets of a test, opened on the machine of the kernel under test (in the guest)."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pytest_ebpf.agent import ops
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.handles import close_after, netns_handle
from pytest_ebpf.live.session import Session
from pytest_ebpf.suggest import did_you_mean

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

    Calls that wait take ``timeout`` in seconds, longer where the CPU is emulated. ``KernelCallError`` has the errno:
    ETIMEDOUT after the timeout.
    """

    def __init__(self, session: Session, *, handle: ops.Handle, label: str, family: int) -> None:
        self._session = session
        self._handle = handle
        self._label = label
        self._family = family
        self._open = True

    @property
    def handle(self) -> ops.Handle:
        """Its handle in ops: a value of a sockmap, the key of an sk_storage map, the target of a program."""
        return self._handle

    @property
    def address(self) -> ops.Address:
        """Its own ``host`` and ``port``."""
        return self._session.one(ops.SocketName(self._handle), ops.Named).address

    @property
    def peer(self) -> ops.Address:
        """The ``host`` and ``port`` it is connected to."""
        return self._session.one(ops.SocketPeer(self._handle), ops.Named).address

    @property
    def port(self) -> int:
        """Its own port."""
        return self.address.port

    @property
    def cookie(self) -> int:
        """What ``bpf_get_socket_cookie`` returns for it."""
        return int.from_bytes(self.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, size=8), _order(self._session))

    def bind(self, host: str = "", port: int = 0) -> Socket:
        """Bind it; by default to a free port of the loopback. unix: a path or "@name"; packet: an
        interface. Returns the socket itself."""
        self._done(ops.SocketBind(self._handle, ops.Address(host or _LOCAL.get(self._family, ""), port)))
        return self

    def listen(self, backlog: int = _BACKLOG) -> Socket:
        """Accept connections. Returns the socket itself."""
        self._done(ops.SocketListen(self._handle, backlog))
        return self

    def connect(self, to: Socket | str, port: int = 0, *, timeout: float = 2.0) -> Socket:
        """Connect to another socket of the test, or to an address. Returns the socket itself."""
        address = to.address if isinstance(to, Socket) else ops.Address(to, port)
        self._done(ops.SocketConnect(self._handle, address, self._scaled(timeout)), timeout=timeout)
        return self

    def accept(self, *, timeout: float = 2.0) -> Socket:
        """The next connection."""
        made = self._session.one(
            ops.SocketAccept(self._handle, self._scaled(timeout)), ops.Made, timeout=self._wait(timeout)
        )
        label = f"connection to {self._label}"
        return Socket(self._session, handle=made.handle, label=label, family=self._family)

    def send(self, data: bytes, *, timeout: float = 2.0) -> None:
        """Send all of ``data`` over the connection."""
        self._done(ops.SocketSend(self._handle, data, timeout=self._scaled(timeout)), timeout=timeout)

    def send_to(self, data: bytes, to: Socket | str, *, port: int = 0, timeout: float = 2.0) -> None:
        """Send a datagram to another socket of the test, or to an address."""
        address = to.address if isinstance(to, Socket) else ops.Address(to, port)
        self._done(ops.SocketSend(self._handle, data, address, timeout=self._scaled(timeout)), timeout=timeout)

    def recv(self, limit: int = 1 << 16, *, timeout: float = 2.0) -> bytes:
        """The next datagram, or the next bytes of a stream; b"" at the end of a stream."""
        return self.recv_from(limit, timeout=timeout)[0]

    def recv_from(self, limit: int = 1 << 16, *, timeout: float = 2.0) -> tuple[bytes, ops.Address | None]:
        """As ``recv``, with the sender where the socket is not connected."""
        op = ops.SocketReceive(self._handle, limit, self._scaled(timeout))
        received = self._session.one(op, ops.Received, timeout=self._wait(timeout))
        return received.data, received.sender

    def silent(self, *, within: float = 0.1) -> bool:
        """Whether nothing arrives within that many seconds. What arrives can still be received."""
        op = ops.SocketReceive(self._handle, 1, self._scaled(within), socket.MSG_PEEK)
        answer = self._session.attempt(op, ops.Received, timeout=self._wait(within))
        if isinstance(answer, ops.Failed) and answer.errno != errno.ETIMEDOUT:
            self._session.checked(op, answer, kind=ops.Received)
        return isinstance(answer, ops.Failed)

    def getsockopt(self, level: int, name: int, *, size: int = 4) -> bytes:
        """The value of an option, at most ``size`` bytes."""
        return self._session.one(ops.SocketGet(self._handle, level, name, size), ops.Data).data

    def setsockopt(self, level: int, name: int, *, value: bytes | int) -> Socket:
        """Set an option; an integer is stored as a C int. Returns the socket itself."""
        raw = value.to_bytes(4, _order(self._session), signed=value < 0) if isinstance(value, int) else value
        self._done(ops.SocketSet(self._handle, level, name, raw))
        return self

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """Shut down one direction or both."""
        self._done(ops.SocketShutdown(self._handle, how))

    def close(self) -> None:
        """Close it now. Twice is harmless."""
        if self._open:
            self._open = False
            self._done(ops.Close(self._handle))

    def _done(self, op: ops.Op, *, timeout: float = 0.0) -> None:
        self._session.one(op, ops.Done, timeout=self._wait(timeout))

    def _scaled(self, timeout: float) -> float:
        return timeout * self._session.target.time_scale

    def _wait(self, timeout: float) -> float | None:
        """For the answer of the agent."""
        return self._scaled(timeout) + 30 if timeout else None

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.close)

    def __repr__(self) -> str:
        return f"<Socket {self._label}{'' if self._open else ', closed'}>"


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
        raise BpfUsageError(f"cgroup= expects a cgroup from bpf.cgroup() or its path, got {cgroup!r}")
    namespace = None if netns is None else netns_handle(session, netns)
    made = session.make(ops.SocketOpen(plain.family, plain.type, plain.protocol, namespace, group))
    opened = Socket(session, handle=made, label=f"{kind} {family or ''}".strip(), family=plain.family)
    if plain.type == socket.SOCK_STREAM and plain.family != socket.AF_UNIX:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, value=1)
    if plain.family == _AF_XDP:
        opened.setsockopt(_SOL_XDP, _XDP_RX_RING, value=_RING)
    if reuse_port:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, value=1)
    return opened


def _kind(kind: str, *, family: str, protocol: int) -> _Kind:
    if kind not in _KINDS:
        raise _unknown("the kind of a socket", kind, known=_KINDS)
    default = kind if kind in ("packet", "xdp") else "unix" if kind in ("stream", "dgram", "seqpacket") else "ipv4"
    if (family or default) not in _FAMILIES:
        raise _unknown("family=", family, known=_FAMILIES)
    number = _FAMILIES[family or default]
    if number == socket.AF_PACKET and not protocol:
        protocol = socket.htons(_ETH_P_ALL)
    return _Kind(number, _KINDS[kind], protocol)


def _unknown(what: str, given: object, *, known: Mapping[str, int]) -> BpfUsageError:
    message = f"{what} must be one of {', '.join(known)}, got {given!r}"
    return BpfUsageError(message, hint=did_you_mean(str(given), known, most=1, otherwise=""))


class Process:
    """A descriptor of a process (pidfd): the key of a task storage map. It is closed by ``close()``, at the end of a
    ``with`` block, or at the end of the test."""

    def __init__(self, session: Session, *, handle: ops.Handle, pid: int) -> None:
        self._session = session
        self.handle = handle
        self.pid = pid
        self._open = True

    def close(self) -> None:
        """Close the descriptor; the process goes on. Twice is harmless."""
        if self._open:
            self._open = False
            self._session.one(ops.Close(self.handle), ops.Done)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.close)

    def __repr__(self) -> str:
        return f"<Process {self.pid or 'of the agent'}>"


def open_process(session: Session, pid: int = 0) -> Process:
    """See ``Bpf.process``."""
    return Process(session, handle=session.make(ops.PidFd(pid)), pid=pid)
