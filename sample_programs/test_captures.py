"""Captures of real traffic, run through the programs that take packets: one result per frame."""

from pathlib import Path

import pytest

from pytest_ebpf import TC, XDP, Bpf, BpfUsageError, Eth, assert_packet, parse_packet, read_pcap, write_pcap

CAPTURES = Path(__file__).parent.parent / "tests" / "data" / "captures"


@pytest.mark.parametrize("name", ["mixed.pcapng", "sll.pcap", "any.pcapng"])
def test_a_firewall_that_blocks_one_source(bpf: Bpf, name: str) -> None:
    obj = bpf.load("xdp_firewall.bpf.o")
    obj.maps["blocked"]["192.0.2.2/32"] = 1
    capture = read_pcap(CAPTURES / name)
    results = obj["firewall"].run_pcap(CAPTURES / name)
    assert len(results) == len(capture.frames)
    for frame, result in zip(capture.packets, results, strict=True):
        blocked = "ip" in frame and frame["ip"].src == "192.0.2.2"
        assert result.retval == (XDP.DROP if blocked else XDP.PASS), repr(frame)


def test_frames_without_a_tunnel_come_back_as_they_were(bpf: Bpf) -> None:
    capture = read_pcap(CAPTURES / "mixed.pcapng")
    for frame, result in zip(capture.frames, bpf.load("xdp_decap.bpf.o")["decap"].run_pcap(capture), strict=True):
        assert_packet(result, frame)


def test_a_tc_program_sees_the_same_traffic(bpf: Bpf) -> None:
    results = bpf.load("tc_rewrite.bpf.o")["redirect_service"].run_pcap(CAPTURES / "nano.pcap")
    assert {result.retval for result in results} <= {TC.OK, TC.SHOT, TC.UNSPEC}
    assert any("tcp" in parse_packet(result) for result in results)


def test_a_frame_that_is_too_short_is_named(bpf: Bpf, tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "short.pcap", [Eth() / bytes(50), b"short"])
    with pytest.raises(BpfUsageError, match="frame 2 of the capture has 5 bytes; the type runs on an Ethernet frame"):
        bpf.load("xdp_decap.bpf.o")["decap"].run_pcap(path)
