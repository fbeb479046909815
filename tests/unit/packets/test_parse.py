"""Taking packets apart: whatever comes in, nothing is lost and nothing fails."""

import pytest

from pytest_ebpf.packets import ICMP, IP, TCP, UDP, VLAN, Eth, IPv6, parse_packet


def names(data, first="eth"):
    return [layer.name for layer in parse_packet(data, first=first).layers]


SEEDS = [
    bytes(Eth() / VLAN() / IP(options=b"\1" * 7) / TCP(options=b"\1" * 9) / b"payload"),
    bytes(Eth() / IPv6() / UDP() / b"payload"),
    bytes(Eth() / IP() / IP() / IPv6() / ICMP()),
]


def test_headers_in_order():
    assert names(SEEDS[0]) == ["eth", "vlan", "ip", "tcp", "raw"]
    assert names(SEEDS[1]) == ["eth", "ipv6", "udp", "raw"]
    assert names(SEEDS[2]) == ["eth", "ip", "ip", "ipv6", "icmp"]  # ICMP in IPv6 is odd, but that is what it says


def test_what_a_frame_is_filled_up_with_is_padding():
    packet = parse_packet(bytes(Eth() / IP() / UDP() / b"hi") + b"\0" * 16)
    assert packet["raw"]["load"] == b"hi"
    assert packet["pad"]["load"] == b"\0" * 16


def test_a_later_fragment_has_no_transport_header():
    assert names(bytes(IP(frag=185, proto=17) / bytes(40)), first="ip") == ["ip", "raw"]


def test_a_cut_header_stays_raw():
    assert names(bytes(Eth() / IP() / TCP())[:40]) == ["eth", "ip", "raw"]
    assert names(bytes(Eth())[:13]) == ["raw"]


def test_15_a_cut_extension_header_stays_raw():
    """It was filled up to eight bytes when the packet was put together again."""
    whole = bytes(Eth() / IPv6(nh=0, plen=4)) + b"\x11\xea\x01\x02"  # eight times 235 bytes, it says
    assert names(whole) == ["eth", "ipv6", "raw"]
    assert bytes(parse_packet(whole)) == whole


def test_unknown_protocols_stay_raw():
    assert names(bytes(Eth(type=0x9999) / IP())) == ["eth", "raw"]
    assert names(bytes(Eth() / IP(proto=99) / b"?")) == ["eth", "ip", "raw"]


def test_arp_for_other_networks_stays_raw():
    assert names(bytes(Eth(type=0x0806)) + bytes(28)) == ["eth", "raw"]


def test_a_length_that_cannot_be_right_hides_nothing():
    packet = parse_packet(bytes(Eth() / IP(len=5) / UDP() / b"hi"))
    assert [layer.name for layer in packet.layers] == ["eth", "ip", "udp", "raw"]


def test_values_read_like_they_are_written():
    ip = parse_packet(bytes(IP(src="10.1.2.3", ttl=7) / TCP(flags="FA")), first="ip")
    assert ip["ip"]["src"] == "10.1.2.3"
    assert ip["ip"]["ttl"] == 7
    assert ip["tcp"]["flags"] == "FA"
    with pytest.raises(KeyError, match="ip has no field 'sport'"):
        ip["ip"]["sport"]
