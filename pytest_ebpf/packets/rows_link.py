"""Headers of the link: Ethernet, tags, ARP, MPLS, and what ``-i any`` captures start with."""

from __future__ import annotations

from pytest_ebpf.packets.fields import Field
from pytest_ebpf.packets.rows_common import ETHERTYPES, EXPERIMENTAL_ETHERTYPE, MAC_1, MAC_2, address
from pytest_ebpf.packets.spec import HeaderSpec

__all__ = ["LINK_ROWS"]

_ETHERTYPE = Field("type", 16, "hex")
_TAG = (
    Field("prio", 3, default=0),
    Field("dei", 1, default=0),
    Field("id", 12, default=1, aliases=("vlan", "vid")),
    _ETHERTYPE,
)
_ARP_OPS = (("who-has", 1), ("is-at", 2))


def _typed(name: str, title: str, *, fields: tuple[Field, ...], key: str = "", by: str = "type") -> HeaderSpec:
    return HeaderSpec(
        name,
        title,
        fields,
        key=key,
        next_field=by,
        following=ETHERTYPES,
        next_unknown=EXPERIMENTAL_ETHERTYPE,
    )


LINK_ROWS = (
    _typed("eth", "Eth", fields=(Field("dst", 48, "mac", MAC_2), Field("src", 48, "mac", MAC_1), _ETHERTYPE)),
    _typed("vlan", "VLAN", fields=_TAG),
    _typed("vlan", "QinQ", fields=_TAG, key="qinq"),
    HeaderSpec(
        "arp",
        "ARP",
        (
            Field("hwtype", 16, default=1),
            Field("ptype", 16, "hex", 0x0800),
            Field("hwlen", 8, default=6),
            Field("plen", 8, default=4),
            Field("op", 16, default=1, names=_ARP_OPS),
            Field("hwsrc", 48, "mac", MAC_1, aliases=("sha",)),
            Field("psrc", 32, "ipv4", address("192.0.2.1"), aliases=("spa",)),
            Field("hwdst", 48, "mac", 0, aliases=("tha",)),
            Field("pdst", 32, "ipv4", address("192.0.2.2"), aliases=("tpa",)),
        ),
    ),
    HeaderSpec(
        "mpls",
        "MPLS",
        (
            Field("label", 20, default=16),
            Field("cos", 3, default=0, aliases=("tc", "exp")),
            Field("s", 1),
            Field("ttl", 8, default=64),
        ),
    ),
    _typed(
        "sll",
        "SLL",
        fields=(
            Field("pkttype", 16, default=0),
            Field("lladdrtype", 16, default=1),
            Field("lladdrlen", 16, default=6),
            Field("src", 64, "hex", MAC_1 << 16),
            Field("proto", 16, "hex"),
        ),
        by="proto",
    ),
    _typed(
        "sll2",
        "SLL2",
        fields=(
            Field("proto", 16, "hex"),
            Field("reserved", 16, default=0),
            Field("ifindex", 32, default=1),
            Field("lladdrtype", 16, default=1),
            Field("pkttype", 8, default=0),
            Field("lladdrlen", 8, default=6),
            Field("src", 64, "hex", MAC_1 << 16),
        ),
        by="proto",
    ),
)
