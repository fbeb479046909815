"""Requests to rtnetlink as bytes, and its answers taken apart: attributes are records of length, type and payload.

The agent only sends them (``Netlink``). include/uapi/linux/netlink.h, rtnetlink.h.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

from pytest_ebpf.agent.ops import FdAt, Handle, Netlink

__all__ = ["Message", "attributes", "blob", "messages", "nest", "netlink_op", "number", "request", "text"]

ACK_REQUEST, DUMP, REPLACE, EXCL, CREATE = 5, 0x300, 0x100, 0x200, 0x400
_HEAD = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF


class Message(NamedTuple):
    """An answer: its type and what is behind the header."""

    type: int
    body: bytes


def blob(kind: int, payload: bytes = b"") -> bytes:
    """One attribute, padded."""
    size = _ATTRIBUTE.size + len(payload)
    return (_ATTRIBUTE.pack(size, kind) + payload).ljust((size + 3) & ~3, b"\0")


def nest(kind: int, *parts: bytes) -> bytes:
    """An attribute of attributes."""
    return blob(kind | _NESTED, b"".join(parts))


def number(kind: int, value: int) -> bytes:
    """An attribute of a u32 (or an s32)."""
    return blob(kind, struct.pack("=I", value & 0xFFFFFFFF))


def text(kind: int, value: str) -> bytes:
    """An attribute of a NUL-terminated text."""
    return blob(kind, value.encode() + b"\0")


def request(kind: int, body: bytes, *, flags: int = 0) -> bytes:
    """A whole message."""
    sequence = time.monotonic_ns() & 0xFFFFFFFF
    return _HEAD.pack(_HEAD.size + len(body), kind, ACK_REQUEST | flags, sequence, 0) + body


def netlink_op(message: bytes, *, netns: Handle | None = None, fds: dict[int, Handle] | None = None) -> Netlink:
    """The op that sends it. ``fds``: a number that stands in the message where the fd of an object goes."""
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
