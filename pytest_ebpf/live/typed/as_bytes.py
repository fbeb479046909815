"""Anything that has bytes, as bytes: raw buffers, packets of this package, Scapy packets."""

from __future__ import annotations

__all__ = ["as_bytes"]


def as_bytes(data: object) -> bytes:
    """``data`` as bytes: bytes-like objects, and whatever defines ``__bytes__`` (Scapy) or ``build()``.

    ``TypeError`` for the rest. Numbers are refused: ``bytes(5)`` would quietly be five zero bytes.
    """
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    if hasattr(data, "__bytes__"):
        return bytes(data)
    build = getattr(data, "build", None)
    if callable(build):
        built = build()
        if isinstance(built, bytes | bytearray):
            return bytes(built)
    raise TypeError(f"need bytes or a packet, got {type(data).__name__}: {data!r}")
