"""xdp_firewall.bpf.c and xdp_lb.bpf.c: each test runs twice, by test runs and with live traffic on a wire."""

import ipaddress

import pytest

from pytest_ebpf import ARP, IP, UDP, XDP, Bpf, BpfDatapath, BpfObject, Eth, assert_packet

GOOD = Eth() / IP(src="192.0.2.1") / UDP(dport=53) / b"question"
BAD = Eth() / IP(src="198.51.100.9") / UDP(dport=53) / b"question"


@pytest.fixture
def firewall(bpf: Bpf) -> BpfObject:
    obj = bpf.load("xdp_firewall.bpf.o")
    obj.maps["blocked"]["198.51.100.0/24"] = 1
    return obj


def test_blocked_source_gets_nowhere(firewall: BpfObject, bpf_datapath: BpfDatapath) -> None:
    assert bpf_datapath.run(firewall["firewall"], BAD).verdict == XDP.DROP


def test_others_pass_unchanged(firewall: BpfObject, bpf_datapath: BpfDatapath) -> None:
    result = bpf_datapath.run(firewall["firewall"], GOOD)
    assert result.verdict == XDP.PASS
    assert_packet(result, GOOD)


def test_unblocking_takes_effect_at_once(firewall: BpfObject, bpf_datapath: BpfDatapath) -> None:
    assert bpf_datapath.run(firewall["firewall"], BAD).dropped
    del firewall.maps["blocked"]["198.51.100.0/24"]
    assert not bpf_datapath.run(firewall["firewall"], BAD).dropped


def test_packets_are_counted_the_same_way(firewall: BpfObject, bpf_datapath: BpfDatapath) -> None:
    for packet in (GOOD, BAD, Eth() / ARP(), BAD):
        bpf_datapath.run(firewall["firewall"], packet)
    passed, blocked, _ = (firewall.maps["stats"].sum(index) for index in range(3))
    assert (passed, blocked) == (2, 2)


def test_a_balanced_query_goes_back_out(bpf: Bpf, bpf_datapath: BpfDatapath) -> None:
    obj = bpf.load("xdp_lb.bpf.o")
    for slot in range(4):
        mac = bytes.fromhex("020000000009")
        obj.maps["dns"][slot] = {"address": ipaddress.ip_address("10.0.0.9").packed, "mac": mac, "weight": 1}
    obj.maps["services"][53] = obj.maps["dns"]
    result = bpf_datapath.run(obj["balance"], GOOD)
    assert result.verdict == XDP.TX
    assert (result.packet["eth"]["dst"], result.packet["ip"]["dst"]) == ("02:00:00:00:00:09", "10.0.0.9")


def test_both_ways_say_the_same(firewall: BpfObject, bpf_datapath: BpfDatapath) -> None:
    wire, test_run = bpf_datapath.on("wire"), bpf_datapath.on("test_run")
    for packet in (GOOD, BAD, Eth() / ARP(), bytes(GOOD)[:33]):
        assert wire.run(firewall["firewall"], packet) == test_run.run(firewall["firewall"], packet)
