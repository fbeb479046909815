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


def test_the_link_header_moves_with_the_packet(bpf: Bpf) -> None:
    decap = bpf.load("xdp_decap.bpf.o")["decap"]
    link = Eth(src="02:81:92:a3:b4:c5", dst="06:d1:e2:f3:84:95")
    assert_packet(decap.run(link / IP(dst="192.0.2.1") / INNER), link / INNER)
    swapped = Eth(src="06:d1:e2:f3:84:95", dst="02:81:92:a3:b4:c5")
    assert_packet(decap.run(swapped / IP(dst="192.0.2.1") / INNER), swapped / INNER)


def test_an_inner_packet_of_nothing_but_a_header(bpf: Bpf) -> None:
    decap = bpf.load("xdp_decap.bpf.o")["decap"]
    outer = Eth() / IP(dst="192.0.2.1", proto=4)
    assert decap.run(outer).data[12:] == b"\x08\0"
    assert_packet(decap.run(outer / IP(dst="10.0.0.2")), Eth() / IP(dst="10.0.0.2"))


def test_a_header_that_stays_is_an_error(bpf: Bpf) -> None:
    obj = bpf.load("xdp_decap.bpf.o")
    with obj.faults("bpf_xdp_adjust_head"):
        assert obj["decap"].run(Eth() / IP(dst="192.0.2.1") / INNER).retval == XDP.ABORTED
