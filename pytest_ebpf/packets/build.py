"""One function per header. Omitted fields get a harmless default; lengths, types and checksums (None) are computed.

Addresses are text (or bytes, or int), TCP flags are letters as in "SA", options are lists of pairs or bytes. ::

    Eth() / VLAN(id=7) / IP(dst="198.51.100.7") / TCP(dport=443, flags="S", options=[("MSS", 1460)]) / b"hello"

Names of headers and fields are scapy's; docs/packets.md lists them all, with their defaults and other names.
"""

from __future__ import annotations

from pytest_ebpf.packets.layer import FieldValue, make_layer
from pytest_ebpf.packets.packet import Packet

__all__ = [
    "ARP",
    "ESP",
    "GENEVE",
    "GRE",
    "GTPU",
    "ICMP",
    "IP",
    "MPLS",
    "SCTP",
    "SLL",
    "SLL2",
    "TCP",
    "UDP",
    "VLAN",
    "VXLAN",
    "CookedLinux",
    "CookedLinuxV2",
    "Dot1AD",
    "Dot1Q",
    "Eth",
    "Ether",
    "GTP_U_Header",
    "ICMPv6",
    "ICMPv6EchoReply",
    "ICMPv6EchoRequest",
    "ICMPv6NDOptDstLLAddr",
    "ICMPv6NDOptMTU",
    "ICMPv6NDOptPrefixInfo",
    "ICMPv6NDOptSrcLLAddr",
    "ICMPv6ND_NA",
    "ICMPv6ND_NS",
    "ICMPv6ND_RA",
    "ICMPv6ND_RS",
    "IPv6",
    "IPv6ExtHdrDestOpt",
    "IPv6ExtHdrFragment",
    "IPv6ExtHdrHopByHop",
    "IPv6ExtHdrRouting",
    "Pad",
    "Padding",
    "QinQ",
    "Raw",
]


def _one(key: str, values: dict[str, FieldValue]) -> Packet:
    return Packet((make_layer(key, values),))


def Eth(**fields: FieldValue) -> Packet:
    """Ethernet II: dst, src, type (from what follows)."""
    return _one("eth", fields)


def VLAN(**fields: FieldValue) -> Packet:
    """802.1Q tag: prio, dei, id (or vlan), type (from what follows). The header before it gets type 0x8100."""
    return _one("vlan", fields)


def QinQ(**fields: FieldValue) -> Packet:
    """802.1ad service tag, as ``VLAN``. The header before it gets type 0x88a8. Its name in paths is "vlan"."""
    return _one("qinq", fields)


def ARP(**fields: FieldValue) -> Packet:
    """ARP for IPv4 over Ethernet: op (1 or "who-has", 2 or "is-at"), hwsrc (sha), psrc (spa), hwdst (tha), pdst (tpa),
    hwtype, ptype, hwlen, plen."""
    return _one("arp", fields)


def MPLS(**fields: FieldValue) -> Packet:
    """MPLS label: label, cos, s (1 in the last label of a stack), ttl."""
    return _one("mpls", fields)


def SLL(**fields: FieldValue) -> Packet:
    """What a capture of ``-i any`` starts with: pkttype, lladdrtype, lladdrlen, src (eight bytes), proto."""
    return _one("sll", fields)


def SLL2(**fields: FieldValue) -> Packet:
    """As ``SLL``, version 2: proto, reserved, ifindex, lladdrtype, pkttype, lladdrlen, src."""
    return _one("sll2", fields)


def IP(**fields: FieldValue) -> Packet:
    """IPv4: src, dst, ttl, proto, tos, id, flags ("DF", "MF", "DF+MF" or a number), frag (units of 8 bytes), ihl, len,
    chksum, version, options (list or bytes, filled up with zeros to a multiple of four)."""
    return _one("ip", fields)


def IPv6(**fields: FieldValue) -> Packet:
    """IPv6: src, dst, hlim, nh, tc, fl, plen, version."""
    return _one("ipv6", fields)


def IPv6ExtHdrHopByHop(**fields: FieldValue) -> Packet:
    """Hop-by-hop options: nh, len (units of eight bytes, without the first), options (list or bytes; padded)."""
    return _one("hopbyhop", fields)


def IPv6ExtHdrDestOpt(**fields: FieldValue) -> Packet:
    """Destination options, as ``IPv6ExtHdrHopByHop``."""
    return _one("destopt", fields)


def IPv6ExtHdrRouting(**fields: FieldValue) -> Packet:
    """Routing header: nh, len, type, segleft (all of them), reserved, addresses (a list or bytes)."""
    return _one("routing", fields)


def IPv6ExtHdrFragment(**fields: FieldValue) -> Packet:
    """Fragment header: nh, offset (units of eight bytes), m (1: more follow), id, res1, res2."""
    return _one("fragment", fields)


