"""tc_rewrite.bpf.c: new destination, right checksums."""

import ipaddress

import pytest

from pytest_ebpf import IP, TC, TCP, UDP, Bpf, Eth, Packet, Program, assert_packet

OLD, NEW = ("192.0.2.80", 80), ("10.1.2.3", 8080)


def endpoint(address: str, port: int) -> dict[str, object]:
    return {"address": ipaddress.ip_address(address).packed, "port": port}


def request(address: str, port: int) -> Packet:
    return Eth() / IP(dst=address, ttl=17) / TCP(dport=port, flags="PA", seq=1) / b"GET / HTTP/1.0\r\n\r\n"


@pytest.fixture
def rewriter(bpf: Bpf) -> Program:
    obj = bpf.load("tc_rewrite.bpf.o")
    obj.maps["rewrites"][endpoint(*OLD)] = endpoint(*NEW)
    return obj["redirect_service"]


def test_destination_and_both_checksums(rewriter: Program) -> None:
    result = rewriter.run(request(*OLD))
    assert result.retval == TC.OK
    assert_packet(result, request(*NEW))


def test_rewritten_packets_are_marked(rewriter: Program) -> None:
    assert rewriter.run(request(*OLD)).ctx["mark"] == 1
    assert rewriter.run(request(*NEW)).ctx["mark"] == 0


def test_a_mark_from_before_survives(rewriter: Program) -> None:
    assert rewriter.run(request(*NEW), ctx={"mark": 7}).ctx["mark"] == 7


@pytest.mark.parametrize(
    "packet",
    [request("192.0.2.80", 81), request("192.0.2.81", 80), Eth() / IP(dst="192.0.2.80") / UDP(dport=80)],
    ids=["other port", "other address", "udp"],
)
def test_other_packets_stay_as_they_are(rewriter: Program, packet: Packet) -> None:
    result = rewriter.run(packet)
    assert result.retval == TC.OK
    assert_packet(result, packet)


def test_a_segment_without_a_byte_to_spare(rewriter: Program) -> None:
    """Its first 54 bytes are in reach of the program, and no more."""
    shortest = Eth() / IP(dst=OLD[0], ttl=17) / TCP(dport=OLD[1], flags="S", seq=1)
    assert len(bytes(shortest)) == 54
    assert_packet(rewriter.run(shortest), Eth() / IP(dst=NEW[0], ttl=17) / TCP(dport=NEW[1], flags="S", seq=1))


@pytest.mark.parametrize("port", [1, 255, 256, 0xFF00, 0xFFFF])
def test_checksums_of_all_ports(bpf: Bpf, port: int) -> None:
    obj = bpf.load("tc_rewrite.bpf.o")
    obj.maps["rewrites"][endpoint(*OLD)] = endpoint("255.254.253.252", port)
    assert_packet(obj["redirect_service"].run(request(*OLD)), request("255.254.253.252", port))


@pytest.mark.parametrize(
    ("function", "after"),
    [("bpf_skb_store_bytes", 0), ("bpf_skb_store_bytes", 1), ("bpf_l3_csum_replace", 0), ("bpf_l4_csum_replace", 1)],
)
def test_a_packet_that_cannot_be_rewritten_is_dropped(bpf: Bpf, function: str, after: int) -> None:
    obj = bpf.load("tc_rewrite.bpf.o")
    obj.maps["rewrites"][endpoint(*OLD)] = endpoint(*NEW)
    with obj.faults(function, after=after, times=1):
        assert obj["redirect_service"].run(request(*OLD)).retval == TC.SHOT
