"""Ops on sockets. Python's socket objects do the work; the handle owns the descriptor."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import warnings
from collections.abc import Callable

from pytest_ebpf.agent import ops
from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Refused
from pytest_ebpf.agent.host.netns import inside

__all__ = [
    "pid_fd",
    "socket_accept",
    "socket_bind",
    "socket_connect",
    "socket_get",
    "socket_listen",
    "socket_name",
    "socket_open",
    "socket_peer",
    "socket_receive",
    "socket_send",
    "socket_set",
    "socket_shutdown",
]

_ERRNO = struct.Struct("=i")
_SHORTEST = 0.001  # seconds
_FAMILIES: dict[int, str] = {
    socket.AF_INET: "IPv4",
    socket.AF_INET6: "IPv6",
    socket.AF_UNIX: "unix",
    socket.AF_PACKET: "packet",
}
_TYPES: dict[int, str] = {socket.SOCK_STREAM: "stream", socket.SOCK_DGRAM: "datagram", socket.SOCK_RAW: "raw"}


def socket_open(op: ops.SocketOpen, batch: Batch) -> ops.Result:
    """A socket, of a network namespace and a control group if they are named."""

    def make() -> socket.socket:
        return socket.socket(op.family, op.type | socket.SOCK_CLOEXEC, op.protocol)

    made = inside(batch, op.netns, call=lambda: _in_cgroup(op.cgroup, make) if op.cgroup else make())
    return _own(made, batch, site=op.site)


def _own(made: socket.socket, batch: Batch, *, site: str) -> ops.Made:
    kind = made.type & ~(socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    name = f"{_FAMILIES.get(made.family, str(int(made.family)))} {_TYPES.get(kind, str(kind))}"
    entry = batch.own(made.fileno(), "socket", name=name, site=site, own=False)
    entry.state = made
    entry.closers.append(lambda: _let_go(made))
    return ops.Made(entry.handle)


def _let_go(made: socket.socket) -> None:
    """The entry closes the descriptor; Python's object must not do it again."""
    made.detach()


