"""dpkt's packets are taken wherever ours are."""

import pytest

from pytest_ebpf.live.typed.as_bytes import as_bytes
from pytest_ebpf.packets import IP, UDP, Eth, assert_packet, parse_packet

dpkt = pytest.importorskip("dpkt", reason="optional: pip install dpkt")


def _theirs():
    segment = dpkt.udp.UDP(sport=1, dport=2, data=b"hi", ulen=10)
    network = dpkt.ip.IP(src=bytes((10, 0, 0, 1)), dst=bytes((10, 0, 0, 2)), p=17, data=segment, len=30)
    return dpkt.ethernet.Ethernet(src=bytes(5) + b"\1", dst=bytes(5) + b"\2", data=network)


def test_compared_run_and_taken_apart():
    ours = (
        Eth(src="0:0:0:0:0:1", dst="0:0:0:0:0:2") / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / b"hi"
    )
    theirs = _theirs()
    assert_packet(theirs, ours)
    assert as_bytes(theirs) == bytes(ours)
    assert parse_packet(theirs) == ours
    assert parse_packet(theirs.data)["ip"].dst == "10.0.0.2"


def test_joined_to_ours():
    assert [layer.name for layer in (Eth() / _theirs().data).layers] == ["eth", "ip", "udp", "raw"]


def test_15_a_packet_equals_what_has_its_bytes():
    packet = Eth() / IP() / UDP() / b"x"
    data = bytes(packet)
    for same in (data, bytearray(data), memoryview(data), dpkt.ethernet.Ethernet(data)):
        assert packet == same
    assert data == packet
    assert packet != data[:-1]
    assert packet != "text"
