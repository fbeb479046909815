"""The Internet checksum (RFC 1071) and the pseudo headers it covers (RFC 9293 3.1, RFC 768, RFC 8200 8.1)."""

from __future__ import annotations

import array
import sys

__all__ = ["internet_checksum", "pseudo_header"]


def internet_checksum(data: bytes) -> int:
    """16 bits, ready to be stored. The result over data that includes its correct checksum is 0."""
    words = array.array("H", data if len(data) % 2 == 0 else data + b"\0")
    if sys.byteorder == "little":
        words.byteswap()
    # 2**16 - 1 is 0 in one's complement, so folding the carries is a remainder; only an all-zero sum stays zero.
    total = sum(words)
    return ~(total % 0xFFFF or (0xFFFF if total else 0)) & 0xFFFF


def pseudo_header(addresses: bytes, *, protocol: int, length: int) -> bytes:
    """The bytes that TCP, UDP and ICMPv6 checksums cover besides the segment. ``addresses``: source and destination, 8
    or 32 bytes."""
    if len(addresses) == 8:
        return addresses + bytes((0, protocol)) + length.to_bytes(2, "big")
    return addresses + length.to_bytes(4, "big") + bytes((0, 0, 0, protocol))
