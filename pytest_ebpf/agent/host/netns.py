"""Network namespaces, and rtnetlink sockets in them.

A namespace is entered by a short-lived thread, never by the caller's: an exception or Ctrl-C cannot strand pytest in
the wrong one. What the thread makes (an fd, a child process) stays where it was made.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Literal, TypeVar

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, Refused
from pytest_ebpf.agent.base.ledger import Ledger
from pytest_ebpf.agent.base.syscalls import error_text, mount, setns, umount, unshare
from pytest_ebpf.agent.base.sysfs import read_text
from pytest_ebpf.agent.ops import Data, Failed, Made, Netlink, NetNs, Obj, Result
from pytest_ebpf.uapi import numbers

__all__ = [
    "in_thread",
    "inside",
    "inside_fd",
    "loopback_up",
    "net_ns",
    "netlink",
    "open_netlink",
    "program_id",
    "read_answers",
    "remove_namespace",
]

T = TypeVar("T")
_NAMES = "/run/netns"
_NLMSG = struct.Struct("=IHHII")
_FD = struct.Struct("=I")
_OTHER_ORDER: Literal["little", "big"] = "big" if sys.byteorder == "little" else "little"
_RECEIVE = 1 << 20
_NEWQDISC, _DELQDISC = 36, 37  # include/uapi/linux/rtnetlink.h
_TIMEOUT = 10.0


def in_thread(call: Callable[[], T]) -> T:
    """What ``call`` returns or raises in a separate thread."""
    values: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            values.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, name="netns", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return values[0]


def inside_fd(fd: int, *, call: Callable[[], T]) -> T:
    """``call()`` in the network namespace behind ``fd``."""

    def body() -> T:
        setns(fd, numbers.CLONE_NEWNET)
        return call()

    return in_thread(body)


def inside(batch: Batch, netns: Obj | None, *, call: Callable[[], T]) -> T:
    """``call()`` in the namespace that an op names; right here for None."""
    return call() if netns is None else inside_fd(_namespace(batch, netns).fd, call=call)


def _namespace(batch: Batch, netns: Obj) -> Entry:
    entry = batch.entry(netns)
    if entry.kind not in ("netns", "file"):
        raise Refused(f"{entry.label} is not a network namespace")
    return entry


def net_ns(op: NetNs, batch: Batch) -> Result:
    """A new namespace. A name makes it visible to ``ip netns``."""
    fd = in_thread(_new_namespace)
    entry = batch.own(fd, "netns", name=op.name, site=op.site)
    if op.name:
        try:
            _publish(batch, entry, name=op.name)
        except OSError:
            batch.table.close(entry)
            raise
    return Made(entry.handle)


def _new_namespace() -> int:
    unshare(numbers.CLONE_NEWNET)
    fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        loopback_up()
    except OSError:
        os.close(fd)
        raise
    return fd


def loopback_up() -> None:
    """In the network namespace of this thread."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("=16sH14x", b"lo", 0)
        flags = struct.unpack_from("=H", fcntl.ioctl(sock, numbers.SIOCGIFFLAGS, request), 16)[0]
        fcntl.ioctl(sock, numbers.SIOCSIFFLAGS, struct.pack("=16sH14x", b"lo", flags | numbers.IFF_UP))


def _publish(batch: Batch, entry: Entry, *, name: str) -> None:
    if "/" in name or name in (".", ".."):
        raise Refused(f"{name!r} cannot name a network namespace")
    path = f"{_NAMES}/{name}"
    os.makedirs(_NAMES, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o444))
    batch.undo(entry, lambda: remove_namespace(name), kind="netns", name=name)
    mount(f"/proc/self/fd/{entry.fd}", path, fstype="", flags=numbers.MS_BIND)


def remove_namespace(name: str) -> None:
    """Its name, and with it the namespace, unless somebody is in it."""
    with contextlib.suppress(OSError):
        umount(f"{_NAMES}/{name}")
    os.unlink(f"{_NAMES}/{name}")


def netlink(op: Netlink, batch: Batch) -> Result:
    """Requests, one after the other, however many messages answer each. Sockets are kept: one per namespace and
    protocol. An acknowledgement is always asked for, so that every answer has an end."""
    whole = bytearray(op.request)
    for place in op.fds:
        if not 0 <= place.offset <= len(whole) - _FD.size:
            raise Refused(f"a request of {len(whole)} bytes has no place for an fd at byte {place.offset}")
        _FD.pack_into(whole, place.offset, batch.fd(place.target))
    sock = _socket(batch, op)
    parts: list[bytes] = []
    for request in _split(bytes(whole)):
        length, kind, flags, sequence, port = _NLMSG.unpack_from(request)
        sock.send(_NLMSG.pack(length, kind, flags | numbers.NLM_F_ACK, sequence, port) + request[_NLMSG.size :])
        try:
            failure = read_answers(sock, sequence, parts=parts)
        except TimeoutError:
            return Failed("Netlink", 0, f"no answer to message type {kind} within {_TIMEOUT:.0f} s")
        if failure is not None:
            return failure
        if op.netns is None and batch.table.ledger is not None:
            _note(batch.table.ledger, request, programs=[batch.fd(place.target) for place in op.fds])
    return Data(b"".join(parts))


