"""Bytes to layers. Never fails: bytes that are not a valid header stay raw, and none are lost:
``bytes(parse_packet(data)) == data`` for any data."""

from __future__ import annotations

from pytest_ebpf.packets.layer import Layer
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.packets.protocols import PROTOCOLS, HeaderSpec

__all__ = ["parse_packet"]


def parse_packet(data: bytes, *, first: str = "eth") -> Packet:
    """The packet that starts with header ``first`` ("ip" for programs that do not see a link header)."""
    layers: list[Layer] = []
    name, rest, padding = first, bytes(data), b""
    while name != "raw" and rest:
        layer = _read(PROTOCOLS[name], rest)
        if layer is None:
            break
        layers.append(layer)
        end = _end(layer, len(rest))
        rest, padding = rest[len(layer) : end], rest[end:] + padding
        name = _following(layer)
    if rest:
        layers.append(Layer(PROTOCOLS["raw"], (), rest))
    if padding:
        layers.append(Layer(PROTOCOLS["pad"], (), padding))
    return Packet(tuple(layers))


def _read(spec: HeaderSpec, data: bytes) -> Layer | None:
    if len(data) < spec.size or (spec.name == "arp" and data[:6] != b"\0\1\x08\0\6\4"):
        return None
    whole = int.from_bytes(data[: spec.size], "big")
    numbers: list[int | None] = []
    for field in reversed(spec.fields):
        numbers.append(whole & (1 << field.bits) - 1)
        whole >>= field.bits
    layer = Layer(spec, tuple(reversed(numbers)))
    return Layer(spec, layer.numbers, data[spec.size : _header_size(layer, len(data))])


def _header_size(layer: Layer, available: int) -> int:
    """The size of the header with options. An impossible length is read as no options."""
    words = {"ip": "ihl", "tcp": "dataofs"}.get(layer.name)
    size = 4 * (layer.number(words) or 0) if words else 0
    return size if layer.spec.size <= size <= available else layer.spec.size


def _end(layer: Layer, available: int) -> int:
    """The end of its payload, from the start of the header; bytes behind it are padding."""
    match layer.name:
        case "ip" | "udp":
            end = layer.number("len") or 0
        case "ipv6":
            end = len(layer) + (layer.number("plen") or 0)
        case _:
            return available
    return end if len(layer) <= end <= available else available


def _following(layer: Layer) -> str:
    if not layer.spec.next_field or (layer.name == "ip" and layer.number("frag")):
        return "raw"  # a later fragment starts in the middle of something
    return dict(layer.spec.following).get(layer.number(layer.spec.next_field) or 0, "raw")
