"""``addr``: an address as bytes, for what BTF knows as a plain number."""

from __future__ import annotations

import ipaddress
import sys

from pytest_ebpf.btf.addresses import pack_address

__all__ = ["Addr", "addr"]


class Addr(bytes):
    """An address in network byte order. It equals the plain number that the same bytes are in memory."""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return int.from_bytes(self, sys.byteorder) == int(other)
        if isinstance(other, str):
            return str(self) == other
        return bytes.__eq__(self, other) if isinstance(other, bytes) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = bytes.__hash__

    def __str__(self) -> str:
        return ":".join(f"{byte:02x}" for byte in self) if len(self) == 6 else str(ipaddress.ip_address(bytes(self)))

    def __repr__(self) -> str:
        return f"addr({str(self)!r})"


def addr(address: str | ipaddress.IPv4Address | ipaddress.IPv6Address) -> Addr:
    """An IPv4, IPv6 or Ethernet address as the bytes that a program sees, for keys, values and globals whose type is
    ``__u32`` or another that does not say that it is an address. ``ValueError`` for other text.

    >>> addr("192.0.2.1") == int.from_bytes(bytes([192, 0, 2, 1]), sys.byteorder)
    True
    """
    found = pack_address("mac", address)
    return Addr(ipaddress.ip_address(str(address)).packed if found is None else found)
