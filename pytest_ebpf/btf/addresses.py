"""Types that hold addresses and ports in network byte order, and their values as people write them.

The kernel's headers name them: ``__be16`` and ``__be32`` (typedefs, which BTF keeps), ``struct in_addr``, ``struct
in6_addr``, and six bytes for the address of an Ethernet interface.
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, Int, Modifier, Struct, Typedef, Var

__all__ = ["AddressInt", "address_kind", "pack_address", "unpack_address"]

_MOST_NAMES = 64
_MAC_SIZE = 6
_MAC = re.compile(r"[0-9A-Fa-f]{1,2}([:-][0-9A-Fa-f]{1,2}){5}")
_TYPEDEFS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {"__be16": ("be16", 2), "in_port_t": ("be16", 2), "__be32": ("be32", 4), "in_addr_t": ("be32", 4)}
)
_STRUCTS: Mapping[str, int] = MappingProxyType({"in_addr": 4, "in6_addr": 16})


class AddressInt(int):
    """A number of 32 bits that came in network byte order, in host order. It also equals its IPv4 address as text, as
    ``ipaddress.IPv4Address`` and as 4 bytes: a ``__be32`` may be an address or, as a TCP sequence number, none."""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return other == str(ipaddress.IPv4Address(int(self)))
        if isinstance(other, ipaddress.IPv4Address):
            return int(other) == int(self)
        if isinstance(other, bytes):
            return other == self.to_bytes(4, "big")
        return int.__eq__(self, other) if isinstance(other, int) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__


class _Family(NamedTuple):
    address: type[ipaddress.IPv4Address | ipaddress.IPv6Address]
    size: int


_FAMILIES: Mapping[str, _Family] = MappingProxyType(
    {
        "be32": _Family(ipaddress.IPv4Address, 4),
        "in_addr": _Family(ipaddress.IPv4Address, 4),
        "in6_addr": _Family(ipaddress.IPv6Address, 16),
    }
)


def address_kind(btf: Btf, type_id: int) -> str:
    """ "be16", "be32", "in_addr", "in6_addr" or "mac" when values of the type are addresses or ports, else ""."""
    for _ in range(_MOST_NAMES):
        found = btf.type(type_id)
        if isinstance(found, Typedef) and found.name in _TYPEDEFS:
            kind, size = _TYPEDEFS[found.name]
            number = btf.type(btf.resolve(found.type))
            return kind if isinstance(number, Int) and number.size == size else ""
        if isinstance(found, Struct):
            return found.name if _STRUCTS.get(found.name) == found.size and not found.is_union else ""
        if isinstance(found, Array):
            return "mac" if found.nelems == _MAC_SIZE and _is_byte(btf, found.type) else ""
        if not isinstance(found, Typedef | Modifier | Var):
            break
        type_id = found.type
    return ""


def _is_byte(btf: Btf, type_id: int) -> bool:
    found = btf.type(btf.resolve(type_id))
    plain = isinstance(found, Int) and found.size == 1 and not (found.signed or found.is_bool or found.is_char)
    return plain and found.name != "char"


def unpack_address(kind: str, data: bytes) -> int | str:
    """The value of bytes in network byte order (``data`` begins with them)."""
    if kind == "be16":
        return int.from_bytes(data[:2], "big")
    if kind == "be32":
        return AddressInt.from_bytes(data[:4], "big")
    if kind == "mac":
        return ":".join(f"{byte:02x}" for byte in data[:_MAC_SIZE])
    family = _FAMILIES[kind]
    return str(family.address(bytes(data[: family.size])))


def pack_address(kind: str, value: object) -> bytes | None:
    """The bytes of a value: text, a number in host order, an object of ``ipaddress``, bytes as they are. None for
    anything else.

    ``ValueError`` for text that is not an address of the kind, a number that does not fit, bytes of another length.
    """
    size = 2 if kind == "be16" else _MAC_SIZE if kind == "mac" else _FAMILIES[kind].size
    if isinstance(value, bytes | bytearray | memoryview):
        if len(value) != size:
            raise ValueError(f"takes {size} bytes, not {len(value)}")
        return bytes(value)
    if hasattr(value, "__index__") and kind != "mac":
        number = operator.index(value)
        if not 0 <= number < 1 << 8 * size:
            raise ValueError(f"{number} does not fit {8 * size} bits")
        return number.to_bytes(size, "big")
    if kind == "mac":
        text = value if isinstance(value, str) else ""
        return bytes(int(part, 16) for part in re.split("[:-]", text)) if _MAC.fullmatch(text) else None
    if kind == "be16" or not isinstance(value, str | ipaddress.IPv4Address | ipaddress.IPv6Address):
        return None
    try:
        return _FAMILIES[kind].address(str(value)).packed
    except ValueError:
        version = 6 if kind == "in6_addr" else 4
        raise ValueError(f"{str(value)!r} is not an IPv{version} address") from None
