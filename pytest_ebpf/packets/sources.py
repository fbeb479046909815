"""What may be given as a packet: ours, bytes, those of scapy and dpkt, the result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol, SupportsBytes, runtime_checkable

from pytest_ebpf.packets.layer import Layer

__all__ = ["HasData", "PacketLike", "first_header", "foreign_header", "packet_bytes"]


@runtime_checkable
class HasData(Protocol):
    """The result of a program run: the packet is in ``data``."""

    @property
    def data(self) -> bytes: ...


PacketLike = bytes | SupportsBytes | HasData

# The classes of scapy and dpkt by name.
_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        **{name: name.lower() for name in ("IP", "IPv6", "ARP", "TCP", "UDP", "ICMP", "GRE", "MPLS", "SCTP", "VXLAN")},
        **{"Ether": "eth", "Ethernet": "eth", "Dot1Q": "vlan", "Dot1AD": "qinq", "IP6": "ipv6", "ICMP6": "icmpv6"},
        **{"Raw": "raw", "Padding": "pad", "GENEVE": "geneve", "ESP": "esp"},
        **{"CookedLinux": "sll", "CookedLinuxV2": "sll2", "GTPHeader": "gtpu", "GTP_U_Header": "gtpu"},
        **{"IPv6ExtHdrHopByHop": "hopbyhop", "IPv6ExtHdrDestOpt": "destopt", "IPv6ExtHdrFragment": "fragment"},
        **{"IPv6ExtHdrRouting": "routing", "ICMPv6EchoRequest": "icmpv6", "ICMPv6EchoReply": "icmpv6"},
        **{"ICMPv6ND_NS": "icmpv6", "ICMPv6ND_NA": "icmpv6", "ICMPv6ND_RS": "icmpv6", "ICMPv6ND_RA": "icmpv6"},
    }
)


def foreign_header(packet: object) -> str:
    """The first header of a packet of scapy or dpkt, "" for anything else."""
    kind = type(packet)
    return _CLASSES.get(kind.__name__, "raw") if kind.__module__.partition(".")[0] in ("scapy", "dpkt") else ""


def first_header(packet: object) -> str:
    """The name of the first header, "" where the object does not say."""
    layers = getattr(packet, "layers", None)
    if isinstance(layers, tuple) and layers and isinstance(layers[0], Layer):
        return layers[0].spec.key
    return foreign_header(packet)


def packet_bytes(packet: object) -> bytes:
    """The packet on the wire."""
    if isinstance(packet, (bytes, bytearray, memoryview)):
        return bytes(packet)
    if isinstance(packet, SupportsBytes):  # before .data: scapy's packets have every attribute
        return bytes(packet)
    if isinstance(packet, HasData) and isinstance(packet.data, (bytes, bytearray, memoryview)):
        return bytes(packet.data)
    raise TypeError(f"{type(packet).__name__} is not a packet: give a Packet, bytes or the result of a run")
