"""Properties of the samples that take packets: what must hold for every packet, whatever it is."""

from __future__ import annotations

import pytest

from pytest_ebpf import (
    TC,
    XDP,
    BpfObject,
    Packet,
    Program,
    RunResult,
    SharedBpf,
    bpf_property,
    oracles,
    parse_packet,
    strategies as st,
)

FEW = 1500
OLD: dict[str, object] = {"address": bytes((192, 0, 2, 80)), "port": 80}
NEW: dict[str, object] = {"address": bytes((10, 1, 2, 3)), "port": 8080}
TCP_ONLY = st.packets(
    ["ip", "tcp", "options", "vlan"], broken=8, least=34, addresses=["192.0.2.80", "10.1.2.3"], ports=[80, 8080, 9]
)


@pytest.fixture
def firewall(bpf_shared: SharedBpf) -> BpfObject:
    obj = bpf_shared.load("xdp_firewall.bpf.o")
    obj.maps["blocked"]["192.0.2.0/24"] = 1
    return obj


@bpf_property(packets=st.packets(["ip", "udp", "tcp", "options"], broken=0), max_examples=FEW)
def test_the_firewall_blocks_a_network(packets: list[Packet], firewall: BpfObject) -> None:
    for packet, result in zip(packets, firewall["firewall"].run_many(packets), strict=True):
        assert result.retval == (XDP.DROP if packet["ip"].src.startswith("192.0.2.") else XDP.PASS)


@bpf_property(packets=st.packets({"ipip": 60}, broken=0), program="xdp_decap.bpf.o:decap", max_examples=FEW)
def test_decapsulation_leaves_the_inner_packet(packet: Packet, result: RunResult) -> None:
    names = [layer.name for layer in packet.layers]
    outer = names[:3] in (["eth", "ip", "ip"], ["eth", "ip", "ipv6"]) and not packet["ip"].options
    if names[:3] == ["eth", "ip", "ip"] and outer:
        assert result.data[14:] == bytes(packet)[34:]
    elif not outer:
        assert result.data == bytes(packet)


@bpf_property(packets=TCP_ONLY, program="tc_port_map.bpf.o:map_in", max_examples=FEW)
def test_mapped_ports_leave_right_checksums(packet: Packet, result: RunResult) -> None:
    assert result.retval == TC.OK
    oracles.right_checksums(result)


@bpf_property(packets=TCP_ONLY, program="tc_port_map.bpf.o:map_out", max_examples=FEW)
def test_answers_come_from_the_port_that_was_asked_for(packet: Packet, result: RunResult) -> None:
    oracles.right_checksums(result)
    sent, came = parse_packet(bytes(packet)), parse_packet(result)
    if [layer.name for layer in sent.layers[:3]] == ["eth", "ip", "tcp"] and sent["ip"].ihl == 5:
        assert came["tcp"].sport == (80 if sent["tcp"].sport == 8080 else sent["tcp"].sport)


@pytest.fixture
def rewriter(bpf_shared: SharedBpf) -> BpfObject:
    obj = bpf_shared.load("tc_rewrite.bpf.o")
    obj.maps["rewrites"][OLD] = NEW
    return obj


@bpf_property(packets=TCP_ONLY, max_examples=FEW)
def test_a_rewrite_leaves_right_checksums(packets: list[Packet], rewriter: BpfObject) -> None:
    for result in rewriter["redirect_service"].run_many(packets):
        assert result.retval == TC.OK
        oracles.right_checksums(result)


@bpf_property(packets=st.packets(broken=0), program="skb_filters.bpf.o:only_udp", max_examples=FEW)
def test_a_socket_filter_keeps_udp_over_ipv4(packet: Packet, result: RunResult) -> None:
    if [layer.name for layer in packet.layers[:3]] == ["eth", "ip", "udp"] and not packet["ip"].frag:
        assert result.retval == len(bytes(packet)) - 14


@bpf_property(
    packets=st.packets(["ip", "udp", "tcp", "sctp"], broken=0), program="skb_filters.bpf.o:no_udp", max_examples=FEW
)
def test_a_cgroup_filter_refuses_udp(packet: Packet, result: RunResult) -> None:
    assert result.retval == ("udp" not in packet)


