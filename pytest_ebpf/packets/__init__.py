"""Packets for tests: build, parse and compare them field by field. Pure: bytes and values only."""

from __future__ import annotations

from pytest_ebpf.packets import build
from pytest_ebpf.packets.build import *
from pytest_ebpf.packets.capture import Block, Capture, CaptureError, Frame, Interface
from pytest_ebpf.packets.diff import Difference, assert_packet, diff_packets, render_differences
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.packets.parse import parse_packet
from pytest_ebpf.packets.pcap import parse_pcap, render_pcap
from pytest_ebpf.packets.pcapng import render_pcapng

__all__ = [
    "Block",
    "Capture",
    "CaptureError",
    "Difference",
    "Frame",
    "Interface",
    "Packet",
    "assert_packet",
    "diff_packets",
    "parse_packet",
    "parse_pcap",
    "render_differences",
    "render_pcap",
    "render_pcapng",
]
__all__ += build.__all__
