"""src/main.rs: each test runs once for every kernel of --bpf-kernels."""

import pytest

from pytest_ebpf import IP, TCP, UDP, XDP, Eth

QUERY = Eth() / IP(src="192.0.2.7") / UDP(dport=53)


@pytest.fixture
def obj(bpf):
    obj = bpf.load("port_guard")
    obj.maps["CLOSED"][53] = 0
    return obj


def test_a_closed_port_is_dropped_and_counted(obj):
    assert obj["port_guard"].run(QUERY).retval == XDP.DROP
    assert obj.maps["CLOSED"] == {53: 1}


@pytest.mark.parametrize(
    "packet",
    [Eth() / IP() / UDP(dport=54), Eth() / IP() / TCP(dport=53), bytes(14)],
    ids=["another port", "TCP", "too short"],
)
def test_the_rest_passes(obj, packet):
    assert obj["port_guard"].run(packet).retval == XDP.PASS
    assert obj.maps["CLOSED"] == {53: 0}


@pytest.mark.bpf_budget(insns=4000)
def test_it_is_cheap_to_verify(obj):
    assert obj["port_guard"].stats.insns > 0


@pytest.mark.bpf_feature("ringbuf")
def test_what_it_says(obj):
    obj["port_guard"].run(QUERY)
    obj.aya_logs.expect({"level": "info", "message": "dropped a packet to port 53"})
