"""Fields and numbers that several rows of the table of headers share.

Defaults come from the ranges set aside for documentation and experiments (RFC 5737, RFC 3849, RFC 3692, IEEE 802 local
experimental EtherType), so that a forgotten field does not reach a real host.
"""

from __future__ import annotations

import ipaddress

from pytest_ebpf.packets.fields import Field

__all__ = [
    "CHECKSUM",
    "ETHERTYPES",
    "EXPERIMENTAL_ETHERTYPE",
    "EXPERIMENTAL_PROTOCOL",
    "IPV4_PROTOCOLS",
    "IPV6_HEADERS",
    "MAC_1",
    "MAC_2",
    "PROTOCOL_NAMES",
    "address",
]

MAC_1, MAC_2 = 0x020000000001, 0x020000000002
CHECKSUM = Field("chksum", 16, "hex", aliases=("check", "cksum"))

# IEEE 802 numbers. 0x88b5 is "local experimental EtherType 1", 0x6558 is Ethernet in GRE and GENEVE.
ETHERTYPES = (
    (0x0800, "ip"),
    (0x86DD, "ipv6"),
    (0x0806, "arp"),
    (0x8100, "vlan"),
    (0x88A8, "qinq"),
    (0x8847, "mpls"),
    (0x8848, "mpls"),
    (0x6558, "eth"),
)
EXPERIMENTAL_ETHERTYPE = 0x88B5

# IANA protocol numbers. 253 is set aside for experiments.
IPV4_PROTOCOLS = (
    (1, "icmp"),
    (6, "tcp"),
    (17, "udp"),
    (4, "ip"),
    (41, "ipv6"),
    (47, "gre"),
    (50, "esp"),
    (58, "icmpv6"),
    (132, "sctp"),
    (137, "mpls"),
)
IPV6_HEADERS = (*IPV4_PROTOCOLS, (0, "hopbyhop"), (43, "routing"), (44, "fragment"), (60, "destopt"))
EXPERIMENTAL_PROTOCOL = 253
PROTOCOL_NAMES = (("icmp", 1), ("tcp", 6), ("udp", 17), ("gre", 47), ("esp", 50), ("icmpv6", 58), ("sctp", 132))


def address(text: str) -> int:
    """The number of an IPv4 or IPv6 address."""
    return int(ipaddress.ip_address(text))
