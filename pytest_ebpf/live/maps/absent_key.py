"""The message for a key that is not in a map."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from pytest_ebpf.agent.ops import Handle, MapGet, Try, Value
from pytest_ebpf.btf.layout import fields, scalar, strip
from pytest_ebpf.btf.types import Struct
from pytest_ebpf.live.maps.codec import MapCodec
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.typed.shape import Shape

__all__ = ["describe_absent"]

_SIZES = (2, 4)  # bytes of a port, of an address
_MOST = 8  # fields of a struct to look at


def describe_absent(session: Session, handle: Handle, *, key: object, codec: MapCodec) -> str:
    """That ``key`` is not in the map. A key that is in it, but with the bytes of a number in the other order (of one
    field of a struct, or of all of them), is named: the number is an address or a port."""
    message = f"{key!r} is not in map {codec.name!r}"
    raw = codec.key(key) if codec.kind.access != "storage" else b""
    swapped = list(_swapped(raw, codec.key_shape)) if isinstance(raw, bytes) else []
    results = session.run([Try(MapGet(handle, other)) for other, _ in swapped]) if swapped else []
    for (other, what), found in zip(swapped, results, strict=True):
        if isinstance(found, Value) and found.data is not None:
            address = f": {ipaddress.IPv4Address(other)}" if len(other) == 4 and not what else ""
            return f"{message}; {codec.show_key(other)!r} (its bytes swapped{what}{address}) is"
    return message


def _swapped(raw: bytes, shape: Shape) -> Iterator[tuple[bytes, str]]:
    """Other keys, and which fields are swapped in them ("" where the key itself is the number)."""
    numbers = _numbers(shape)
    found = [(name, swapped) for name, start, end in numbers if (swapped := _swap(raw, start, end=end)) != raw]
    whole = raw
    for _, start, end in numbers:
        whole = _swap(whole, start, end=end)
    if len(found) > 1:
        yield whole, " in each field"
    for name, swapped in found:
        yield swapped, f" in {name}" if name else ""


def _swap(raw: bytes, start: int, *, end: int) -> bytes:
    return raw[:start] + raw[start:end][::-1] + raw[end:]


def _numbers(shape: Shape) -> list[tuple[str, int, int]]:
    """(name, start, end) of the numbers of 2 or 4 bytes: the whole key, or fields of it."""
    if shape.btf is None or not shape.type_id:
        return [("", 0, shape.size)] if shape.size in _SIZES else []
    btf, whole = shape.btf, strip(shape.btf, shape.type_id)
    if not isinstance(btf.type(whole), Struct):
        listed = [("", whole, 0)]
    else:
        listed = [
            (one.name, strip(btf, one.type), one.bit_offset // 8) for one in fields(btf, whole) if not one.bit_size
        ]
    numbers = ((name, start, scalar(btf, type_id)) for name, type_id, start in listed[:_MOST])
    return [(name, start, start + one.size) for name, start, one in numbers if one is not None and one.size in _SIZES]
