"""Options of TCP, IPv4, IPv6 and GENEVE, as lists and as bytes. The names of options are scapy's.

TCP: ``[("MSS", 1460), ("NOP", None), ("WScale", 7), ("SAckOK", b""), ("Timestamp", (1, 0))]``. IPv4: the same form,
with ``("RouterAlert", 0)``. IPv6 hop-by-hop and destination options: ``[("RouterAlert", 0), ("Jumbo", 70000)]``.
GENEVE: ``[(family, type, b"data")]``. Routing: a list of addresses. A number instead of a name takes bytes.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import SupportsIndex, SupportsInt

__all__ = ["OptionBytes", "decode_options", "encode_options", "written_options"]

_Kinds = Mapping[str, tuple[int, str]]

# name -> (number, struct format of its value; "": bytes, "*": any number of u32, "-": a single byte without a length)
_TCP: _Kinds = MappingProxyType(
    {
        "EOL": (0, "-"),
        "NOP": (1, "-"),
        "MSS": (2, "H"),
        "WScale": (3, "B"),
        "SAckOK": (4, ""),
        "SAck": (5, "*"),
        "Timestamp": (8, "II"),
        "AltChkSum": (14, "BH"),
        "AltChkSumOpt": (15, ""),
        "MD5": (19, ""),
        "UTO": (28, "H"),
        "AO": (29, ""),
        "TFO": (34, ""),
    }
)
_IPV4: _Kinds = MappingProxyType(
    {
        "EOL": (0, "-"),
        "NOP": (1, "-"),
        "RR": (7, ""),
        "Timestamp": (68, ""),
        "Security": (130, ""),
        "LSRR": (131, ""),
        "StreamId": (136, "H"),
        "SSRR": (137, ""),
        "RouterAlert": (148, "H"),
    }
)
_IPV6: _Kinds = MappingProxyType(
    {"Pad1": (0, "-"), "PadN": (1, ""), "RouterAlert": (5, "H"), "Jumbo": (0xC2, "I"), "HAO": (0xC9, "")}
)
_KINDS: Mapping[str, _Kinds] = MappingProxyType({"tcp": _TCP, "ip": _IPV4, "ipv6": _IPV6})


class OptionBytes(bytes):
    """The bytes of options, which also equal the list they are written as."""

    codec: str

    def __new__(cls, data: bytes, codec: str) -> OptionBytes:
        """Bytes that are read by ``codec``."""
        made = super().__new__(cls, data)
        made.codec = codec
        return made

    def __eq__(self, other: object) -> bool:
        if isinstance(other, list):
            return list(decode_options(self.codec, bytes(self))) == other
        return bytes.__eq__(self, other) if isinstance(other, bytes) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = bytes.__hash__

    def __repr__(self) -> str:
        return written_options(self.codec, bytes(self))


def written_options(codec: str, data: bytes) -> str:
    """Options as they are written to build them: a list, where it says the same as the bytes."""
    items = list(decode_options(codec, data))
    try:
        same = encode_options(codec, items) == data
    except (ValueError, TypeError):
        same = False
    return repr(items) if same and items else repr(data)


def encode_options(codec: str, items: Sequence[object]) -> bytes:
    """The bytes of a list. ValueError or TypeError names the option that cannot be written."""
    if codec == "addresses":
        return b"".join(ipaddress.IPv6Address(item).packed for item in items)
    if codec == "geneve":
        return b"".join(_geneve_bytes(item) for item in items)
    kinds = _KINDS.get(codec)
    if kinds is None:
        raise TypeError("takes bytes")
    return b"".join(_option_bytes(kinds, item) for item in items) if codec != "ipv6" else _ipv6_bytes(items)


def decode_options(codec: str, data: bytes) -> Iterator[object]:
    """The list of some bytes. What is cut off or does not fit is left out."""
    if codec == "addresses":
        yield from (str(ipaddress.IPv6Address(data[at : at + 16])) for at in range(0, len(data) - 15, 16))
    elif codec == "geneve":
        yield from _geneve_items(data)
    elif codec in _KINDS:
        yield from _items(_KINDS[codec], data, extra=0 if codec == "ipv6" else 2)


def _pair(item: object) -> tuple[object, object]:
    if isinstance(item, str):
        return item, None
    if isinstance(item, tuple) and len(item) == 2:
        return item
    raise TypeError(f"an option is a pair of name and value, not {item!r}")


def _kind(kinds: _Kinds, name: object) -> tuple[int, str]:
    if isinstance(name, int):
        return name, next((form for number, form in kinds.values() if number == name and form == "-"), "")
    if name not in kinds:
        raise ValueError(f"there is no option {name!r}; there are {', '.join(kinds)}")
    return kinds[str(name)]


def _option_bytes(kinds: _Kinds, item: object) -> bytes:
    name, value = _pair(item)
    number, form = _kind(kinds, name)
    if form == "-":
        return bytes((number,))
    body = _value_bytes(form, value, name=name)
    return bytes((number, len(body) + 2)) + body


def _ipv6_bytes(items: Sequence[object]) -> bytes:
    parts = []
    for item in items:
        name, value = _pair(item)
        number, form = _kind(_IPV6, name)
        body = b"" if form == "-" else _value_bytes(form, value, name=name)
        parts.append(bytes((number,)) if form == "-" else bytes((number, len(body))) + body)
    return b"".join(parts)


def _value_bytes(form: str, value: object, *, name: object) -> bytes:
    if value is None:
        value = b""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    numbers = value if isinstance(value, tuple | list) else (value,)
    form = f"{len(numbers)}I" if form == "*" else form
    try:
        return struct.pack(">" + form, *numbers)
    except struct.error:
        raise ValueError(f"option {name!r} does not take {value!r}") from None


def _items(kinds: _Kinds, data: bytes, *, extra: int) -> Iterator[tuple[object, object]]:
    names = {number: (name, form) for name, (number, form) in kinds.items()}
    at = 0
    while at < len(data):
        name, form = names.get(data[at], (data[at], ""))
        if form == "-":
            yield name, None
            at += 1
            continue
        size = data[at + 1] + 2 - extra if at + 1 < len(data) else 0
        if size < 2 or at + size > len(data):
            return
        yield name, _value(form, data[at + 2 : at + size])
        at += size


def _value(form: str, body: bytes) -> object:
    form = f"{len(body) // 4}I" if form == "*" else form
    if not form or struct.calcsize(">" + form) != len(body):
        return body
    numbers = struct.unpack(">" + form, body)
    return numbers[0] if len(numbers) == 1 else numbers


def _geneve_bytes(item: object) -> bytes:
    if not isinstance(item, tuple) or len(item) != 3 or not isinstance(item[2], bytes | bytearray):
        raise TypeError(f"an option of GENEVE is (class, type, bytes), not {item!r}")
    family, kind, body = item
    body = bytes(body) + bytes(-len(body) % 4)
    if not isinstance(family, SupportsInt | SupportsIndex) or len(body) > 31 * 4:
        raise ValueError(f"an option of GENEVE has up to 124 bytes, not {len(body)}")
    return struct.pack(">HBB", family, kind, len(body) // 4) + body


def _geneve_items(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        family, kind, words = struct.unpack_from(">HBB", data, at)
        end = at + 4 + 4 * (words & 31)
        if end > len(data):
            return
        yield family, kind, data[at + 4 : end]
        at = end
