"""Building packets: defaults, what is computed, what is refused. Vectors are from RFCs or worked out by hand."""

import pytest

from pytest_ebpf.packets import ARP, ICMP, IP, TCP, UDP, VLAN, Eth, ICMPv6, IPv6, Packet, Pad, Raw, parse_packet
from pytest_ebpf.packets.checksum import internet_checksum


def test_ethernet_header():
    packet = Eth(dst="ff:ff:ff:ff:ff:ff", src="2-0-0-0-0-a", type=0x1234)
    assert bytes(packet).hex() == "ffffffffffff" + "02000000000a" + "1234"


@pytest.mark.parametrize(
    ("inner", "ethertype"),
    [(IP(), 0x0800), (IPv6(), 0x86DD), (ARP(), 0x0806), (VLAN(), 0x8100), (Raw(b"x"), 0x88B5), (Packet(), 0x88B5)],
)
def test_ethertype_follows_from_what_comes_next(inner, ethertype):
    assert bytes(Eth() / inner)[12:14] == ethertype.to_bytes(2, "big")


def test_vlan_packs_three_fields_into_one_word():
    assert bytes(VLAN(prio=5, dei=1, id=0xABC) / IP())[:4].hex() == "babc0800"


def test_ipv4_checksum_of_the_example_everybody_uses():
    # The worked example of the Wikipedia article "Internet checksum": 0xb861.
    header = IP(len=0x73, flags=2, proto=17, src="192.168.0.1", dst="192.168.0.199")
    assert bytes(header).hex() == "450000730000400040" + "11b861" + "c0a80001c0a800c7"


def test_rfc_1071_example():
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF


def test_checksum_of_nothing_and_of_an_odd_length():
    assert internet_checksum(b"") == 0xFFFF
    assert internet_checksum(b"\x12") == internet_checksum(b"\x12\x00") == ~0x1200 & 0xFFFF


def test_a_sum_of_all_ones_is_checksum_zero():
    assert internet_checksum(b"\xff\xff") == 0


def test_lengths_count_what_is_inside():
    packet = parse_packet(bytes(Eth() / IP() / UDP() / b"hello"))
    assert packet["ip"]["len"] == 20 + 8 + 5
    assert packet["udp"]["len"] == 8 + 5
    assert parse_packet(bytes(Eth() / IPv6() / UDP() / b"hello"))["ipv6"]["plen"] == 13


def test_ip_in_ip_sums_each_header():
    packet = IP(src="10.0.0.1") / IP(src="10.0.0.2") / ICMP()
    parsed = parse_packet(bytes(packet), first="ip")
    assert [parsed["ip"]["proto"], parsed["ip"]["len"]] == [4, 48]
    assert [parsed["ip2"]["proto"], parsed["ip2"]["len"]] == [1, 28]
    assert internet_checksum(bytes(packet)[:20]) == internet_checksum(bytes(packet)[20:40]) == 0


def test_udp_checksum_zero_is_sent_as_all_ones():
    packet = IP(src="0.0.0.0", dst="0.0.0.0") / UDP(sport=0, dport=0)
    # The sum is 17 + 8 + 8 = 33; a payload of ~33 makes it 0xffff, whose complement is zero.
    payload = (0xFFFF - 17 - 10 - 10).to_bytes(2, "big")
    assert bytes(packet / payload)[26:28] == b"\xff\xff"


def test_given_values_win_over_computed_ones():
    packet = parse_packet(bytes(Eth(type=0x0800) / IP(len=9999, ihl=15, chksum=0, proto=6) / UDP(chksum=0, len=1)))
    assert packet["ip"]["len"] == 9999
    assert (packet["ip"]["ihl"], packet["ip"]["proto"], packet["ip"]["chksum"]) == (15, 6, 0)


def test_options_are_filled_up_to_words():
    header = bytes(IP(options=b"\x94\x04\x00\x00\x01"))
    assert header[0] == 0x47
    assert header[20:] == b"\x94\x04\x00\x00\x01\0\0\0"
    assert bytes(TCP(options=b"\x02\x04\x05\xb4"))[12] >> 4 == 6


def test_padding_counts_nowhere():
    plain = Eth() / IP() / UDP() / b"hi"
    assert bytes(plain / Pad(b"\0" * 16)) == bytes(plain) + b"\0" * 16


