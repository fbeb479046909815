"""Extension headers, tunnels, options and other names: what is computed, and what comes back when taken apart."""

import pytest

from pytest_ebpf import packets
from pytest_ebpf.packets import (
    ARP,
    ESP,
    GENEVE,
    GRE,
    GTPU,
    ICMP,
    IP,
    MPLS,
    SCTP,
    SLL,
    SLL2,
    TCP,
    UDP,
    VLAN,
    VXLAN,
    Eth,
    ICMPv6,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    QinQ,
    parse_packet,
)
from pytest_ebpf.packets.checksum import crc32c
from pytest_ebpf.packets.protocols import PROTOCOLS

STACKS = [
    Eth() / QinQ(id=1) / VLAN(id=2) / IP() / TCP(options=[("MSS", 1460), ("NOP", None), ("WScale", 7)]) / b"x",
    Eth() / ARP(op="is-at"),
    Eth() / MPLS(label=5) / MPLS(label=6) / IPv6() / UDP() / b"x",
    Eth() / IP(options=[("RouterAlert", 0)]) / SCTP(tag=1) / b"\x0e\0\0\4",
    Eth() / IPv6() / IPv6ExtHdrHopByHop(options=[("Jumbo", 1)]) / IPv6ExtHdrRouting(addresses=["::1"]) / UDP(),
    Eth() / IPv6() / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(m=1, id=9) / TCP() / b"x",
    Eth() / IPv6() / ICMPv6ND_NS(tgt="fe80::1") / ICMPv6NDOptSrcLLAddr(),
    Eth() / IP() / GRE(key=7, seq=1, chksum_present=1) / Eth() / IP() / ICMP() / b"x",
    Eth() / IP() / UDP() / VXLAN(vni=1) / Eth() / IPv6() / ICMPv6(),
    Eth() / IPv6() / UDP() / GENEVE(options=[(0x0102, 3, b"abcd")]) / Eth() / IP() / UDP() / b"x",
    Eth() / IP() / UDP() / GTPU(teid=5, seq=1) / IP() / UDP() / b"x",
    Eth() / IP() / IPv6() / ESP(spi=1) / b"secret",
    Eth() / IP() / ICMP(type="dest-unreach", code=3) / IP() / UDP() / b"x",
    Eth() / IPv6() / ICMPv6(type=3) / IPv6() / UDP() / b"x",
]


@pytest.mark.parametrize("packet", STACKS, ids=lambda packet: "/".join(layer.name for layer in packet.layers))
def test_parsed_as_they_were_built(packet):
    parsed = parse_packet(bytes(packet))
    assert [layer.spec.title for layer in parsed.layers] == [layer.spec.title for layer in packet.layers]
    assert bytes(parsed) == bytes(packet)
    again = {name: getattr(packets, name) for name in packets.__all__}
    assert eval(repr(packet), again) == packet
    assert eval(repr(parsed), again) == packet


def test_every_header_has_a_builder():
    assert {row.title for row in PROTOCOLS.values()} <= set(packets.__all__)


@pytest.mark.parametrize("link", [SLL, SLL2])
def test_what_captures_of_any_interface_start_with(link):
    packet = link() / IP() / UDP()
    assert [layer.name for layer in parse_packet(bytes(packet), first=packet.layers[0].name).layers][1:] == [
        "ip",
        "udp",
    ]


def test_lengths_of_extension_headers_are_in_eight_bytes():
    packet = parse_packet(bytes(IPv6() / IPv6ExtHdrHopByHop(options=[(0x3E, bytes(9))]) / UDP()), first="ipv6")
    assert (packet["hopbyhop"].len, packet["hopbyhop"].nh, packet["ipv6"].nh) == (1, 17, 0)
    assert packet["hopbyhop"].options == [(0x3E, bytes(9)), ("PadN", b"\0")]


