"""``st.packets()``: what it makes and what it shrinks to."""

from random import Random

import pytest
from hypothesis import HealthCheck, find, given, settings

from pytest_ebpf import IP, UDP, Eth, parse_packet, strategies as st
from pytest_ebpf.properties.examples import batch_of

MIX = st.mix_of(st.packets())


def kinds(**options):
    made = batch_of(3, 3000, mix=st.mix_of(st.packets(**options)))
    return {layer.name for packet in made for layer in packet.layers}


def test_every_kind_of_packet_is_made():
    made = batch_of(1, 5000, mix=MIX)
    names = {layer.name for packet in made for layer in packet.layers}
    assert names >= {"eth", "vlan", "arp", "ip", "ipv6", "udp", "tcp", "icmp", "icmpv6", "sctp", "esp", "fragment"}
    assert names >= {"vxlan", "gre", "geneve", "gtpu", "mpls", "hopbyhop", "destopt", "routing", "pad"}
    assert any("vlan6" in packet for packet in made)
    assert any("ip2" in packet for packet in made)
    assert any("ip" in packet and packet["ip"].frag and packet["ip"].options for packet in made)


def test_some_are_damaged():
    made = batch_of(2, 4000, mix=MIX)
    cut = [p for p in made if "ip" in p and (p["ip"].len or 0) > len(bytes(p)) - 14]
    assert len(cut) > 20
    valid = batch_of(2, 2000, mix=st.mix_of(st.packets(broken=0)))
    again = [parse_packet(bytes(packet)) for packet in valid]
    assert all("ip" not in p or p["ip"].len <= len(bytes(p)) - 14 for p in again)


def test_weights_and_kinds():
    assert kinds(layers=["ip", "udp"], broken=0) == {"eth", "ip", "udp", "raw"}
    assert "vlan" not in kinds(layers={"vlan": 0}, broken=0)


def test_addresses_and_ports_that_matter():
    made = batch_of(4, 2000, mix=st.mix_of(st.packets(addresses=["203.0.113.9"], ports=[4242], broken=0)))
    assert sum("ip" in p and p["ip"].dst == "203.0.113.9" for p in made) > 300
    assert sum("udp" in p and p["udp"].dport == 4242 for p in made) > 100


def test_packets_without_a_link_header():
    made = batch_of(5, 500, mix=st.mix_of(st.packets(first="ip")))
    assert {packet.layers[0].name for packet in made} <= {"ip", "ipv6", "raw"}
    assert all(len(bytes(packet)) >= 20 for packet in made)


@pytest.mark.parametrize("seed", [1, 4])  # from 1, shrinking ended in a tunnel before inner packets could move out
@pytest.mark.parametrize(("name", "most"), [("vlan", 4), ("ipv6", 3), ("fragment", 4)])
def test_15_an_inner_packet_moves_out_of_its_tunnel(name, most, seed):
    quiet = settings(database=None, max_examples=5000, suppress_health_check=list(HealthCheck), deadline=None)
    smallest = find(st.packets(), lambda packet: name in packet, settings=quiet, random=Random(seed))
    assert len(smallest.layers) <= most, smallest


@pytest.mark.parametrize("name", ["ip", "udp", "tcp", "vxlan", "fragment"])
def test_shrinks_to_what_matters(name):
    quiet = settings(database=None, max_examples=5000, suppress_health_check=list(HealthCheck))
    smallest = find(st.packets(), lambda packet: name in packet, settings=quiet, random=Random(0))
    assert len(smallest.layers) <= {"ip": 3, "udp": 3, "tcp": 3, "vxlan": 7, "fragment": 4}[name], smallest


def test_the_simplest_packet():
    quiet = settings(database=None, suppress_health_check=list(HealthCheck))
    assert find(st.packets(), lambda packet: True, settings=quiet) == Eth() / IP() / UDP()


@settings(max_examples=100)
@given(packet=st.packets())
def test_packets_are_builder_code(packet):
    from pytest_ebpf import packets

    names = {name: getattr(packets, name) for name in packets.__all__}
    assert bytes(eval(repr(packet), names)) == bytes(packet)
