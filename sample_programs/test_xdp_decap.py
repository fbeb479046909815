"""xdp_decap.bpf.c: a program that makes the packet shorter."""

from pytest_ebpf import IP, UDP, XDP, Bpf, Eth, assert_packet

INNER = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(dport=53) / b"question"


def test_outer_header_is_gone(bpf: Bpf) -> None:
    decap = bpf.load("xdp_decap.bpf.o")["decap"]
    result = decap.run(Eth() / IP(dst="192.0.2.1") / INNER)
    assert result.retval == XDP.PASS
    assert_packet(result, Eth() / INNER)


def test_other_packets_stay_as_they_are(bpf: Bpf) -> None:
    decap = bpf.load("xdp_decap.bpf.o")["decap"]
    assert_packet(decap.run(Eth() / INNER), Eth() / INNER)