def _in_cgroup(path: str, make: Callable[[], socket.socket]) -> socket.socket:
    """What ``make`` makes in a child that joined the group first and hands the socket back."""
    procs = os.open(f"{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    ours, theirs = socket.socketpair()
    try:
        with warnings.catch_warnings():  # that other threads hold locks: the child takes none
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _make_and_send(procs, make, to=theirs)
        theirs.close()
        data, fds, _, _ = socket.recv_fds(ours, _ERRNO.size, 1)
        with contextlib.suppress(ChildProcessError):  # process 1 may have reaped it
            os.waitpid(pid, 0)
    finally:
        os.close(procs)
        ours.close()
        theirs.close()
    if not fds:
        number = _ERRNO.unpack(data)[0] if len(data) == _ERRNO.size else errno.ECHILD
        raise OSError(number, os.strerror(number))
    return socket.socket(fileno=fds[0])


def _make_and_send(procs: int, make: Callable[[], socket.socket], *, to: socket.socket) -> None:
    """In the child: never returns."""
    try:
        os.write(procs, b"0")
        made = make()
        socket.send_fds(to, [_ERRNO.pack(0)], [made.fileno()])
    except OSError as error:
        to.send(_ERRNO.pack(error.errno or errno.EIO))
    finally:
        os._exit(0)


def _socket(batch: Batch, obj: ops.Obj) -> socket.socket:
    entry = batch.entry(obj)
    if not isinstance(entry.state, socket.socket):
        raise Refused(f"{entry.label} is not a socket")
    return entry.state


def socket_bind(op: ops.SocketBind, batch: Batch) -> ops.Result:
    """Give it an address."""
    sock = _socket(batch, op.socket)
    sock.bind(_to_python(sock, op.address))
    return ops.Done()


def socket_listen(op: ops.SocketListen, batch: Batch) -> ops.Result:
    """Let others connect."""
    _socket(batch, op.socket).listen(op.backlog)
    return ops.Done()


def socket_connect(op: ops.SocketConnect, batch: Batch) -> ops.Result:
    """Connect, within a time."""
    sock = _socket(batch, op.socket)
    address = _to_python(sock, op.address)
    _patient(sock, op.timeout)
    try:
        sock.connect(address)
    except TimeoutError as error:
        return _late(op, error, words=f"no connection to {_words(op.address)} within {op.timeout:g} s")
    return ops.Done()


def socket_accept(op: ops.SocketAccept, batch: Batch) -> ops.Result:
    """The next connection, waited for."""
    sock = _socket(batch, op.socket)
    _patient(sock, op.timeout)
    try:
        made, _ = sock.accept()
    except TimeoutError as error:
        return _late(op, error, words=f"no peer connected within {op.timeout:g} s")
    return _own(made, batch, site=op.site)


def socket_send(op: ops.SocketSend, batch: Batch) -> ops.Result:
    """All of it."""
    sock = _socket(batch, op.socket)
    _patient(sock, op.timeout)
    try:
        if op.to is not None:
            sock.sendto(op.data, op.flags, _to_python(sock, op.to))
        else:
            sock.sendall(op.data, op.flags)
    except TimeoutError as error:
        return _late(op, error, words=f"{len(op.data)} bytes were not taken within {op.timeout:g} s")
    return ops.Done()


def socket_receive(op: ops.SocketReceive, batch: Batch) -> ops.Result:
    """The next datagram, or what a stream has; waited for. No bytes: a stream is at its end."""
    sock = _socket(batch, op.socket)
    _patient(sock, op.timeout)
    try:
        data, sender = sock.recvfrom(op.limit, op.flags)
    except TimeoutError as error:
        return _late(op, error, words=f"nothing arrived within {op.timeout:g} s")
    return ops.Received(data, _from_python(sock, sender))


def _patient(sock: socket.socket, timeout: float) -> None:
    """Wait no longer than that. Python takes 0 for "do not wait and say EAGAIN"."""
    sock.settimeout(max(timeout, _SHORTEST))


def _late(op: object, error: TimeoutError, *, words: str) -> ops.Failed:
    """Python's own deadline has no errno; the kernel's ETIMEDOUT (a connection that broke) has."""
    return ops.Failed(
        type(op).__name__, errno.ETIMEDOUT, words if error.errno is None else os.strerror(errno.ETIMEDOUT)
    )


def socket_name(op: ops.SocketName, batch: Batch) -> ops.Result:
    """Its own address."""
    sock = _socket(batch, op.socket)
    return ops.Named(_from_python(sock, sock.getsockname()) or ops.Address(""))


def socket_peer(op: ops.SocketPeer, batch: Batch) -> ops.Result:
    """The address it is connected to."""
    sock = _socket(batch, op.socket)
    return ops.Named(_from_python(sock, sock.getpeername()) or ops.Address(""))


def socket_get(op: ops.SocketGet, batch: Batch) -> ops.Result:
    """An option's bytes."""
    return ops.Data(_socket(batch, op.socket).getsockopt(op.level, op.name, op.size))


def socket_set(op: ops.SocketSet, batch: Batch) -> ops.Result:
    """Set an option. A program set so lives as long as the socket, or until it is taken off."""
    value = op.value if isinstance(op.value, bytes) else _ERRNO.pack(batch.fd(op.value))
    sock = _socket(batch, op.socket)
    sock.setsockopt(op.level, op.name, value)
    if not isinstance(op.value, bytes):
        batch.entry(op.value).held.add(batch.entry(op.socket).handle.serial)
    return ops.Done()


def socket_shutdown(op: ops.SocketShutdown, batch: Batch) -> ops.Result:
    """No more in one direction or both."""
    _socket(batch, op.socket).shutdown(op.how)
    return ops.Done()


def pid_fd(op: ops.PidFd, batch: Batch) -> ops.Result:
    """A descriptor of a process."""
    pid = op.pid or os.getpid()
    entry: Entry = batch.own(os.pidfd_open(pid), "pidfd", name=str(pid), site=op.site, own=False)
    return ops.Made(entry.handle)


def _to_python(sock: socket.socket, address: ops.Address) -> tuple[object, ...] | str:
    """As Python's socket module writes an address of the socket's family."""
    if sock.family == socket.AF_UNIX:
        return f"\0{address.host[1:]}" if address.host.startswith("@") else address.host
    if sock.family == socket.AF_INET6:
        return (address.host, address.port, 0, address.scope)
    return (address.host, address.port)


def _from_python(sock: socket.socket, address: object) -> ops.Address | None:
    if isinstance(address, bytes):
        return ops.Address("@" + address.lstrip(b"\0").decode(errors="replace")) if address else None
    if isinstance(address, str):
        return ops.Address(address)
    if not isinstance(address, tuple):
        return None
    host, port, *rest = address
    scope = rest[1] if sock.family == socket.AF_INET6 and len(rest) > 1 else 0
    return ops.Address(str(host), int(port), int(scope))


def _words(address: ops.Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}" if address.port else host
