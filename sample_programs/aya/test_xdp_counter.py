"""xdp_counter.rs: counts per CPU and protocol, drops addresses, and says so."""

import pytest

from pytest_ebpf import IP, TCP, UDP, XDP, Bpf, BpfLog, Eth, Veth

pytestmark = pytest.mark.bpf_feature("ringbuf", "little_endian")
OBJECT = "built/xdp_counter.bpf.o"


def test_packets_are_counted_by_protocol(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT)
    for packet in (Eth() / IP() / TCP(), Eth() / IP() / UDP(), Eth() / IP() / UDP()):
        assert obj["xdp_counter"].run(packet).retval == XDP.PASS
    assert obj.maps["PACKETS"].sum(6) == 1
    assert obj.maps["PACKETS"].sum(17) == 2


def test_an_address_is_dropped_and_named(bpf: Bpf, bpf_log: BpfLog) -> None:
    obj = bpf.load(OBJECT)
    obj.maps["BLOCKED"][0xC0000207] = 1
    assert obj["xdp_counter"].run(Eth() / IP(src="192.0.2.7") / UDP()).retval == XDP.DROP
    assert obj["xdp_counter"].run(Eth() / IP(src="192.0.2.8") / UDP()).retval == XDP.PASS
    bpf_log.expect("dropped 192.0.2.7, protocol 17", level="INFO")
    bpf_log.expect("passed 192.0.2.8", level="DEBUG", target="xdp_counter")


def test_on_an_interface(bpf: Bpf, bpf_veth: Veth, bpf_log: BpfLog) -> None:
    obj = bpf.load(OBJECT)
    obj.maps["BLOCKED"][0xC0000207] = 1
    obj["xdp_counter"].attach(bpf_veth.b)
    with bpf_veth.b.behind_tc(0x0800) as seen:
        bpf_veth.send(Eth() / IP(src="192.0.2.7") / UDP())
        bpf_veth.send(Eth() / IP(src="192.0.2.8") / UDP())
        (passed,) = seen.take(timeout=5, count=1)
    assert passed[IP].src == "192.0.2.8"
    bpf_log.expect("dropped 192.0.2.7, protocol 17", level="INFO", timeout=5)
    bpf_log.expect("passed 192.0.2.8", level="DEBUG", timeout=5)


def test_a_packet_that_ends_in_its_header_is_an_error(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT, globals={"AYA_LOG_LEVEL": "error"})
    whole = bytes(Eth() / IP() / UDP())
    assert obj["xdp_counter"].run(whole[:20]).retval == XDP.ABORTED


def test_a_packet_that_ends_with_what_is_read_of_it(bpf: Bpf) -> None:
    obj = bpf.load(OBJECT)
    whole = bytes(Eth() / IP() / UDP())
    assert obj["xdp_counter"].run(whole[:30]).retval == XDP.PASS
    obj.maps["BLOCKED"][int.from_bytes(whole[26:30], "big")] = 1
    assert obj["xdp_counter"].run(whole[:30]).retval == XDP.DROP
    assert obj["xdp_counter"].run(whole[:29]).retval == XDP.ABORTED
    assert obj["xdp_counter"].run(bytes(14)).retval == XDP.PASS
