"""The message for a key that is not in a map."""

from __future__ import annotations

import ipaddress

from pytest_ebpf.agent.ops import Handle, MapGet, Try, Value
from pytest_ebpf.live.maps.codec import MapCodec
from pytest_ebpf.live.session import Session

__all__ = ["describe_absent"]


def describe_absent(session: Session, handle: Handle, *, key: object, codec: MapCodec) -> str:
    """That ``key`` is not in the map. A number whose bytes are in it in the other order is named: it is an address or a
    port."""
    message = f"{key!r} is not in map {codec.name!r}"
    raw = codec.key(key) if isinstance(key, int) and codec.kind.access != "storage" else b""
    if not isinstance(raw, bytes) or len(raw) not in (2, 4) or raw == raw[::-1]:
        return message
    swapped = raw[::-1]
    found = session.run([Try(MapGet(handle, swapped))])[0]
    if not isinstance(found, Value) or found.data is None:
        return message
    address = f": {ipaddress.IPv4Address(swapped)}" if len(raw) == 4 else ""
    return f"{message}; {codec.show_key(swapped)!r} (its bytes swapped{address}) is"
