"""xdp_firewall.bpf.c: rules in an LPM trie, counters per processor."""

import pytest

from pytest_ebpf import ARP, IP, UDP, VLAN, XDP, Bpf, BpfObject, BpfVm, Eth, IPv6, Packet

PASSED, BLOCKED, TOO_SHORT = range(3)


@pytest.fixture
def firewall(bpf: Bpf) -> BpfObject:
    obj = bpf.load("xdp_firewall.bpf.o")
    obj.maps["blocked"]["198.51.100.0/24"] = 1
    return obj


@pytest.mark.parametrize("source", ["198.51.100.0", "198.51.100.255"])
def test_inside_of_the_blocked_network(firewall: BpfObject, source: str) -> None:
    assert firewall["firewall"].run(Eth() / IP(src=source) / UDP()).retval == XDP.DROP


@pytest.mark.parametrize("source", ["198.51.99.255", "198.51.101.0", "192.0.2.1"])
def test_outside_of_the_blocked_network(firewall: BpfObject, source: str) -> None:
    assert firewall["firewall"].run(Eth() / IP(src=source) / UDP()).retval == XDP.PASS


def test_longest_prefix_wins(firewall: BpfObject) -> None:
    firewall.maps["blocked"]["198.51.100.7/32"] = 0
    assert firewall["firewall"].run(Eth() / IP(src="198.51.100.7") / UDP()).retval == XDP.PASS
    assert firewall["firewall"].run(Eth() / IP(src="198.51.100.8") / UDP()).retval == XDP.DROP


@pytest.mark.parametrize(
    "packet",
    [Eth() / ARP(), Eth() / IPv6() / UDP(), Eth() / VLAN() / IP(src="198.51.100.1")],
    ids=["arp", "ipv6", "vlan"],
)
def test_other_protocols_pass(firewall: BpfObject, packet: Packet) -> None:
    assert firewall["firewall"].run(packet).retval == XDP.PASS


def test_a_cut_header_is_dropped(firewall: BpfObject) -> None:
    assert firewall["firewall"].run(bytes(Eth() / IP())[:33]).retval == XDP.DROP


def test_every_packet_is_counted_once(firewall: BpfObject) -> None:
    packets = [Eth() / IP(src=source) for source in ("198.51.100.1", "192.0.2.1", "192.0.2.2")]
    firewall["firewall"].run_many([*packets, bytes(Eth() / IP())[:20]])
    stats = firewall.maps["stats"]
    assert (stats.sum(PASSED), stats.sum(BLOCKED), stats.sum(TOO_SHORT)) == (2, 1, 1)


def test_a_packet_of_nothing_but_a_link_header(firewall: BpfObject) -> None:
    assert firewall["firewall"].run(bytes(14)).retval == XDP.PASS


def test_live_traffic(firewall: BpfObject, bpf_vm: BpfVm) -> None:
    with firewall["firewall"].attach(interface="lo", mode="skb"):
        bpf_vm.run(["/bin/bash", "-c", "echo hello > /dev/udp/127.0.0.1/9"])
    assert firewall.maps["stats"].sum(PASSED) > 0
    assert firewall.maps["stats"].sum(BLOCKED) == 0


def test_a_packet_without_a_byte_to_spare(firewall: BpfObject) -> None:
    shortest = bytes(Eth() / IP(src="198.51.100.1"))
    firewall["firewall"].run(shortest)
    firewall["firewall"].run(shortest[:33])
    counted = [sum(cells) for cells in firewall.maps["stats"].values()]
    assert counted == [0, 1, 1]
