"""Headers of the network layer: IPv4, IPv6 with its extension headers, ICMP, ICMPv6 with neighbour discovery."""

from __future__ import annotations

from pytest_ebpf.packets.fields import Field
from pytest_ebpf.packets.rows_common import (
    CHECKSUM,
    EXPERIMENTAL_PROTOCOL,
    IPV4_PROTOCOLS,
    IPV6_HEADERS,
    MAC_1,
    PROTOCOL_NAMES,
    address,
)
from pytest_ebpf.packets.spec import HeaderSpec

__all__ = ["NETWORK_ROWS"]

_V6_1, _V6_2 = address("2001:db8::1"), address("2001:db8::2")
_NEXT = Field("nh", 8, aliases=("nexthdr",), names=PROTOCOL_NAMES)
_ECHO = (Field("id", 16, default=0), Field("seq", 16, default=0, aliases=("sequence", "nexthopmtu")))
_ICMP_TYPES = (("echo-reply", 0), ("dest-unreach", 3), ("redirect", 5), ("echo-request", 8), ("time-exceeded", 11))


def _ipv6(name: str, title: str, *, fields: tuple[Field, ...], tail: str = "", codec: str = "") -> HeaderSpec:
    return HeaderSpec(
        name,
        title,
        fields,
        tail=tail,
        codec=codec,
        next_field="nh",
        following=IPV6_HEADERS,
        next_unknown=EXPERIMENTAL_PROTOCOL,
    )


def _icmpv6(title: str, type: int, *, fields: tuple[Field, ...] = _ECHO, key: str = "") -> HeaderSpec:
    head = (Field("type", 8, default=type), Field("code", 8, default=0), CHECKSUM)
    return HeaderSpec("icmpv6", title, (*head, *fields), key=key, sum="pseudo", protocol=58)


def _option(title: str, fields: tuple[Field, ...], *, number: int, length: int) -> HeaderSpec:
    """An option of neighbour discovery; its length is in units of eight bytes."""
    head = (Field("type", 8, default=number), Field("len", 8, default=length))
    return HeaderSpec(title[len("ICMPv6") :].lower(), title, (*head, *fields))


_IP = HeaderSpec(
    "ip",
    "IP",
    (
        Field("version", 4, default=4),
        Field("ihl", 4),
        Field("tos", 8, "hex", 0),
        Field("len", 16, aliases=("tot_len",)),
        Field("id", 16, default=0),
        Field("flags", 3, "ipflags", 0),
        Field("frag", 13, default=0),
        Field("ttl", 8, default=64),
        Field("proto", 8, aliases=("protocol",), names=PROTOCOL_NAMES),
        CHECKSUM,
        Field("src", 32, "ipv4", address("192.0.2.1"), aliases=("saddr",)),
        Field("dst", 32, "ipv4", address("192.0.2.2"), aliases=("daddr",)),
    ),
    tail="options",
    codec="ip",
    next_field="proto",
    following=IPV4_PROTOCOLS,
    next_unknown=EXPERIMENTAL_PROTOCOL,
    sum="header",
)

NETWORK_ROWS = (
    _IP,
    _ipv6(
        "ipv6",
        "IPv6",
        fields=(
            Field("version", 4, default=6),
            Field("tc", 8, "hex", 0),
            Field("fl", 20, "hex", 0),
            Field("plen", 16, aliases=("payload_len",)),
            _NEXT,
            Field("hlim", 8, default=64, aliases=("hop_limit",)),
            Field("src", 128, "ipv6", _V6_1, aliases=("saddr",)),
            Field("dst", 128, "ipv6", _V6_2, aliases=("daddr",)),
        ),
    ),
    _ipv6("hopbyhop", "IPv6ExtHdrHopByHop", fields=(_NEXT, Field("len", 8)), tail="options", codec="ipv6"),
    _ipv6("destopt", "IPv6ExtHdrDestOpt", fields=(_NEXT, Field("len", 8)), tail="options", codec="ipv6"),
    _ipv6(
        "routing",
        "IPv6ExtHdrRouting",
        fields=(
            _NEXT,
            Field("len", 8),
            Field("type", 8, default=0),
            Field("segleft", 8),
            Field("reserved", 32, default=0),
        ),
        tail="addresses",
        codec="addresses",
    ),
    _ipv6(
        "fragment",
        "IPv6ExtHdrFragment",
        fields=(
            _NEXT,
            Field("res1", 8, default=0),
            Field("offset", 13, default=0),
            Field("res2", 2, default=0),
            Field("m", 1, default=0),
            Field("id", 32, default=0),
        ),
    ),
    HeaderSpec(
        "icmp",
        "ICMP",
        (Field("type", 8, default=8, names=_ICMP_TYPES), Field("code", 8, default=0), CHECKSUM, *_ECHO),
        sum="plain",
    ),
    _icmpv6("ICMPv6", 128),
    _icmpv6("ICMPv6ND_RS", 133, fields=(Field("res", 32, default=0),), key="nd_rs"),
    _icmpv6(
        "ICMPv6ND_RA",
        134,
        fields=(
            Field("chlim", 8, default=0),
            *(Field(name, 1, default=0) for name in ("M", "O", "H")),
            Field("prf", 2, default=1),
            Field("P", 1, default=0),
            Field("res", 2, default=0),
            Field("routerlifetime", 16, default=1800),
            Field("reachabletime", 32, default=0),
            Field("retranstimer", 32, default=0),
        ),
        key="nd_ra",
    ),
    _icmpv6("ICMPv6ND_NS", 135, fields=(Field("res", 32, default=0), Field("tgt", 128, "ipv6", _V6_2)), key="nd_ns"),
    _icmpv6(
        "ICMPv6ND_NA",
        136,
        fields=(
            *(Field(name, 1, default=default) for name, default in (("R", 1), ("S", 0), ("O", 1))),
            Field("res", 29, default=0),
            Field("tgt", 128, "ipv6", _V6_1),
        ),
        key="nd_na",
    ),
    _option("ICMPv6NDOptSrcLLAddr", (Field("lladdr", 48, "mac", MAC_1),), number=1, length=1),
    _option("ICMPv6NDOptDstLLAddr", (Field("lladdr", 48, "mac", MAC_1),), number=2, length=1),
    _option(
        "ICMPv6NDOptPrefixInfo",
        (
            Field("prefixlen", 8, default=64),
            *(Field(name, 1, default=default) for name, default in (("L", 1), ("A", 1), ("R", 0))),
            Field("res1", 5, default=0),
            Field("validlifetime", 32, "hex", 0xFFFFFFFF),
            Field("preferredlifetime", 32, "hex", 0xFFFFFFFF),
            Field("res2", 32, default=0),
            Field("prefix", 128, "ipv6", address("2001:db8::")),
        ),
        number=3,
        length=4,
    ),
    _option("ICMPv6NDOptMTU", (Field("res", 16, default=0), Field("mtu", 32, default=1280)), number=5, length=1),
)