@bpf_property(program=lambda bpf: bpf.load("map_kinds.bpf.o")["account"], reset=True, max_examples=FEW)
def test_every_packet_is_counted_once(packets: list[Packet], results: list[RunResult], bpf_shared: SharedBpf) -> None:
    counts = bpf_shared.load("map_kinds.bpf.o").maps["by_protocol"]
    assert sum(counts.sum(protocol)["packets"] for protocol in counts) == len(packets)


@bpf_property(program="tail_calls.bpf.o:dispatch", max_examples=FEW)
def test_a_tail_call_goes_by_the_first_byte(packet: Packet, result: RunResult) -> None:
    data = bytes(packet)
    kinds = {0: XDP.DROP, 1: XDP.TX}
    assert result.retval == (kinds.get(data[14], XDP.PASS) if len(data) > 14 else XDP.ABORTED)


@bpf_property(packets=st.packets(payload=200), max_examples=150)
def test_a_bounded_loop_sums_the_bytes(packet: Packet, bpf_shared: SharedBpf) -> None:
    obj = bpf_shared.load("bounded_loop.bpf.o")
    obj["sum_payload"].run(packet)
    assert obj.globals["sum"] == sum(bytes(packet)[14 : 14 + 128])


@pytest.mark.bpf_kernel(">=5.17")
@bpf_property(packets=st.packets(least=14), program="bpf_loop.bpf.o:sum_up", max_examples=200)
def test_a_loop_does_not_depend_on_the_packet(result: RunResult, packet: Packet, bpf_shared: SharedBpf) -> None:
    found = bpf_shared.load("bpf_loop.bpf.o").globals
    assert (result.retval, result.data) == (XDP.PASS, bytes(packet))
    assert (found["done"], found["sum"]) == (1000, sum(range(1000)))


@bpf_property(program=lambda bpf: bpf.load("perf_sample.bpf.o")["capture"], max_examples=FEW)
def test_each_packet_leaves_its_start_in_a_record(
    packets: list[Packet], results: list[RunResult], bpf_shared: SharedBpf
) -> None:
    records = bpf_shared.load("perf_sample.bpf.o").maps["samples"].events(timeout=5)
    data = list(map(bytes, packets))
    assert [record[8 : 8 + min(len(one), 64)] for record, one in zip(records, data, strict=True)] == [
        one[:64] for one in data
    ]


def short_packets(bpf: SharedBpf) -> Program:
    return bpf.load("verifier_expectations.bpf.o", only="passes_short_packets")["passes_short_packets"]


@bpf_property(packets=st.packets(payload=1600), program=short_packets, max_examples=FEW)
def test_short_packets_pass(packet: Packet, result: RunResult) -> None:
    assert result.retval == (XDP.PASS if len(bytes(packet)) < 1500 else XDP.DROP)


@bpf_property(packets=st.packets(payload=1600), program="config.bpf.o:police", reset=True, max_examples=600)
def test_a_policer_keeps_to_its_budget(packets: list[Packet], results: list[RunResult]) -> None:
    passed = [packet for packet, result in zip(packets, results, strict=True) if result.retval == XDP.PASS]
    assert len(passed) <= 3
    assert all(64 <= len(bytes(packet)) <= 1500 for packet in passed)


@bpf_property(program="xdp_lb.bpf.o:balance", max_examples=FEW)
def test_a_balancer_without_services_touches_nothing(packet: Packet, result: RunResult) -> None:
    assert (result.retval, parse_packet(result)) == (XDP.PASS, parse_packet(bytes(packet)))


@bpf_property(
    packets=st.packets(["ip", "tcp", "options", "fragment"], addresses=["10.0.0.1", "198.51.100.7"], ports=[80, 1000]),
    program="conn_track.bpf.o:track",
    reset="connections",
    max_examples=FEW,
)
def test_what_comes_in_was_asked_for(packets: list[Packet], results: list[RunResult]) -> None:
    asked: set[tuple[str, int, str, int]] = set()
    for packet, result in zip(map(parse_packet, packets), results, strict=True):
        if [layer.name for layer in packet.layers[:3]] == ["eth", "ip", "tcp"]:
            ip, tcp = packet["ip"], packet["tcp"]
            if ip.src.startswith("10."):
                asked.add((ip.src, tcp.sport, ip.dst, tcp.dport))
            else:
                assert result.retval == XDP.DROP or (ip.dst, tcp.dport, ip.src, tcp.sport) in asked
