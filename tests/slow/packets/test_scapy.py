"""Scapy as a second opinion: the same packet written in both must be the same bytes."""

import pytest

from pytest_ebpf.packets import ARP, ICMP, IP, TCP, UDP, VLAN, Eth, ICMPv6, IPv6, assert_packet, parse_packet
from support.scapy_stacks import make_pair, scapy_layers, scapy_module

scapy = pytest.importorskip("scapy.all", reason="optional: pip install pytest-ebpf[scapy]")

MACS = {"dst": "02:00:00:00:00:02", "src": "02:00:00:00:00:01"}
V4 = {"src": "192.0.2.1", "dst": "192.0.2.2"}
V6 = {"src": "2001:db8::1", "dst": "2001:db8::2"}


def _ether():
    return scapy.Ether(**MACS)


PAIRS = {
    "udp": lambda: (
        Eth() / IP(id=1) / UDP(sport=1234, dport=53) / b"question",
        _ether() / scapy.IP(**V4) / scapy.UDP(sport=1234, dport=53) / b"question",
    ),
    "tcp with options": lambda: (
        Eth()
        / IP(id=1, flags=2, tos=0x10, ttl=9)
        / TCP(sport=1, dport=2, seq=3, ack=4, flags="SAE", window=99, options=b"\x02\x04\x05\xb4"),
        _ether()
        / scapy.IP(**V4, flags="DF", tos=0x10, ttl=9)
        / scapy.TCP(sport=1, dport=2, seq=3, ack=4, flags="SAE", window=99, options=[("MSS", 1460)]),
    ),
    "ip options": lambda: (
        IP(id=1, options=b"\x94\x04\x00\x00") / UDP(sport=1, dport=2),
        scapy.IP(**V4, options=scapy.IPOption_Router_Alert()) / scapy.UDP(sport=1, dport=2),
    ),
    "icmp": lambda: (
        Eth() / IP(id=1) / ICMP(id=5, seq=6) / b"odd",
        _ether() / scapy.IP(**V4) / scapy.ICMP(id=5, seq=6) / b"odd",
    ),
    "icmpv6": lambda: (
        Eth() / IPv6() / ICMPv6(id=5, seq=6) / b"ping",
        _ether() / scapy.IPv6(**V6) / scapy.ICMPv6EchoRequest(id=5, seq=6, data=b"ping"),
    ),
    "tcp over ipv6": lambda: (
        Eth() / IPv6(tc=3, fl=0x12345) / TCP(sport=1, dport=2, window=8192) / b"abc",
        _ether() / scapy.IPv6(**V6, tc=3, fl=0x12345) / scapy.TCP(sport=1, dport=2, window=8192) / b"abc",
    ),
    "vlan in vlan": lambda: (
        Eth(type=0x88A8) / VLAN(id=7, prio=3) / VLAN(id=9) / IP(id=1) / UDP(sport=1, dport=2),
        scapy.Ether(**MACS, type=0x88A8)
        / scapy.Dot1Q(vlan=7, prio=3)
        / scapy.Dot1Q(vlan=9)
        / scapy.IP(**V4)
        / scapy.UDP(sport=1, dport=2),
    ),
    "arp": lambda: (
        Eth() / ARP(op=2, hwdst="02:00:00:00:00:09"),
        _ether() / scapy.ARP(op=2, hwsrc=MACS["src"], psrc=V4["src"], hwdst="02:00:00:00:00:09", pdst=V4["dst"]),
    ),
    "ip in ip": lambda: (
        IP(id=1) / IP(id=1, ttl=2) / UDP(sport=1, dport=2) / b"x",
        scapy.IP(**V4) / scapy.IP(**V4, ttl=2) / scapy.UDP(sport=1, dport=2) / b"x",
    ),
    "fragment": lambda: (
        IP(id=77, flags=1, frag=0) / UDP(sport=1, dport=2) / (b"x" * 8),
        scapy.IP(**V4, id=77, flags="MF") / scapy.UDP(sport=1, dport=2) / (b"x" * 8),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_same_bytes(name):
    ours, theirs = PAIRS[name]()
    assert bytes(ours).hex(" ") == bytes(theirs).hex(" ")


@pytest.mark.parametrize("name", PAIRS)
def test_parsed_alike(name):
    ours, _ = PAIRS[name]()
    names = [layer.name for layer in ours.layers]
    assert [layer.name for layer in parse_packet(bytes(ours), first=names[0]).layers] == names


def test_scapy_packets_are_welcome():
    ours, theirs = PAIRS["udp"]()
    assert_packet(theirs, ours)
    with pytest.raises(AssertionError, match=r"differs in ip\.ttl, ip\.chksum"):
        assert_packet(theirs, ours.replace("ip", ttl=1))


@pytest.fixture(scope="module")
def contributed():
    return scapy_module()


@pytest.mark.parametrize("part", range(10))
def test_random_stacks(contributed, part):
    """1,000 stacks of up to three levels of tunnels: the same bytes, taken apart the same way."""
    for seed in range(100 * part, 100 * part + 100):
        ours, theirs = make_pair(seed, contributed)
        data = bytes(ours)
        assert data == bytes(theirs), f"{seed}: {ours!r}"
        parsed = parse_packet(data)
        assert parsed == ours, seed
        expected = scapy_layers(contributed.Ether(data))
        assert [layer.spec.title for layer in parsed.layers] == [name for name, _ in expected], seed
        for layer, (name, numbers) in zip(parsed.layers, expected, strict=True):
            assert {field: layer.number(field) for field in numbers} == numbers, f"{seed}: {name}"


def test_scapy_packets_go_into_ours():
    outer = Eth() / IP(proto=4) / scapy.IP(src="10.0.0.1", dst="10.0.0.2") / scapy.UDP(sport=1, dport=2)
    assert [layer.name for layer in outer.layers] == ["eth", "ip", "ip", "udp"]
    assert parse_packet(scapy.IP(ttl=3) / scapy.UDP())["ip"].ttl == 3


def test_where_scapy_is_not_what_linux_takes():
    """A VNI without the bit of VXLAN-GPE; a GENEVE packet that is not taken for DNS by its source port; the last label
    of an MPLS stack, and only it, with the bit that says so."""
    from pytest_ebpf.packets import GENEVE, MPLS, VXLAN

    vxlan = parse_packet(bytes(IP() / UDP() / VXLAN(vni=7) / Eth()), first="ip")
    assert (vxlan["udp"].dport, vxlan["vxlan"].flags, vxlan["vxlan"].vni) == (4789, 0x08, 7)
    assert "eth" in parse_packet(bytes(IP() / UDP(sport=53) / GENEVE() / Eth()), first="ip")
    labels = parse_packet(bytes(Eth() / MPLS(label=1) / MPLS(label=2) / IP()))
    assert [labels["mpls"].s, labels["mpls2"].s, "ip" in labels] == [0, 1, True]


def test_15_the_frames_of_scapy_that_a_kernel_was_given(contributed):
    """tests/vm/test_scapy_differs.py sends these into tunnels; it needs no scapy."""
    from scapy.contrib.mpls import MPLS as ScapyMPLS

    from pytest_ebpf.packets import GENEVE, MPLS, VXLAN

    s = contributed
    assert bytes(s.VXLAN(vni=7) / s.Ether(**MACS))[:8] == bytes(VXLAN(vni=7, flags=0x0C, reserved1=3))
    udp = bytes(s.IP() / s.UDP() / s.GENEVE(vni=7))[20:]
    assert udp[:4] == bytes(IP() / UDP(sport=53) / GENEVE(vni=7))[20:24]
    assert "geneve" not in s.IP(bytes(s.IP() / s.UDP() / s.GENEVE(vni=7) / s.Ether(**MACS))).summary().lower()
    assert bytes(ScapyMPLS(label=100)) == bytes(MPLS(label=100, ttl=0))
