"""Bytes to layers. Never fails: bytes that are not a valid header stay raw, and none are lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pytest_ebpf.packets.layer import Layer
from pytest_ebpf.packets.protocols import PROTOCOLS
from pytest_ebpf.packets.spec import HeaderSpec

__all__ = ["parse_layers"]

_Numbers = tuple[int | None, ...]

_RAW, _PAD = PROTOCOLS["raw"], PROTOCOLS["pad"]
_ND: Mapping[int | None, HeaderSpec] = MappingProxyType(
    {row.defaults[0]: row for row in PROTOCOLS.values() if row.key.startswith("nd_")}
)
_ND_OPTIONS: Mapping[int | None, str] = MappingProxyType(
    {row.defaults[0]: row.key for row in PROTOCOLS.values() if row.key.startswith("ndopt")}
)


def parse_layers(data: bytes, name: str) -> tuple[Layer, ...]:
    """The headers of a packet that starts with header ``name``."""
    layers: list[Layer] = []
    at, end, padding = 0, len(data), b""
    while name != "raw" and at < end:
        layer, size = _read(PROTOCOLS[name], data, at=at, end=end)
        if layer is None:
            break
        layers.append(layer)
        limit = _ENDS.get(name)
        if limit is not None:
            stop = at + limit(layer)
            if at + size <= stop < end:
                padding, end = data[stop:end] + padding, stop
        at += size
        name = _following(layer, data[at] if at < end else 0)
    if at < end:
        layers.append(Layer(_RAW, (), data[at:end]))
    if padding:
        layers.append(Layer(_PAD, (), padding))
    return tuple(layers)


def _read(spec: HeaderSpec, data: bytes, *, at: int, end: int) -> tuple[Layer | None, int]:
    """A header and its bytes."""
    if spec.key == "icmpv6" and at < end:
        spec = _ND.get(data[at], spec)
        if end - at < spec.size:
            spec = PROTOCOLS["icmpv6"]
    size = spec.size
    if end - at < size or (spec.key == "arp" and data[at : at + 6] != b"\0\1\x08\0\6\4"):
        return None, 0
    whole = int.from_bytes(data[at : at + size], "big")
    numbers: _Numbers = tuple([whole >> shift & mask for shift, mask in spec.cuts])
    if spec.optional:
        numbers, size = _optional(spec, numbers, data=data[at:end])
        return (Layer(spec, numbers), size) if size else (None, 0)
    if not spec.codec:
        return Layer(spec, numbers), size
    whole_size = _SIZES[spec.key](numbers)  # an impossible length is read as no options
    if size < whole_size <= end - at:
        return Layer(spec, numbers, data[at + size : at + whole_size]), whole_size
    if spec.codec == "ipv6":  # eight bytes at least: without them it is no header, and would be filled up
        return None, 0
    return Layer(spec, numbers), size


def _optional(spec: HeaderSpec, numbers: _Numbers, *, data: bytes) -> tuple[_Numbers, int]:
    """The fields that flags promise. Size 0 when they are cut off."""
    found, at = list(numbers) + [None] * spec.optional, spec.size
    for place in range(len(numbers), len(found)):
        if spec.present(place, numbers):
            size = spec.fields[place].bits // 8
            if at + size > len(data):
                return numbers, 0
            found[place] = int.from_bytes(data[at : at + size], "big")
            at += size
    return tuple(found), at


def _extension_size(numbers: _Numbers) -> int:
    return 8 * ((numbers[1] or 0) + 1)


# The size of the header with options, from its numbers.
_SIZES: Mapping[str, Callable[[_Numbers], int]] = MappingProxyType(
    {
        "ip": lambda numbers: 4 * (numbers[1] or 0),
        "tcp": lambda numbers: 4 * (numbers[4] or 0),
        "geneve": lambda numbers: 8 + 4 * (numbers[1] or 0),
        "hopbyhop": _extension_size,
        "destopt": _extension_size,
        "routing": _extension_size,
    }
)


# The end of a payload, from the start of its header; bytes behind it are padding.
_ENDS: Mapping[str, Callable[[Layer], int]] = MappingProxyType(
    {
        "ip": lambda layer: layer.numbers[3] or 0,
        "udp": lambda layer: layer.numbers[2] or 0,
        "ipv6": lambda layer: 40 + (layer.numbers[3] or 0),
        "gtpu": lambda layer: 8 + (layer.number("length") or 0),
    }
)

_ICMP_ERRORS = (3, 4, 5, 11, 12)  # RFC 792: with the packet they are about
_ICMPV6_ERRORS = (1, 2, 3, 4)  # RFC 4443
_VXLAN_GPE, _GPE_NEXT = 0x04, ("raw", "ip", "ipv6", "eth")  # draft-ietf-nvo3-vxlan-gpe


def _following(layer: Layer, byte: int) -> str:
    """The key of the next header, which starts with ``byte``."""
    spec = layer.spec
    peek = _PEEKS.get(spec.key)
    if peek is not None:
        return peek(layer, byte)
    if spec.next_at < 0:
        return _ND_OPTIONS.get(byte, "raw") if spec.key in _BEFORE_OPTIONS else "raw"
    return spec.next_header.get(layer.numbers[spec.next_at] or 0, "raw")


_BEFORE_OPTIONS = frozenset((*_ND_OPTIONS.values(), *(row.key for row in _ND.values())))


def _after_ip(layer: Layer, byte: int) -> str:
    if layer.numbers[6]:
        return "raw"  # a later fragment starts in the middle of something
    return layer.spec.next_header.get(layer.numbers[8] or 0, "raw")


def _after_fragment(layer: Layer, byte: int) -> str:
    return "raw" if layer.number("offset") else layer.spec.next_header.get(layer.numbers[0] or 0, "raw")


def _by_version(byte: int) -> str:
    return "ip" if byte >> 4 == 4 else "ipv6" if byte >> 4 == 6 else "raw"


def _after_mpls(layer: Layer, byte: int) -> str:
    return _by_version(byte) if layer.number("s") else "mpls"


def _after_gtpu(layer: Layer, byte: int) -> str:
    plain = layer.number("gtp_type") == 255 and not layer.number("next_ex")
    return _by_version(byte) if plain else "raw"


def _after_vxlan(layer: Layer, byte: int) -> str:
    if not (layer.numbers[0] or 0) & _VXLAN_GPE:
        return "eth"
    number = (layer.numbers[1] or 0) & 0xFF
    return _GPE_NEXT[number] if number < len(_GPE_NEXT) else "raw"


_PEEKS: Mapping[str, Callable[[Layer, int], str]] = MappingProxyType(
    {
        "ip": _after_ip,
        "fragment": _after_fragment,
        "mpls": _after_mpls,
        "gtpu": _after_gtpu,
        "vxlan": _after_vxlan,
        "icmp": lambda layer, byte: "ip" if layer.numbers[0] in _ICMP_ERRORS and byte >> 4 == 4 else "raw",
        "icmpv6": lambda layer, byte: "ipv6" if layer.numbers[0] in _ICMPV6_ERRORS and byte >> 4 == 6 else "raw",
    }
)