def UDP(**fields: FieldValue) -> Packet:
    """UDP: sport, dport (that of the tunnel inside, else 9), len, chksum (0 to send none)."""
    return _one("udp", fields)


def TCP(**fields: FieldValue) -> Packet:
    """TCP: sport, dport, seq, ack, flags (letters FSRPAUEC, or int), window, urgptr, dataofs, reserved, chksum,
    options (list or bytes, filled up with zeros to a multiple of four)."""
    return _one("tcp", fields)


def SCTP(**fields: FieldValue) -> Packet:
    """SCTP: sport, dport, tag, chksum (CRC32c). Chunks are the bytes behind it."""
    return _one("sctp", fields)


def ICMP(**fields: FieldValue) -> Packet:
    """ICMP: type (8: echo request), code, chksum, id, seq (the second word of other types)."""
    return _one("icmp", fields)


def ICMPv6(**fields: FieldValue) -> Packet:
    """ICMPv6: type (128: echo request), code, chksum, id, seq (the second word of other types)."""
    return _one("icmpv6", fields)


def ICMPv6EchoRequest(**fields: FieldValue) -> Packet:
    """ICMPv6 of type 128: id, seq, code, chksum."""
    return _one("icmpv6", fields)


def ICMPv6EchoReply(**fields: FieldValue) -> Packet:
    """ICMPv6 of type 129: id, seq, code, chksum."""
    return _one("icmpv6", {"type": 129, **fields})


def ICMPv6ND_RS(**fields: FieldValue) -> Packet:
    """Router solicitation: res, type, code, chksum. Its name in paths is "icmpv6"."""
    return _one("nd_rs", fields)


def ICMPv6ND_RA(**fields: FieldValue) -> Packet:
    """Router advertisement: chlim, M, O, H, prf, P, res, routerlifetime, reachabletime, retranstimer."""
    return _one("nd_ra", fields)


def ICMPv6ND_NS(**fields: FieldValue) -> Packet:
    """Neighbour solicitation: tgt, res."""
    return _one("nd_ns", fields)


def ICMPv6ND_NA(**fields: FieldValue) -> Packet:
    """Neighbour advertisement: tgt, R, S, O, res."""
    return _one("nd_na", fields)


def ICMPv6NDOptSrcLLAddr(**fields: FieldValue) -> Packet:
    """Option of neighbour discovery, the link address of the sender: lladdr, type, len."""
    return _one("ndoptsrclladdr", fields)


def ICMPv6NDOptDstLLAddr(**fields: FieldValue) -> Packet:
    """Option of neighbour discovery, the link address of the target: lladdr, type, len."""
    return _one("ndoptdstlladdr", fields)


def ICMPv6NDOptPrefixInfo(**fields: FieldValue) -> Packet:
    """Option of neighbour discovery: prefix, prefixlen, L, A, R, validlifetime, preferredlifetime."""
    return _one("ndoptprefixinfo", fields)


def ICMPv6NDOptMTU(**fields: FieldValue) -> Packet:
    """Option of neighbour discovery: mtu."""
    return _one("ndoptmtu", fields)


def GRE(**fields: FieldValue) -> Packet:
    """GRE: proto (from what follows), key, sequence_number (seq), chksum, offset, which are there if given or if
    key_present, seqnum_present, chksum_present, routing_present say so; flags, version and more."""
    return _one("gre", fields)


def VXLAN(**fields: FieldValue) -> Packet:
    """VXLAN: vni, flags (8: there is a VNI), reserved1, reserved2. The UDP header before it gets port 4789."""
    return _one("vxlan", fields)


def GENEVE(**fields: FieldValue) -> Packet:
    """GENEVE: vni, proto (from what follows), options (a list of (class, type, bytes), or bytes), oam, critical,
    optionlen, version, reserved, reserved2. The UDP header before it gets port 6081."""
    return _one("geneve", fields)


def GTPU(**fields: FieldValue) -> Packet:
    """GTP-U: teid, gtp_type (255: a packet of the user), length, seq, npdu, next_ex, which are there if one is given or
    S, PN, E say so; version, PT. The UDP header before it gets port 2152."""
    return _one("gtpu", fields)


def ESP(**fields: FieldValue) -> Packet:
    """ESP: spi, seq. What is encrypted are the bytes behind it."""
    return _one("esp", fields)


def Raw(load: bytes = b"") -> Packet:
    """Bytes as they are. ``header / b"..."`` means the same."""
    return _one("raw", {"load": load})


def Pad(load: bytes = b"") -> Packet:
    """Bytes behind the packet that are not part of any length: padding of a short Ethernet frame."""
    return _one("pad", {"load": load})


# scapy's names of some.
Ether, Dot1Q, Dot1AD, Padding, GTP_U_Header = Eth, VLAN, QinQ, Pad, GTPU
CookedLinux, CookedLinuxV2 = SLL, SLL2
