"""Taking packets of any bytes apart, and damaged ones: nothing is lost and nothing fails."""

from hypothesis import example, given, strategies as st

from pytest_ebpf.packets import ICMP, IP, TCP, UDP, VLAN, Eth, IPv6, parse_packet

SEEDS = [
    bytes(Eth() / VLAN() / IP(options=b"\1" * 7) / TCP(options=b"\1" * 9) / b"payload"),
    bytes(Eth() / IPv6() / UDP() / b"payload"),
    bytes(Eth() / IP() / IP() / IPv6() / ICMP()),
]


@given(st.binary(max_size=200), st.sampled_from(["eth", "ip", "ipv6", "tcp", "arp"]))
@example(b"", "eth")
@example(bytes(60), "ip")
def test_any_bytes_survive(data, first):
    assert bytes(parse_packet(data, first=first)) == data


@given(st.sampled_from(SEEDS), st.data())
def test_damaged_packets_survive(seed, data):
    damaged = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    assert bytes(parse_packet(cut)) == cut
