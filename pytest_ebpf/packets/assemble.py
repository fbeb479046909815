"""Layers to bytes. Lengths, protocol numbers and checksums that were not given are computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from pytest_ebpf.packets.checksum import internet_checksum, pseudo_header
from pytest_ebpf.packets.layer import Layer

__all__ = ["assemble"]

# (header, assembled bytes behind it) -> computed fields.
_Rule = Callable[[Layer, bytes], Mapping[str, int]]

_PROTOCOL_NUMBERS = MappingProxyType({"tcp": 6, "udp": 17, "icmpv6": 58})


def assemble(layers: Sequence[Layer]) -> bytes:
    """The packet on the wire. Padding behind the last header is not part of any length or checksum."""
    padding = b"".join(layer.tail for layer in layers if layer.name == "pad")
    layers = [layer for layer in layers if layer.name != "pad"]
    payload = b""
    for index in range(len(layers) - 1, -1, -1):
        payload = _complete(layers, index, payload=payload) + payload
    return payload + padding


def _complete(layers: Sequence[Layer], index: int, *, payload: bytes) -> bytes:
    layer = _pad_options(layers[index])
    rule = _RULES.get(layer.name)
    computed = dict(rule(layer, payload)) if rule else {}
    if layer.spec.next_field:
        follower = layers[index + 1].name if index + 1 < len(layers) else ""
        computed[layer.spec.next_field] = layer.spec.number_of(follower)
    layer = layer.fill(computed)
    if "chksum" in layer.spec.names and layer.number("chksum") is None:
        layer = layer.fill({"chksum": _checksum(layer, layers[:index], payload=payload)})
    return bytes(layer)


def _pad_options(layer: Layer) -> Layer:
    """Header lengths are in units of four bytes. Zero ends a list of options in IPv4 and in TCP."""
    missing = -len(layer.tail) % 4
    if layer.spec.tail != "options" or not missing:
        return layer
    return Layer(layer.spec, layer.numbers, layer.tail + bytes(missing))


def _checksum(layer: Layer, before: Sequence[Layer], *, payload: bytes) -> int:
    if layer.name == "ip":
        return internet_checksum(bytes(layer))
    segment = bytes(layer) + payload
    if layer.name == "icmp":
        return internet_checksum(segment)
    addresses = _addresses(before)
    if not addresses:
        return 0  # without a network header there is no checksum
    header = pseudo_header(addresses, protocol=_PROTOCOL_NUMBERS[layer.name], length=len(segment))
    checksum = internet_checksum(header + segment)
    # RFC 768: a UDP checksum of zero is sent as all ones, since zero means "no checksum".
    return checksum or (0xFFFF if layer.name == "udp" else 0)


def _addresses(before: Sequence[Layer]) -> bytes:
    for layer in reversed(before):
        if layer.name in ("ip", "ipv6"):
            size = 4 if layer.name == "ip" else 16
            return b"".join((layer.number(end) or 0).to_bytes(size, "big") for end in ("src", "dst"))
    return b""


def _ip(layer: Layer, payload: bytes) -> Mapping[str, int]:
    return {"ihl": len(layer) // 4, "len": len(layer) + len(payload)}


def _ipv6(layer: Layer, payload: bytes) -> Mapping[str, int]:
    return {"plen": len(payload)}


def _udp(layer: Layer, payload: bytes) -> Mapping[str, int]:
    return {"len": len(layer) + len(payload)}


def _tcp(layer: Layer, payload: bytes) -> Mapping[str, int]:
    return {"dataofs": len(layer) // 4}


_RULES: Mapping[str, _Rule] = MappingProxyType({"ip": _ip, "ipv6": _ipv6, "udp": _udp, "tcp": _tcp})
