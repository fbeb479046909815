"""Capture files, with files written by hand and by Scapy."""

import struct

import pytest

from pytest_ebpf.packets import IP, UDP, Eth, Frame, parse_pcap, render_pcap
from pytest_ebpf.packets.pcap import LINKTYPE_RAW

PACKET = bytes(Eth() / IP() / UDP() / b"hi")


def capture(order, magic, fraction):
    header = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    return header + struct.pack(order + "IIII", 10, fraction, len(PACKET), 100) + PACKET


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "fraction"), [(0xA1B2C3D4, 7), (0xA1B23C4D, 7000)])
def test_both_byte_orders_and_both_clocks(order, magic, fraction):
    (frame,) = parse_pcap(capture(order, magic, fraction)).frames
    assert frame == Frame(PACKET, 10_000_007_000, 100)


def test_round_trip():
    frames = (Frame(PACKET, 1_700_000_000_123_456_789, 2000), Frame(b"", 0, 0))
    again = parse_pcap(render_pcap(frames, linktype=LINKTYPE_RAW))
    assert again.frames == frames
    assert again.linktype == LINKTYPE_RAW


def test_packets_and_bytes_can_be_written():
    written = parse_pcap(render_pcap([Eth() / IP() / UDP() / b"hi", PACKET]))
    assert [frame.data for frame in written.frames] == [PACKET, PACKET]
    assert [frame.length for frame in written.frames] == [len(PACKET)] * 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "starts with nothing"),
        (b"\x7fELF" + bytes(40), "starts with 7f 45 4c 46"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "pcapng"),
        (capture("<", 0xA1B2C3D4, 7)[:20], "file header is cut off at 20 of 24"),
        (capture("<", 0xA1B2C3D4, 7)[:30], "packet header at 0x18 is cut off"),
        (capture("<", 0xA1B2C3D4, 7)[:-1], "packet at 0x18 wants"),
    ],
)
def test_broken_files(data, words):
    with pytest.raises(ValueError, match=words):
        parse_pcap(data)
