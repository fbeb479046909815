"""One function per header. Omitted fields get a harmless default; lengths, types and checksums (None) are computed.

Addresses are text (or bytes, or int), TCP flags are letters as in "SA". ::

    Eth() / VLAN(id=7) / IP(dst="198.51.100.7") / TCP(dport=443, flags="S") / b"hello"
"""

from __future__ import annotations

from pytest_ebpf.packets.fields import Value
from pytest_ebpf.packets.layer import make_layer
from pytest_ebpf.packets.packet import Packet

__all__ = ["ARP", "ICMP", "IP", "TCP", "UDP", "VLAN", "Eth", "ICMPv6", "IPv6", "Pad", "Raw"]


def _one(name: str, values: dict[str, Value | None]) -> Packet:
    return Packet((make_layer(name, values),))


def Eth(**fields: Value | None) -> Packet:
    """Ethernet II: dst, src, type (from what follows)."""
    return _one("eth", fields)


def VLAN(**fields: Value | None) -> Packet:
    """802.1Q tag: prio, dei, id, type (from what follows). The header before it gets type 0x8100."""
    return _one("vlan", fields)


def ARP(**fields: Value | None) -> Packet:
    """ARP for IPv4 over Ethernet: op (1 request, 2 reply), hwsrc, psrc, hwdst, pdst, hwtype, ptype, hwlen, plen."""
    return _one("arp", fields)


def IP(**fields: Value | None) -> Packet:
    """IPv4: src, dst, ttl, proto, tos, id, flags (2: don't fragment), frag (units of 8 bytes), ihl, len, chksum,
    version, options (bytes, filled up with zeros to a multiple of four)."""
    return _one("ip", fields)


def IPv6(**fields: Value | None) -> Packet:
    """IPv6: src, dst, hlim, nh, tc, fl, plen, version. Extension headers: give ``nh`` and raw bytes."""
    return _one("ipv6", fields)


def UDP(**fields: Value | None) -> Packet:
    """UDP: sport, dport, len, chksum (0 to send none)."""
    return _one("udp", fields)


def TCP(**fields: Value | None) -> Packet:
    """TCP: sport, dport, seq, ack, flags (letters FSRPAUEC, or int), window, urgptr, dataofs, reserved, chksum,
    options (bytes, filled up with zeros to a multiple of four)."""
    return _one("tcp", fields)


def ICMP(**fields: Value | None) -> Packet:
    """ICMP: type (8: echo request), code, chksum, id, seq (the second word of other types)."""
    return _one("icmp", fields)


def ICMPv6(**fields: Value | None) -> Packet:
    """ICMPv6: type (128: echo request), code, chksum, id, seq (the second word of other types)."""
    return _one("icmpv6", fields)


def Raw(load: bytes = b"") -> Packet:
    """Bytes as they are. ``header / b"..."`` means the same."""
    return _one("raw", {"load": load})


def Pad(load: bytes = b"") -> Packet:
    """Bytes behind the packet that are not part of any length: padding of a short Ethernet frame."""
    return _one("pad", {"load": load})