def test_tcp_flags_are_letters_or_a_number():
    assert bytes(TCP(flags="SA")) == bytes(TCP(flags=0x12))
    assert TCP(flags=0x12).layers[0]["flags"] == "SA"


def test_udp_without_a_network_header_has_no_checksum():
    assert bytes(UDP())[6:8] == b"\0\0"


def test_addresses_as_text_bytes_or_number():
    assert bytes(IP(src="10.0.0.1")) == bytes(IP(src=b"\x0a\0\0\1")) == bytes(IP(src=0x0A000001))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: IP(ttl=256), "IP ttl=256: does not fit into 8 bits"),
        (lambda: IP(ttl=-1), "does not fit"),
        (lambda: IP(src="10.0.0"), "IP src='10.0.0'"),
        (lambda: IP(src=b"\1\2\3"), "has 3 bytes, needs 4"),
        (lambda: IPv6(src="10.0.0.1"), "IPv6 src"),
        (lambda: Eth(dst="02:00:00:00:01"), "is not a MAC address"),
        (lambda: TCP(flags="SX"), "does not have flag 'X'"),
        (lambda: UDP(dport="dns"), "is not a number"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_where_it_is_written(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_an_unknown_field_names_those_there_are():
    with pytest.raises(TypeError, match="IP has no field 'tll'; it has version, ihl"):
        IP(tll=3)


def test_only_bytes_and_packets_compose():
    with pytest.raises(TypeError, match="unsupported operand"):
        Eth() / "text"
    with pytest.raises(TypeError, match="unsupported operand"):
        3 / Eth()


def test_bytes_compose_on_either_side():
    assert bytes(b"\xaa" / UDP(len=8, chksum=0) / b"\xbb") == b"\xaa" + bytes(UDP(len=8, chksum=0)) + b"\xbb"


def test_replace_computes_again_what_was_computed():
    packet = Eth() / IP(ttl=64) / UDP() / b"x"
    assert bytes(packet.replace("ip", ttl=63)) == bytes(Eth() / IP(ttl=63) / UDP() / b"x")
    assert bytes(parse_packet(bytes(packet)).replace("ip", ttl=63, chksum=None)) == bytes(packet.replace("ip", ttl=63))


def test_none_means_the_default():
    assert IP(ttl=None, src=None) == IP()


def test_replace_in_a_header_that_is_not_there():
    with pytest.raises(KeyError, match="no header 'tcp'; it has eth, ip"):
        (Eth() / IP()).replace("tcp", seq=1)


def test_packets_are_values():
    assert Eth() / IP(src="10.0.0.1") == Eth() / IP(src=0x0A000001)
    assert len({Eth() / IP(), Eth() / IP(), Eth() / IPv6()}) == 2


def test_repr_is_how_to_write_it():
    packet = Eth(type=0x0800) / VLAN(id=7) / IP(dst="10.9.8.7", options=b"\1") / TCP(flags="") / b"ab"
    assert eval(repr(packet)) == packet


def test_payload_and_names():
    packet = Eth() / VLAN() / VLAN() / IP()
    assert packet.payload == VLAN() / VLAN() / IP()
    assert "vlan2" in packet
    assert "udp" not in packet
    assert len(packet) == 14 + 4 + 4 + 20


@pytest.mark.parametrize("protocol", [ICMP(id=7, seq=1), ICMPv6(id=7, seq=1), TCP(), UDP()])
@pytest.mark.parametrize("network", [IP(), IPv6()])
def test_checksums_hold(network, protocol):
    if protocol.layers[0].name == "icmp":
        assert internet_checksum(bytes(network / protocol / b"odd")[len(network) :]) == 0
        return
    packet = bytes(network / protocol / b"odd")
    number = {"tcp": 6, "udp": 17, "icmpv6": 58}[protocol.layers[0].name]
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    segment = packet[len(network) :]
    # Both pseudo headers sum up to the same: addresses, protocol and length.
    assert internet_checksum(addresses + number.to_bytes(2, "big") + len(segment).to_bytes(2, "big") + segment) == 0


def test_headers_are_named_by_their_builders_too():
    packet = Eth() / IP(ttl=3) / TCP(dport=80)
    assert packet[TCP].dport == packet["tcp"].dport == 80
    assert IP in packet
    assert UDP not in packet
    assert packet.replace(IP, ttl=9)["ip"].ttl == 9
    with pytest.raises(KeyError, match="no header 'udp'; it has eth, ip, tcp"):
        packet[UDP]
