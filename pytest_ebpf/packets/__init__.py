"""Packets for tests: build, parse and compare them field by field. Pure: bytes and values only."""

from __future__ import annotations

from pytest_ebpf.packets.build import ARP, ICMP, IP, TCP, UDP, VLAN, Eth, ICMPv6, IPv6, Pad, Raw
from pytest_ebpf.packets.diff import Difference, assert_packet, diff_packets, render_differences
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.packets.parse import parse_packet
from pytest_ebpf.packets.pcap import Capture, Frame, parse_pcap, render_pcap

__all__ = [
    "ARP",
    "ICMP",
    "IP",
    "TCP",
    "UDP",
    "VLAN",
    "Capture",
    "Difference",
    "Eth",
    "Frame",
    "ICMPv6",
    "IPv6",
    "Packet",
    "Pad",
    "Raw",
    "assert_packet",
    "diff_packets",
    "parse_packet",
    "parse_pcap",
    "render_differences",
    "render_pcap",
]