def _note(ledger: Ledger, request: bytes, *, programs: list[int]) -> None:
    """What the request hung on an interface of this machine, which holds it from now on."""
    kind = _NLMSG.unpack_from(request)[1]
    interface = str(struct.unpack_from("=i", request, _NLMSG.size + 4)[0]) if len(request) >= _NLMSG.size + 8 else ""
    if kind in (_NEWQDISC, _DELQDISC):
        (ledger.note if kind == _NEWQDISC else ledger.strike)("qdisc", interface)
    for fd in programs:
        if number := program_id(fd):
            ledger.note("program", str(number))


def program_id(fd: int) -> int:
    """Of an open program; 0 for anything else."""
    lines = read_text(f"/proc/self/fdinfo/{fd}").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("prog_id:")), 0)


def _split(request: bytes) -> list[bytes]:
    messages: list[bytes] = []
    offset = 0
    while offset < len(request):
        length = _NLMSG.unpack_from(request, offset)[0] if len(request) - offset >= _NLMSG.size else 0
        if 0 < int.from_bytes(request[offset : offset + 4], _OTHER_ORDER) <= len(request) < length:
            raise Refused(
                "the netlink request is in the host's byte order, which is not this machine's: interfaces, addresses "
                "and filters of a guest with another byte order cannot be set up"
            )
        if length < _NLMSG.size or offset + length > len(request):
            raise Refused(f"the netlink request is cut off at byte {offset}")
        messages.append(request[offset : offset + length])
        offset += (length + 3) & ~3
    if not messages:
        raise Refused("an empty netlink request")
    return messages


def _socket(batch: Batch, op: Netlink) -> socket.socket:
    key = f"netlink/{op.protocol}"
    owner = _namespace(batch, op.netns) if op.netns is not None else None
    kept = owner.state if owner else batch.table.cache
    if not isinstance(kept, dict):
        kept = {}
        assert owner is not None
        owner.state = kept
    sock = kept.get(key)
    if not isinstance(sock, socket.socket):
        sock = kept[key] = inside(batch, op.netns, call=lambda: open_netlink(op.protocol))
        if owner is not None:
            owner.closers.append(sock.close)
    return sock


def open_netlink(protocol: int) -> socket.socket:
    """A socket in the namespace of this thread."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    with contextlib.suppress(OSError):  # NETLINK_EXT_ACK: error texts, since 4.12
        sock.setsockopt(270, 11, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE)
    sock.bind((0, 0))
    sock.settimeout(_TIMEOUT)
    return sock


def read_answers(sock: socket.socket, sequence: int, *, parts: list[bytes]) -> Failed | None:
    """Add the answers to ``parts``, up to the acknowledgement or the end of a dump. None: no error."""
    while True:
        data = sock.recv(_RECEIVE)
        offset = 0
        while offset + _NLMSG.size <= len(data):
            length, kind, flags, seq, _ = _NLMSG.unpack_from(data, offset)
            message = data[offset : offset + length]
            offset += max((length + 3) & ~3, _NLMSG.size)
            if seq != sequence:
                continue  # left over from a request that timed out
            if kind in (numbers.NLMSG_ERROR, numbers.NLMSG_DONE):
                errno = -struct.unpack_from("=i", message, _NLMSG.size)[0] if length >= _NLMSG.size + 4 else 0
                if errno > 0:
                    return Failed("Netlink", errno, _reason(message, flags) or error_text(errno))
                return None
            parts.append(message.ljust((length + 3) & ~3, b"\0"))


def _reason(message: bytes, flags: int) -> str:
    """The text of the kernel in an error message (NLMSGERR_ATTR_MSG of struct nlmsgerr)."""
    if not flags & numbers.NLM_F_ACK_TLVS:
        return ""
    offset = _NLMSG.size + 4
    inner = _NLMSG.unpack_from(message, offset)[0]
    offset += _NLMSG.size if flags & numbers.NLM_F_CAPPED else (inner + 3) & ~3
    while offset + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, offset)
        if kind == numbers.NLMSGERR_ATTR_MSG:
            return message[offset + 4 : offset + length].rstrip(b"\0").decode(errors="replace")
        offset += max((length + 3) & ~3, 4)
    return ""
