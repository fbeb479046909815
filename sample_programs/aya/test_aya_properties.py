"""What must hold for every packet, for each program of aya-ebpf that takes packets."""

import pytest

from pytest_ebpf import TC, XDP, Packet, Program, RunResult, SharedBpf, bpf_property, strategies as st

pytestmark = pytest.mark.bpf_feature("ringbuf", "little_endian")
QUIET = {"AYA_LOG_LEVEL": "error"}
KINDS, PORTS = ["ip", "ipv6", "udp", "tcp", "options", "fragment"], [53, 80, 123]
PACKETS = st.packets(KINDS, ports=PORTS)
WHOLE = st.packets(KINDS, ports=PORTS, broken=0)  # the kernel makes no skb of less than an Ethernet header


def port_filter(bpf: SharedBpf) -> Program:
    obj = bpf.load("built/port_filter.bpf.o", globals=QUIET)
    obj.maps["PORTS"][53] = {"action": "Drop"}
    return obj["port_filter"]


def xdp_counter(bpf: SharedBpf) -> Program:
    obj = bpf.load("built/xdp_counter.bpf.o", globals=QUIET)
    obj.maps["BLOCKED"][0xC0000201] = 1
    return obj["xdp_counter"]


def tc_marks(bpf: SharedBpf) -> Program:
    obj = bpf.load("built/tc_marks.bpf.o", globals=QUIET)
    obj.maps["RULES"][80] = {"drop": 1}
    return obj["tc_marks"]


@bpf_property(packets=PACKETS, program=port_filter, max_examples=512)
def test_only_udp_is_dropped(packet: Packet, result: RunResult) -> None:
    assert result.retval in (XDP.PASS, XDP.DROP)
    if bytes(packet)[12:14] != b"\x08\x00" or bytes(packet)[23:24] != b"\x11":
        assert result.retval == XDP.PASS


@bpf_property(packets=PACKETS, program=xdp_counter, max_examples=512)
def test_a_blocked_source_never_passes(packet: Packet, result: RunResult) -> None:
    data = bytes(packet)
    if data[12:14] == b"\x08\x00" and len(data) >= 30:
        assert (result.retval == XDP.DROP) == (data[26:30] == bytes((192, 0, 2, 1)))


@bpf_property(packets=WHOLE, program=tc_marks, max_examples=512)
def test_a_classifier_says_ok_or_shot(packet: Packet, result: RunResult) -> None:
    assert result.retval in (TC.OK, TC.SHOT)
    if b"\x00\x50" not in bytes(packet):
        assert result.retval == TC.OK


def cgroup_egress(bpf: SharedBpf) -> Program:
    return bpf.load("built/cgroup_egress.bpf.o", globals={"REFUSED_PORT": 53})["cgroup_egress"]


@bpf_property(packets=WHOLE, program=cgroup_egress, max_examples=512)
def test_one_port_is_refused(packet: Packet, result: RunResult) -> None:
    data = bytes(packet)[14:]  # it sees no link header
    refused = data[0] >> 4 == 4 and data[9] == 17 and data[22:24] == b"\x00\x35"
    assert result.retval == (not refused)
