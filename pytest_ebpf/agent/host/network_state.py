"""What hangs on the network interfaces of this namespace without a descriptor that holds it: XDP programs, queueing
disciplines that somebody made, tc filters. And the interfaces themselves."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

from pytest_ebpf.agent.host.netns import open_netlink, read_answers
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.uapi.numbers import NLM_F_ACK

__all__ = ["Hanging", "hanging", "remove_hanging", "remove_interface"]

_NLMSG = struct.Struct("=IHHII")
_IFINFO, _TCMSG = struct.Struct("=BxHiII"), struct.Struct("=BxxxiIII")
_REQUEST, _DUMP = 1, 0x300
_DELLINK, _GETLINK, _SETLINK, _DELQDISC, _GETQDISC, _DELTFILTER, _GETTFILTER = 17, 18, 19, 37, 38, 45, 46
_IFNAME, _XDP, _XDP_FD, _XDP_FLAGS, _XDP_PROG_ID = 3, 43, 1, 3, 4
_XDP_MODES = ((5, 4), (6, 2), (7, 8))  # IFLA_XDP_DRV_PROG_ID and so on, and the XDP_FLAGS_* of that mode
_KIND, _OPTIONS, _BPF_ID = 1, 2, 11
_CLSACT = 0xFFFF0000
_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3


@dataclass(frozen=True, slots=True)
class Hanging:
    """``kind`` is "xdp", "qdisc" or "tc filter", ``interface`` an index; ``program`` its id, 0 for none that is known.
    ``where`` is what the kernel needs to find it again: flags, or handle, parent and info."""

    kind: str
    name: str
    interface: int
    program: int
    where: tuple[int, ...]


def hanging() -> list[Hanging]:
    """What hangs there now; filters behind their qdisc."""
    with open_netlink(socket.NETLINK_ROUTE) as sock:
        names: dict[int, str] = {}
        found: list[Hanging] = []
        for body in _ask(sock, _GETLINK, body=_IFINFO.pack(0, 0, 0, 0, 0)):
            index, attrs = _IFINFO.unpack_from(body)[2], _attributes(body[_IFINFO.size :])
            names[index] = attrs.get(_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
            found += _xdp(index, names[index], nested=_attributes(attrs.get(_XDP, b"")))
        for body in _ask(sock, _GETQDISC, body=_TCMSG.pack(0, 0, 0, 0, 0)):
            _, index, handle, parent, _ = _TCMSG.unpack_from(body)
            if handle:  # else it is the kernel's own
                kind = _text(_attributes(body[_TCMSG.size :]), _KIND)
                name = f"{names.get(index, index)} {kind} {handle >> 16:x}:"
                found.append(Hanging("qdisc", name, index, 0, (handle, parent, 0)))
                parents = (_INGRESS, _EGRESS) if kind == "clsact" else (handle,)
                found += [one for up in parents for one in _filters(sock, index, name=names.get(index, ""), parent=up)]
    return found


def remove_hanging(one: Hanging) -> None:
    """``OSError`` if the kernel refuses: an XDP program may be held by a link."""
    with open_netlink(socket.NETLINK_ROUTE) as sock:
        if one.kind == "xdp":
            xdp = _attribute(_XDP_FD, struct.pack("=i", -1)) + _attribute(_XDP_FLAGS, struct.pack("=I", one.where[0]))
            body = _IFINFO.pack(0, 0, one.interface, 0, 0) + _attribute(_XDP | 0x8000, xdp)  # NLA_F_NESTED
            _order(sock, _SETLINK, body=body)
        else:
            kind = _DELQDISC if one.kind == "qdisc" else _DELTFILTER
            _order(sock, kind, body=_TCMSG.pack(0, one.interface, *one.where))


def remove_interface(name: str) -> None:
    """``OSError`` if the kernel refuses."""
    with open_netlink(socket.NETLINK_ROUTE) as sock:
        body = _IFINFO.pack(0, 0, 0, 0, 0) + _attribute(_IFNAME, os.fsencode(name) + b"\0")
        _order(sock, _DELLINK, body=body)


def _xdp(index: int, name: str, *, nested: dict[int, bytes]) -> Iterator[Hanging]:
    modes = {flag: nested[attr] for attr, flag in _XDP_MODES if attr in nested}
    if not modes and _XDP_PROG_ID in nested:
        modes = {0: nested[_XDP_PROG_ID]}
    for flag, raw in modes.items():
        program = int(struct.unpack("=I", raw)[0])
        yield Hanging("xdp", f"{name} program {program}", index, program, (flag,))


def _filters(sock: socket.socket, index: int, *, name: str, parent: int) -> Iterator[Hanging]:
    words = {_INGRESS: " ingress", _EGRESS: " egress"}.get(parent, "")
    for body in _ask(sock, _GETTFILTER, body=_TCMSG.pack(0, index, 0, parent, 0)):
        _, _, handle, up, info = _TCMSG.unpack_from(body)
        if handle:  # else it is the head of a chain
            attrs = _attributes(body[_TCMSG.size :])
            raw = _attributes(attrs.get(_OPTIONS, b"")).get(_BPF_ID, b"")
            program = int(struct.unpack("=I", raw)[0]) if len(raw) == 4 else 0
            label = f"{name}{words} pref {info >> 16} {_text(attrs, _KIND)} handle {handle:#x}"
            yield Hanging("tc filter", label, index, program, (handle, up, info))


def _text(attrs: dict[int, bytes], kind: int) -> str:
    return attrs.get(kind, b"").rstrip(b"\0").decode(errors="replace")


def _ask(sock: socket.socket, kind: int, *, body: bytes) -> list[bytes]:
    """The bodies of what a dump answers; none for what there is nothing of."""
    parts: list[bytes] = []
    _send(sock, kind, body=body, flags=_REQUEST | _DUMP)
    read_answers(sock, kind, parts=parts)
    return [part[_NLMSG.size :] for part in parts]


def _order(sock: socket.socket, kind: int, *, body: bytes) -> None:
    _send(sock, kind, body=body, flags=_REQUEST | NLM_F_ACK)
    failed = read_answers(sock, kind, parts=[])
    if failed is not None:
        raise OSError(failed.errno, failed.text)


def _send(sock: socket.socket, kind: int, *, body: bytes, flags: int) -> None:
    sock.send(_NLMSG.pack(_NLMSG.size + len(body), kind, flags, kind, 0) + body)


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data.ljust((len(data) + 3) & ~3, b"\0")


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found
