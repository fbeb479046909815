"""The Internet checksum (RFC 1071), what it covers besides the segment (RFC 9293 3.1, RFC 768, RFC 8200 8.1), and the
CRC32c of SCTP (RFC 9260 appendix A)."""

from __future__ import annotations

from functools import cache

__all__ = ["crc32c", "fold", "internet_checksum", "words"]


def internet_checksum(data: bytes) -> int:
    """16 bits, ready to be stored. The result over data that includes its correct checksum is 0."""
    return fold(words(data))


def words(data: bytes) -> int:
    """A number whose remainder is the one's complement sum of the 16-bit words of ``data`` (zero byte behind an odd
    length). Such numbers may be added before they are folded."""
    number = int.from_bytes(data, "big")
    return number if len(data) % 2 == 0 else number << 8


def fold(total: int) -> int:
    """The checksum of a sum. 2**16 - 1 is 0 in one's complement, so folding the carries is a remainder; only an
    all-zero sum stays zero."""
    return ~(total % 0xFFFF or (0xFFFF if total else 0)) & 0xFFFF


def crc32c(data: bytes) -> int:
    """32 bits, in the byte order in which SCTP stores them."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return int.from_bytes((crc ^ 0xFFFFFFFF).to_bytes(4, "little"), "big")


@cache
def _crc_table() -> tuple[int, ...]:
    rows = []
    for row in range(256):
        for _ in range(8):
            row = row >> 1 ^ (0x82F63B78 if row & 1 else 0)
        rows.append(row)
    return tuple(rows)
