"""Oracles on programs written in Python: each holds for a right one, and says where a wrong one is wrong."""

from typing import NamedTuple

import pytest

from pytest_ebpf import GRE, IP, SCTP, TCP, UDP, VXLAN, Eth, ICMPv6, IPv6, Packet, oracles, parse_packet


class Ran(NamedTuple):
    retval: int
    data: bytes
    sent: bytes = b""


class Program:
    """Runs a function of a packet's bytes that returns (verdict, bytes)."""

    def __init__(self, function):
        self.function = function

    def run(self, data):
        return Ran(*self.function(bytes(data)), bytes(data))

    def run_many(self, packets):
        return [self.run(packet) for packet in packets]


PACKETS = [
    Eth() / IP(options=[("RouterAlert", 0)]) / TCP(options=[("MSS", 1)]) / b"x",
    Eth() / IPv6() / UDP() / b"xyz",
    Eth() / IPv6() / ICMPv6() / b"xyz",
    Eth() / IP() / SCTP() / b"\x0e\0\0\4",
    Eth() / IP() / GRE(chksum_present=1, key=1) / IP() / UDP() / b"x",
    Eth() / IP() / UDP() / VXLAN(vni=1) / Eth() / IP() / TCP() / b"x",
]


@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: packet.layers[-2].name)
def test_right_checksums_are_right(packet):
    oracles.right_checksums(bytes(packet))
    assert oracles.wrong_checksums(packet) == {}


@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: packet.layers[-2].name)
def test_every_byte_counts(packet):
    """Whatever byte of a checksum or under it changes, some checksum is wrong."""
    data = bytes(packet)
    for at in range(len(data) - 1, len(data) - 3, -1):
        changed = data[:at] + bytes((data[at] ^ 0x55,)) + data[at + 1 :]
        with pytest.raises(AssertionError, match=r"chksum is 0x.* right is 0x"):
            oracles.right_checksums(changed)


def test_a_stale_checksum_is_called_so():
    sent = Eth() / IP(ttl=9) / UDP() / b"x"
    left = parse_packet(bytes(sent)).replace("ip", ttl=8)
    with pytest.raises(
        AssertionError, match=r"ip\.chksum is 0x\w+ \(stale: still the one before the rewrite\), right is"
    ):
        oracles.right_checksums(Ran(2, bytes(left), bytes(sent)))


def test_what_was_wrong_before_does_not_count():
    wrong = bytes(Eth() / IP(chksum=1) / UDP() / b"x")
    oracles.right_checksums(Ran(2, wrong, wrong))
    with pytest.raises(AssertionError):
        oracles.right_checksums(wrong)


def test_what_cannot_be_checked_is_left_out():
    fragment = Eth() / IP(flags="MF") / UDP(chksum=7) / b"x"
    cut = bytes(Eth() / IP() / TCP(chksum=7) / b"12345678")[:-4]
    none = Eth() / IP() / UDP(chksum=0) / b"x"
    for packet in (fragment, cut, none):
        assert oracles.wrong_checksums(packet) == {}


def test_round_trips():
    outer = bytes(IP(proto=4) / b"")
    encap = Program(lambda data: (2, data[:14] + outer + data[14:]))
    decap = Program(lambda data: (2, data[:14] + data[34:]))
    oracles.round_trip(encap, decap, packet=Eth() / IP() / UDP() / b"x")
    with pytest.raises(AssertionError, match="packet differs in"):
        oracles.round_trip(encap, Program(lambda data: (2, data)), packet=Eth() / IP() / UDP() / b"x")


def test_verdicts_that_depend_on_the_payload():
    packet = Eth() / IP() / UDP() / b"x"
    oracles.same_for_payloads(Program(lambda data: (data[23], data)), packet)
    with pytest.raises(AssertionError, match=r"verdict 85 with .* 0 with"):
        oracles.same_for_payloads(Program(lambda data: (data[42], data)), packet)


def test_verdicts_of_truncated_packets():
    packet = Eth() / IP() / UDP() / b"x"
    oracles.same_for_truncations(Program(lambda data: (len(data) >= 42, data)), packet)
    oracles.same_for_truncations(Program(lambda data: (len(data) >= 34, data)), packet)
    with pytest.raises(AssertionError, match=r"end within udp: .* at 35 bytes, .* at 40"):
        oracles.same_for_truncations(Program(lambda data: (len(data) >= 40, data)), packet)


def test_two_programs_that_differ():
    same = Program(lambda data: (2, data))
    packets = [Eth() / IP() / UDP(), Eth() / IP(ttl=1) / UDP()]
    oracles.same_on({"6.1": same, "6.12": Program(lambda data: (2, data))}, packets)
    by_ttl = Program(lambda data: (1 if data[22] == 1 else 2, data))
    with pytest.raises(AssertionError, match=r"6\.1 and 6\.12 differ for .*ttl=1[\s\S]*verdict 2 on 6\.1, 1 on 6\.12"):
        oracles.same_on({"6.1": same, "6.12": by_ttl}, packets)
    rewritten = Program(lambda data: (2, bytes(parse_packet(data).replace("ip", ttl=7))))
    with pytest.raises(AssertionError, match=r"ip\.ttl +expected 64 +got 7"):
        oracles.same_on({"6.1": same, "6.12": rewritten}, packets)


def test_maps_that_differ():
    one, other = Program(lambda data: (2, data)), Program(lambda data: (2, data))
    packet: Packet = Eth() / IP() / UDP()
    counts = {id(one): 1, id(other): 2}
    with pytest.raises(AssertionError, match=r"maps differ: 1 on a, 2 on b"):
        oracles.same_on({"a": one, "b": other}, [packet], maps=lambda prog: counts[id(prog)])