def test_a_route_goes_into_the_checksum_with_its_last_address():
    through = IPv6(dst="::1") / IPv6ExtHdrRouting(addresses=["::2", "::3"]) / UDP() / b"x"
    straight = IPv6(dst="::3") / UDP() / b"x"
    arrived = IPv6(dst="::3") / IPv6ExtHdrRouting(addresses=["::1", "::2"], segleft=0) / UDP() / b"x"
    sums = [parse_packet(bytes(packet), first="ipv6")["udp"].chksum for packet in (through, straight, arrived)]
    assert sums[0] == sums[1] == sums[2]


def test_fields_that_depend_on_a_flag():
    plain, keyed = GRE() / IP(), GRE(key=5) / IP()
    assert len(plain) + 4 == len(keyed)
    parsed = parse_packet(bytes(keyed), first="gre")
    assert (parsed["gre"].key_present, parsed["gre"].key, parsed["gre"].seq) == (1, 5, None)
    assert parse_packet(bytes(GTPU(teid=1) / b"ab"), first="gtpu")["gtpu"].length == 2
    assert parse_packet(bytes(GTPU(seq=1) / b"ab"), first="gtpu")["gtpu"].length == 6


def test_a_header_whose_promised_fields_are_cut_off_stays_raw():
    assert [layer.name for layer in parse_packet(bytes(GRE(key=5))[:6], first="gre").layers] == ["raw"]


def test_crc_of_sctp():
    assert crc32c(b"123456789") == 0x839206E3  # RFC 3720 B.4 has the check value 0xe3069283


def test_udp_port_of_the_tunnel_inside():
    ports = [(VXLAN(), 4789), (GENEVE(), 6081), (GTPU(), 2152), (MPLS(), 6635), (packets.Raw(b"x"), 9)]
    for inner, port in ports:
        assert bytes(UDP() / inner)[2:4] == port.to_bytes(2, "big")
        assert bytes(UDP(dport=53) / inner)[2:4] == b"\0\x35"


def test_other_names_of_fields():
    assert VLAN(vlan=7) == VLAN(id=7)
    assert ARP(spa="10.0.0.1", tpa="10.0.0.2") == ARP(psrc="10.0.0.1", pdst="10.0.0.2")
    assert IP(protocol=6, check=1, tot_len=20) == IP(proto=6, chksum=1, len=20)
    tag = VLAN(vlan=7).layers[0]
    assert tag["vlan"] == tag["id"] == tag.vlan == tag.id == 7
    assert (Eth() / VLAN(vlan=7)).replace("vlan", vlan=8) == Eth() / VLAN(id=8)
    assert packets.Ether is Eth
    assert packets.Dot1Q is VLAN


def test_words_for_numbers():
    assert IP(flags="DF", proto="tcp") == IP(flags=2, proto=6)
    assert ARP(op="is-at") == ARP(op=2)
    with pytest.raises(ValueError, match="IP flags='XF': does not have flag 'XF'; flags are MF, DF, evil"):
        IP(flags="XF")


def test_options_are_lists_and_bytes():
    tcp = parse_packet(bytes(TCP(options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 2))])), first="tcp")["tcp"]
    assert tcp.options == bytes.fromhex("020405b4 0402 080a 00000001 00000002")
    assert tcp.options == [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 2))]
    assert tcp.options != [("MSS", 1400)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([("MMS", 1)], "TCP options: there is no option 'MMS'; there are EOL, NOP, MSS"),
        ([("MSS", 70000)], "option 'MSS' does not take 70000"),
        ([5], "an option is a pair of name and value, not 5"),
    ],
)
def test_options_that_cannot_be_written(options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        TCP(options=options)


def test_a_header_to_start_with_that_does_not_exist():
    with pytest.raises(ValueError, match="first='ethernet': there is no such header; there are eth"):
        parse_packet(b"", first="ethernet")


def test_deliberately_wrong_ones():
    packet = parse_packet(bytes(Eth() / IP(len=999, chksum=1, ihl=5) / UDP(len=3, chksum=2) / b"x"))
    assert (packet["ip"].len, packet["ip"].chksum, packet["udp"].len, packet["udp"].chksum) == (999, 1, 3, 2)
