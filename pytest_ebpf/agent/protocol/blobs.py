"""The raw bytes behind the head of a frame: bytes, many of them, and many integers. ``wire`` tells the notation."""

from __future__ import annotations

from contextlib import suppress
from struct import Struct, error as StructError
from typing import Any

from pytest_ebpf.agent.ops import Packed

__all__ = ["Blobs", "WireError", "read_bytes", "read_numbers", "read_packed", "read_pieces"]

_MANY = 16  # integers from which on they go into the raw bytes


class WireError(Exception):
    """Bytes that are no frame, or a frame that is no message."""


class Blobs:
    """The raw bytes behind a head under construction. Each method returns the place of what it adds."""

    __slots__ = ("parts", "size")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, data: bytes) -> list[int]:
        """Bytes."""
        place = [self.size, len(data)]
        self.size += len(data)
        self.parts.append(data)
        return place

    def add_all(self, many: tuple[bytes, ...]) -> list[Any]:
        """Many of them, one behind the other."""
        lengths = tuple(map(len, many))
        place: list[Any] = [self.size]
        self.size += sum(lengths)
        self.parts += many
        return [*place, self.numbers(lengths)]

    def numbers(self, values: tuple[int, ...]) -> Any:
        """Integers: their place if there are many, else the list itself."""
        if len(values) >= _MANY:
            with suppress(StructError):  # of more than 63 bits
                return {"i64": self.add(Struct(f"<{len(values)}q").pack(*values))}
        return list(values)


def read_bytes(field: list[Any], blobs: memoryview) -> bytes:
    """The bytes at a place. Raises ``WireError``, as the others do."""
    if len(field) == 2:
        offset, length = field
        if type(offset) is int and type(length) is int and 0 <= offset <= offset + length <= len(blobs):
            return bytes(blobs[offset : offset + length])
    raise WireError(f"no place in {len(blobs)} bytes: {str(field)[:60]}")


def read_pieces(field: list[Any], blobs: memoryview) -> tuple[bytes, ...]:
    """The tuple of bytes at a place."""
    packed = read_packed(field, blobs)
    data, lengths = packed.data, packed.lengths
    if data and len(set(lengths)) == 1:  # as packets and records often are
        return tuple([piece for (piece,) in Struct(f"{lengths[0]}s").iter_unpack(data)])
    return tuple(packed)


def read_packed(field: list[Any], blobs: memoryview) -> Packed:
    """The same, in one."""
    match field:
        case []:
            return Packed(b"", ())
        case [int(offset), [*lengths]]:
            return _packed(offset, lengths, blobs=blobs)
        case [int(offset), dict(lengths)]:
            return _packed(offset, read_numbers(lengths, blobs), blobs=blobs)
    raise WireError(f"no places of bytes: {str(field)[:60]}")


def read_numbers(field: dict[str, Any], blobs: memoryview) -> list[int]:
    """The integers at a place."""
    match field:
        case {"i64": [_, _] as place} if len(data := read_bytes(place, blobs)) % 8 == 0:
            return list(Struct(f"<{len(data) // 8}q").unpack(data))
    raise WireError(f"no integers: {str(field)[:60]}")


def _packed(offset: int, lengths: list[Any], *, blobs: memoryview) -> Packed:
    if offset < 0 or (lengths and (set(map(type, lengths)) != {int} or min(lengths) < 0)):
        raise WireError(f"no places of bytes: {offset}, {str(lengths)[:60]}")
    end = offset + sum(lengths)
    if end > len(blobs):
        raise WireError(f"no place in {len(blobs)} bytes: {offset}, {str(lengths)[:60]}")
    return Packed(bytes(blobs[offset:end]), lengths)
