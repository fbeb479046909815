"""Bytes to packets: ``bytes(parse_packet(data)) == data`` for any data."""

from __future__ import annotations

from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.packets.protocols import PROTOCOLS
from pytest_ebpf.packets.read import parse_layers
from pytest_ebpf.packets.sources import PacketLike, first_header, packet_bytes

__all__ = ["parse_packet"]


def parse_packet(data: PacketLike, *, first: str = "") -> Packet:
    """The packet that starts with header ``first`` ("ip" for programs that do not see a link header); unless given, the
    one of a packet of scapy or dpkt, and "eth" for bytes. Never fails: bytes without a header are ``Raw``."""
    name = first or first_header(data) or "eth"
    if name not in PROTOCOLS:
        raise ValueError(f"first={name!r}: there is no such header; there are {', '.join(PROTOCOLS)}")
    return Packet(parse_layers(packet_bytes(data), name))
