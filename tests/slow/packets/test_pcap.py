"""Capture files, read by Scapy."""

import io

import pytest

from pytest_ebpf.packets import IP, UDP, Eth, Frame, render_pcap

PACKET = bytes(Eth() / IP() / UDP() / b"hi")


def test_scapy_reads_what_is_written():
    scapy = pytest.importorskip("scapy.all", reason="optional: pip install pytest-ebpf[scapy]")
    (packet,) = scapy.rdpcap(io.BytesIO(render_pcap([Frame(PACKET, 5_000_000_001)])))
    assert bytes(packet) == PACKET
    assert packet.time * 10**9 == 5_000_000_001
