"""Requests to rtnetlink, encoded by pyroute2's message classes, and its answers as records of type and payload.

The agent only sends them (``Netlink``). Answers are read here: pyroute2 does not know the ids of BPF programs in them.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from pytest_ebpf.agent.ops import FdAt, Handle, Netlink

__all__ = ["Attr", "Message", "attributes", "messages", "nested", "netlink_op", "request"]

ACK_REQUEST, DUMP, REPLACE, EXCL, CREATE = 5, 0x300, 0x100, 0x200, 0x400
_HEAD = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF
Attr = tuple[str, object]


class Message(NamedTuple):
    """An answer: its type and what is behind the header."""

    type: int
    body: bytes


@cache
def _classes() -> tuple[Mapping[str, int], Mapping[str, Any]]:
    """(numbers of message types, message classes by the object in a type's name). Importing pyroute2 takes 0.16 s, so
    it waits for the first message."""
    from pyroute2.netlink import rtnl
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
    from pyroute2.netlink.rtnl.ndmsg import ndmsg
    from pyroute2.netlink.rtnl.rtmsg import rtmsg
    from pyroute2.netlink.rtnl.tcmsg import tcmsg

    kinds = {"LINK": ifinfmsg, "ADDR": ifaddrmsg, "ROUTE": rtmsg, "NEIGH": ndmsg, "QDISC": tcmsg, "TFILTER": tcmsg}
    return vars(rtnl), kinds


def request(name: str, fields: Mapping[str, int], *, attrs: Sequence[Attr] = (), flags: int = 0) -> bytes:
    """A whole message by the name of its type ("RTM_NEWLINK"), with names of fields and attributes as pyroute2 has
    them."""
    numbers, classes = _classes()
    message = classes[name[len("RTM_NEW") :]]()
    message.update(fields)
    message["attrs"] = list(attrs)
    message["header"].update(
        type=numbers[name], flags=ACK_REQUEST | flags, sequence_number=time.monotonic_ns() & 0xFFFFFFFF, pid=0
    )
    message.encode()
    return bytes(message.data)


def nested(*attrs: Attr) -> dict[str, list[Attr]]:
    """The value of an attribute that holds others."""
    return {"attrs": list(attrs)}


def netlink_op(message: bytes, *, netns: Handle | None = None, fds: dict[int, Handle] | None = None) -> Netlink:
    """The op that sends it. ``fds``: numbers that stand in the message for the fd of an object."""
    places = [FdAt(message.index(struct.pack("=I", mark)), handle) for mark, handle in (fds or {}).items()]
    return Netlink(message, netns=netns, fds=tuple(places))


def messages(data: bytes) -> Iterator[Message]:
    """The answers in what came back."""
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, kind, *_ = _HEAD.unpack_from(data, offset)
        yield Message(kind, data[offset + _HEAD.size : offset + length])
        offset += max((length + 3) & ~3, _HEAD.size)


def attributes(data: bytes) -> dict[int, bytes]:
    """Payloads by type; of a type that comes twice the last."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        found[kind & _TYPE_MASK] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += max((length + 3) & ~3, _ATTRIBUTE.size)
    return found
