"""What a failing comparison says, and what it may leave out."""

from dataclasses import dataclass

import pytest

from pytest_ebpf.packets import (
    IP,
    TCP,
    UDP,
    VLAN,
    Eth,
    ICMPv6,
    ICMPv6ND_NS,
    IPv6,
    assert_packet,
    diff_packets,
    parse_packet,
    render_differences,
)

PACKET = Eth() / IP() / UDP(dport=53) / b"hello"


@dataclass
class Result:
    data: bytes


def paths(actual, expected, *, ignore=()):
    return [difference.path for difference in diff_packets(actual, expected, ignore=ignore)]


def test_equal_packets_pass_in_every_form():
    for actual in (PACKET, bytes(PACKET), bytearray(bytes(PACKET)), Result(bytes(PACKET))):
        assert_packet(actual, PACKET)
        assert_packet(PACKET, actual)


def test_one_field():
    assert paths(PACKET.replace("udp", dport=54, chksum=1), PACKET, ignore=["udp.chksum"]) == ["udp.dport"]


def test_message_is_a_table():
    with pytest.raises(AssertionError) as failure:
        assert_packet(PACKET.replace("ip", ttl=63), PACKET)
    assert str(failure.value).splitlines() == [
        "packet differs in ip.ttl, ip.chksum",
        "  ip.ttl     expected 64      got 63",
        "  ip.chksum  expected 0xf6c8  got 0xf7c8",
    ]


def test_a_missing_and_an_added_header():
    tagged = Eth() / VLAN(id=5) / PACKET.payload
    assert paths(tagged, PACKET) == ["eth.type", "vlan"]
    assert "vlan      not expected: VLAN(id=5, type=0x0800)" in render_differences(diff_packets(tagged, PACKET))
    assert "missing: VLAN" in render_differences(diff_packets(PACKET, tagged))


def test_payload_difference_shows_where():
    words = render_differences(diff_packets(PACKET.payload / b"", IP() / UDP(dport=53) / b"help!"))
    assert "raw.load    expected 5 bytes, [3:] = 70 21 'p!'  got 5 bytes, [3:] = 6c 6f 'lo'" in words


def test_shorter_payload():
    words = render_differences(diff_packets(Eth() / b"abc", Eth() / b"abcdef"))
    assert words.endswith("expected 6 bytes, [3:] = 64 65 66 'def'  got 3 bytes, [3:] = nothing")


def test_nothing_at_all_instead_of_a_packet():
    assert paths(b"", PACKET) == ["eth", "ip", "udp", "raw"]
    assert paths(PACKET, b"") == ["eth", "ip", "udp", "raw"]
    assert paths(b"", b"") == []


@pytest.mark.parametrize("pattern", ["ip.ttl", "ip.*", "*.ttl", "ip", "i?.ttl"])
def test_ignoring(pattern):
    changed = PACKET.replace("ip", ttl=1, chksum=0)
    assert "ip.ttl" not in paths(changed, PACKET, ignore=[pattern])


def test_ignoring_may_be_one_word():
    assert_packet(PACKET.replace("ip", id=5, chksum=None), PACKET, ignore="ip")


def test_ignoring_one_of_two_headers_of_a_kind():
    expected = IP() / IP() / UDP()
    changed = expected.replace("ip", ttl=1).replace("ip2", ttl=2)
    assert paths(changed, expected, ignore=["*.chksum", "ip2.ttl"]) == ["ip.ttl"]
    assert paths(changed, expected, ignore=["*.chksum", "ip.ttl"]) == []
    double = IPv6() / IPv6() / TCP()
    assert paths(double.replace("ipv62", hlim=9), double, ignore=["ipv6.hlim"]) == []


def test_ignoring_a_header_that_is_only_there_once():
    assert paths(Eth() / VLAN() / IP() / UDP(), Eth() / IP() / UDP(), ignore=["vlan", "eth.type"]) == []


@pytest.mark.parametrize("pattern", ["ipp.ttl", "ip.checksum", "payload", "udp.ttl", ""])
def test_ignoring_what_does_not_exist_is_an_error(pattern):
    with pytest.raises(ValueError, match="there are"):
        assert_packet(PACKET, PACKET, ignore=[pattern])


def test_packets_without_a_link_header():
    inner = PACKET.payload
    assert paths(bytes(inner.replace("ip", ttl=9, chksum=0)), inner, ignore=["ip.chksum"]) == ["ip.ttl"]


def test_no_packet_at_all():
    with pytest.raises(TypeError, match="str is not a packet"):
        assert_packet("text", PACKET)


@dataclass
class Run:
    data: bytes
    sent: bytes


def test_a_checksum_that_the_program_left_as_it_was():
    """The program changed the TTL; the sum is still that of the packet it was given."""
    sent = Eth() / IP(ttl=64) / UDP(dport=53) / b"hello"
    stale = sent.replace("ip", ttl=63, chksum=parse_packet(bytes(sent))["ip"].chksum)
    words = render_differences(diff_packets(Run(bytes(stale), bytes(sent)), sent.replace("ip", ttl=63)))
    assert words.splitlines()[1].endswith("(stale: still the one before the rewrite)")
    right = parse_packet(bytes(sent.replace("ip", ttl=63)))["ip"].chksum
    words = render_differences(diff_packets(stale, sent.replace("ip", ttl=63)))
    assert words.endswith(f"(wrong: the bytes it covers have {right:#06x})")


def test_a_checksum_that_is_right_needs_no_words():
    words = render_differences(diff_packets(PACKET.replace("ip", ttl=63), PACKET))
    assert words.endswith("got 0xf7c8")


def test_no_checksum_at_all():
    words = render_differences(diff_packets(PACKET.replace("udp", chksum=0), PACKET))
    assert words.endswith("(0: none was sent)")


def test_options_are_shown_as_they_are_written():
    left, right = (IP() / TCP(options=[("MSS", size)]) for size in (1460, 1400))
    words = render_differences(diff_packets(right, left, ignore=["*.chksum"]))
    assert words.endswith("expected [('MSS', 1460)]  got [('MSS', 1400)]")


def test_two_forms_of_a_header():
    left, right = Eth() / IPv6() / ICMPv6(), Eth() / IPv6() / ICMPv6ND_NS()
    shown = paths(right, left, ignore=["*.chksum", "ipv6", "raw"])
    assert shown == ["icmpv6.type", "icmpv6.id", "icmpv6.seq", "icmpv6.res", "icmpv6.tgt"]


def test_ignoring_by_another_name():
    tagged = Eth() / VLAN(vlan=5) / IP()
    assert paths(tagged.replace("vlan", vlan=6), tagged, ignore=["vlan.vlan"]) == []
    assert paths(PACKET.replace("ip", chksum=1), PACKET, ignore=["ip.check"]) == []
