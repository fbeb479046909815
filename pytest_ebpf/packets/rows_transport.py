"""Headers of the transport layer, tunnels, and plain bytes."""

from __future__ import annotations

from pytest_ebpf.packets.fields import Field
from pytest_ebpf.packets.rows_common import CHECKSUM, ETHERTYPES, EXPERIMENTAL_ETHERTYPE
from pytest_ebpf.packets.spec import HeaderSpec

__all__ = ["TRANSPORT_ROWS"]

_SPORT = Field("sport", 16, default=40000, aliases=("source",))
_DPORT = Field("dport", 16, default=9, aliases=("dest",))
_PROTO = Field("proto", 16, "hex")
# IANA port numbers; 8472 is what Linux used for VXLAN before there was one. 9 is "discard".
_UDP_PORTS = ((4789, "vxlan"), (8472, "vxlan"), (6081, "geneve"), (2152, "gtpu"), (6635, "mpls"))


def _flag(name: str, default: int | None = 0) -> Field:
    return Field(name, 1, default=default)


_SUMMED, _KEYED, _COUNTED = ("chksum_present", "routing_present"), ("key_present",), ("seqnum_present",)
_GRE = HeaderSpec(
    "gre",
    "GRE",
    (
        _flag("chksum_present", None),
        _flag("routing_present"),
        _flag("key_present", None),
        _flag("seqnum_present", None),
        _flag("strict_route_source"),
        Field("recursion_control", 3, default=0),
        Field("flags", 5, default=0),
        Field("version", 3, default=0),
        _PROTO,
        Field("chksum", 16, "hex", when=_SUMMED),
        Field("offset", 16, when=_SUMMED),
        Field("key", 32, "hex", when=_KEYED),
        Field("sequence_number", 32, when=_COUNTED, aliases=("seq", "seqence_number")),  # as scapy spelt it once
    ),
    next_field="proto",
    following=ETHERTYPES,
    next_unknown=EXPERIMENTAL_ETHERTYPE,
    sum="plain",
)

_MORE = ("E", "S", "PN")
_GTPU = HeaderSpec(
    "gtpu",
    "GTPU",
    (
        Field("version", 3, default=1),
        _flag("PT", 1),
        _flag("reserved"),
        _flag("E", None),
        _flag("S", None),
        _flag("PN", None),
        Field("gtp_type", 8, default=255),
        Field("length", 16),
        Field("teid", 32, "hex", 0),
        Field("seq", 16, when=_MORE),
        Field("npdu", 8, when=_MORE),
        Field("next_ex", 8, when=_MORE),
    ),
)

TRANSPORT_ROWS = (
    HeaderSpec(
        "udp",
        "UDP",
        (_SPORT, Field("dport", 16, aliases=("dest",)), Field("len", 16), CHECKSUM),
        next_field="dport",
        following=_UDP_PORTS,
        next_unknown=9,
        sum="pseudo",
        protocol=17,
    ),
    HeaderSpec(
        "tcp",
        "TCP",
        (
            _SPORT,
            _DPORT,
            Field("seq", 32, default=0),
            Field("ack", 32, default=0, aliases=("ack_seq",)),
            Field("dataofs", 4, aliases=("doff",)),
            Field("reserved", 3, default=0),
            Field("flags", 9, "tcpflags", 0x02),
            Field("window", 16, default=65535),
            CHECKSUM,
            Field("urgptr", 16, default=0, aliases=("urg_ptr",)),
        ),
        tail="options",
        codec="tcp",
        sum="pseudo",
        protocol=6,
    ),
    HeaderSpec("sctp", "SCTP", (_SPORT, _DPORT, Field("tag", 32, "hex", 0), Field("chksum", 32, "hex")), sum="crc32c"),
    HeaderSpec("esp", "ESP", (Field("spi", 32, "hex", 0x100), Field("seq", 32, default=1))),
    _GRE,
    HeaderSpec(
        "vxlan",
        "VXLAN",
        (
            Field("flags", 8, "hex", 0x08),
            Field("reserved1", 24, default=0),
            Field("vni", 24, default=0),
            Field("reserved2", 8, default=0),
        ),
    ),
    HeaderSpec(
        "geneve",
        "GENEVE",
        (
            Field("version", 2, default=0),
            Field("optionlen", 6),
            _flag("oam"),
            _flag("critical"),
            Field("reserved", 6, default=0),
            _PROTO,
            Field("vni", 24, default=0),
            Field("reserved2", 8, default=0),
        ),
        tail="options",
        codec="geneve",
        next_field="proto",
        following=ETHERTYPES,
        next_unknown=EXPERIMENTAL_ETHERTYPE,
    ),
    _GTPU,
    HeaderSpec("raw", "Raw", tail="load"),
    HeaderSpec("pad", "Pad", tail="load"),
)
