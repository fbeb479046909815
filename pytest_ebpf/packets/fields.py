"""Header fields: convert between the number in the packet and its written form.

A value is an ``int``, a ``str`` (addresses, flags, a few names) or, on the way in, ``bytes``. Headers keep the numbers;
``field_number`` and ``field_value`` convert, and ``field_value(f, field_number(f, v))`` is the canonical way to write
``v``.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Literal

from pytest_ebpf.frozen import dataclass

__all__ = ["Field", "Value", "field_number", "field_value", "render_value"]

Value = int | str | bytes

# Bit 0 first. The ninth flag (NS) is historic, RFC 8311; "E" and "C" are ECE and CWR, RFC 3168.
_TCP_FLAGS = "FSRPAUECN"
# Bit 0 first; scapy's names. "evil" is RFC 3514's.
_IP_FLAGS = ("MF", "DF", "evil")


@dataclass(frozen=True, slots=True)
class Field:
    """One header field of ``bits`` bits. ``default`` is a number; None: computed when the packet is assembled.

    ``when`` names flags of the same header: the field is there if one of them is set. ``aliases`` are other names of
    the field, ``names`` words for numbers of it."""

    name: str
    bits: int
    kind: Literal["int", "hex", "mac", "ipv4", "ipv6", "tcpflags", "ipflags"] = "int"
    default: int | None = None
    when: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    names: tuple[tuple[str, int], ...] = ()


def field_number(field: Field, value: Value) -> int:
    """The number of a value. Raises ValueError, with the name of the field, when it is invalid or does not fit."""
    try:
        number = int(value) if isinstance(value, int) else _number(field, value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{field.name}={value!r}: {error}") from None
    if not 0 <= number < 1 << field.bits:
        raise ValueError(f"{field.name}={value!r}: does not fit into {field.bits} bits")
    return number


def _number(field: Field, value: Value) -> int:
    if isinstance(value, (bytes, bytearray)):
        if len(value) * 8 != field.bits:
            raise ValueError(f"has {len(value)} bytes, needs {field.bits // 8}")
        return int.from_bytes(value, "big")
    if field.names and isinstance(value, str):
        number = dict(field.names).get(value.lower())
        if number is not None:
            return number
    return _text_number(field.kind, str(value))


@lru_cache(maxsize=4096)
def _text_number(kind: str, text: str) -> int:
    match kind:
        case "mac":
            return _mac_number(text)
        case "ipv4":
            return int(ipaddress.IPv4Address(text))
        case "ipv6":
            return int(ipaddress.IPv6Address(text))
        case "tcpflags":
            return sum(1 << _flag_bit(letter) for letter in set(text.upper()))
        case "ipflags":
            return _ip_flags(text)
        case _:
            raise ValueError("is not a number")


def _mac_number(text: str) -> int:
    octets = text.replace("-", ":").split(":")
    if len(octets) != 6 or any(not 1 <= len(octet) <= 2 for octet in octets):
        raise ValueError("is not a MAC address such as 02:00:00:00:00:01")
    return int("".join(octet.zfill(2) for octet in octets), 16)


def _flag_bit(letter: str) -> int:
    bit = _TCP_FLAGS.find(letter)
    if bit < 0:
        raise ValueError(f"does not have flag {letter!r}; flags are {_TCP_FLAGS}")
    return bit


def _ip_flags(text: str) -> int:
    words = {word for word in text.split("+") if word}
    unknown = words - set(_IP_FLAGS)
    if unknown:
        raise ValueError(f"does not have flag {min(unknown)!r}; flags are {', '.join(_IP_FLAGS)}, joined with +")
    return sum(1 << _IP_FLAGS.index(word) for word in words)


def field_value(field: Field, number: int) -> Value:
    """The written form of a number: addresses and TCP flags as text, the rest as int."""
    match field.kind:
        case "mac":
            return number.to_bytes(6, "big").hex(":")
        case "ipv4":
            return str(ipaddress.IPv4Address(number))
        case "ipv6":
            return str(ipaddress.IPv6Address(number))
        case "tcpflags":
            return "".join(letter for bit, letter in enumerate(_TCP_FLAGS) if number >> bit & 1)
        case _:
            return number


def render_value(field: Field, number: int | None) -> str:
    """For output: 0x0800 for an EtherType, 64 for a TTL, "auto" for a field that is not computed yet."""
    if number is None:
        return "auto" if not field.when else "absent"
    if field.kind == "hex":
        return f"{number:#0{2 + (field.bits + 3) // 4}x}"
    return str(field_value(field, number)) or "none"
