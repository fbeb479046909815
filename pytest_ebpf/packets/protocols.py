"""The headers this package knows, as one table. A protocol is a row; building and parsing read the row.

Field names are the ones Scapy users know. Defaults come from the ranges set aside for documentation and experiments
(RFC 5737, RFC 3849, RFC 3692, IEEE 802 local experimental EtherType), so that a forgotten field does not reach a real
host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pytest_ebpf.packets.fields import Field

__all__ = ["PROTOCOLS", "HeaderSpec"]


@dataclass(frozen=True, slots=True)
class HeaderSpec:
    """One header. ``name`` is what paths use ("ip.ttl"), ``title`` what is written to build one (IP(...)).

    ``tail`` names a field of bytes behind the fixed part ("options", or "load" for raw bytes). ``next_field`` says
    what follows; ``following`` maps its numbers to header names, the first one of a name being the one to write.
    ``next_unknown`` is written when what follows is not in the table.
    """

    name: str
    title: str
    fields: tuple[Field, ...] = ()
    tail: str = ""
    next_field: str = ""
    following: tuple[tuple[int, str], ...] = ()
    next_unknown: int = 0

    @property
    def size(self) -> int:
        """Bytes of the fixed part."""
        return sum(field.bits for field in self.fields) // 8

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all fields, the tail included."""
        return tuple(field.name for field in self.fields) + ((self.tail,) if self.tail else ())

    def number_of(self, name: str) -> int:
        """The value of ``next_field`` for header ``name``."""
        return next((number for number, header in self.following if header == name), self.next_unknown)


def _address(text: str) -> int:
    return int(ipaddress.ip_address(text))


_MAC_1, _MAC_2 = 0x020000000001, 0x020000000002
_CHECKSUM = Field("chksum", 16, "hex")

# IEEE 802 numbers. 0x88b5 is "local experimental EtherType 1".
_ETHERTYPES = ((0x0800, "ip"), (0x86DD, "ipv6"), (0x0806, "arp"), (0x8100, "vlan"), (0x88A8, "vlan"))
_ETHERTYPE = Field("type", 16, "hex")
_EXPERIMENTAL_ETHERTYPE = 0x88B5

# IANA protocol numbers. 253 is set aside for experiments.
_IP_PROTOCOLS = ((1, "icmp"), (6, "tcp"), (17, "udp"), (4, "ip"), (41, "ipv6"), (58, "icmpv6"))
_EXPERIMENTAL_PROTOCOL = 253

_ECHO = (Field("id", 16, default=0), Field("seq", 16, default=0))
_PORTS = (Field("sport", 16, default=40000), Field("dport", 16, default=9))

_ROWS = (
    HeaderSpec(
        "eth",
        "Eth",
        (Field("dst", 48, "mac", _MAC_2), Field("src", 48, "mac", _MAC_1), _ETHERTYPE),
        next_field="type",
        following=_ETHERTYPES,
        next_unknown=_EXPERIMENTAL_ETHERTYPE,
    ),
    HeaderSpec(
        "vlan",
        "VLAN",
        (Field("prio", 3, default=0), Field("dei", 1, default=0), Field("id", 12, default=1), _ETHERTYPE),
        next_field="type",
        following=_ETHERTYPES,
        next_unknown=_EXPERIMENTAL_ETHERTYPE,
    ),
    HeaderSpec(
        "arp",
        "ARP",
        (
            Field("hwtype", 16, default=1),
            Field("ptype", 16, "hex", 0x0800),
            Field("hwlen", 8, default=6),
            Field("plen", 8, default=4),
            Field("op", 16, default=1),
            Field("hwsrc", 48, "mac", _MAC_1),
            Field("psrc", 32, "ipv4", _address("192.0.2.1")),
            Field("hwdst", 48, "mac", 0),
            Field("pdst", 32, "ipv4", _address("192.0.2.2")),
        ),
    ),
    HeaderSpec(
        "ip",
        "IP",
        (
            Field("version", 4, default=4),
            Field("ihl", 4),
            Field("tos", 8, "hex", 0),
            Field("len", 16),
            Field("id", 16, default=0),
            Field("flags", 3, default=0),
            Field("frag", 13, default=0),
            Field("ttl", 8, default=64),
            Field("proto", 8),
            _CHECKSUM,
            Field("src", 32, "ipv4", _address("192.0.2.1")),
            Field("dst", 32, "ipv4", _address("192.0.2.2")),
        ),
        tail="options",
        next_field="proto",
        following=_IP_PROTOCOLS,
        next_unknown=_EXPERIMENTAL_PROTOCOL,
    ),
    HeaderSpec(
        "ipv6",
        "IPv6",
        (
            Field("version", 4, default=6),
            Field("tc", 8, "hex", 0),
            Field("fl", 20, "hex", 0),
            Field("plen", 16),
            Field("nh", 8),
            Field("hlim", 8, default=64),
            Field("src", 128, "ipv6", _address("2001:db8::1")),
            Field("dst", 128, "ipv6", _address("2001:db8::2")),
        ),
        next_field="nh",
        following=_IP_PROTOCOLS,
        next_unknown=_EXPERIMENTAL_PROTOCOL,
    ),
    HeaderSpec("udp", "UDP", (*_PORTS, Field("len", 16), _CHECKSUM)),
    HeaderSpec(
        "tcp",
        "TCP",
        (
            *_PORTS,
            Field("seq", 32, default=0),
            Field("ack", 32, default=0),
            Field("dataofs", 4),
            Field("reserved", 3, default=0),
            Field("flags", 9, "tcpflags", 0x02),
            Field("window", 16, default=65535),
            _CHECKSUM,
            Field("urgptr", 16, default=0),
        ),
        tail="options",
    ),
    HeaderSpec("icmp", "ICMP", (Field("type", 8, default=8), Field("code", 8, default=0), _CHECKSUM, *_ECHO)),
    HeaderSpec("icmpv6", "ICMPv6", (Field("type", 8, default=128), Field("code", 8, default=0), _CHECKSUM, *_ECHO)),
    HeaderSpec("raw", "Raw", tail="load"),
    HeaderSpec("pad", "Pad", tail="load"),
)

PROTOCOLS: Mapping[str, HeaderSpec] = MappingProxyType({row.name: row for row in _ROWS})
