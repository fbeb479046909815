"""rtnetlink messages packed by hand: what pyroute2 has no classes for, and a check of those that it has."""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["CREATE", "DUMP", "EXCL", "blob", "nest", "number", "plain_request", "text", "without_marks"]

CREATE, EXCL, DUMP = 0x400, 0x200, 0x300
_HEAD, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
_NESTED = 0x8000


def plain_request(kind: int, body: bytes, *, flags: int = 0) -> bytes:
    """A message that asks for an acknowledgement."""
    return _HEAD.pack(_HEAD.size + len(body), kind, 5 | flags, 1, 0) + body


def blob(kind: int, payload: bytes = b"") -> bytes:
    """One attribute, padded."""
    size = _ATTRIBUTE.size + len(payload)
    return (_ATTRIBUTE.pack(size, kind) + payload).ljust((size + 3) & ~3, b"\0")


def nest(kind: int, *parts: bytes) -> bytes:
    """An attribute of attributes."""
    return blob(kind | _NESTED, b"".join(parts))


def number(kind: int, value: int) -> bytes:
    """An attribute of a u32."""
    return blob(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    """An attribute of a text that ends with NUL."""
    return blob(kind, value.encode() + b"\0")


def without_marks(marked: str, data: bytes) -> tuple[bytes, bytes]:
    """Both messages without sequence numbers, and without the marks of nested attributes: those of ``marked`` (hex),
    which has them all, are taken off in both at the same places."""
    golden, made = bytearray.fromhex(marked), bytearray(data)
    golden[8:12] = made[8:12] = bytes(4)
    for place in _marks(bytes(golden)):
        for each in (golden, made):
            if place < len(each):
                each[place] &= 0x7F
    return bytes(golden), bytes(made)


def _marks(data: bytes) -> list[int]:
    """Where in a message the upper byte of the type of a nested attribute is."""
    sizes: dict[int, int] = {16: 16, 18: 16, 19: 16, 24: 12, 25: 12, 36: 20, 44: 20, 45: 20}
    (kind,) = struct.unpack_from("=H", data, 4)
    found: list[int] = []
    if kind in sizes:
        _walk(data, _HEAD.size + sizes[kind], end=len(data), found=found)
    return found


def _walk(data: bytes, offset: int, *, end: int, found: list[Any]) -> None:
    while offset + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            return
        if kind & _NESTED:
            found.append(offset + 3)
            _walk(data, offset + _ATTRIBUTE.size, end=offset + length, found=found)
        offset += (length + 3) & ~3
