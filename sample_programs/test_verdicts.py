"""sk_lookup.bpf.c and skb_filters.bpf.c: program types that run on something else than a frame, or answer otherwise."""

from socket import AF_INET, IPPROTO_TCP

import pytest

from pytest_ebpf import IP, SK, TCP, UDP, Bpf, Eth


@pytest.mark.bpf_kernel(">=5.13", reason="sk_lookup programs cannot be test-run before")
@pytest.mark.parametrize(("port", "verdict"), [(23, SK.DROP), (80, SK.PASS)], ids=["closed", "open"])
def test_socket_lookup_runs_on_a_context(bpf: Bpf, port: int, verdict: int) -> None:
    guard = bpf.load("sk_lookup.bpf.o")["guard"]
    lookup: dict[str, int] = {"family": AF_INET, "protocol": IPPROTO_TCP, "local_port": port}
    assert guard.run(ctx=lookup).retval == verdict


def test_a_socket_filter_says_how_many_bytes_it_wants(bpf: Bpf) -> None:
    only_udp = bpf.load("skb_filters.bpf.o")["only_udp"]
    packet = Eth() / IP() / UDP() / b"question"
    assert only_udp.run(packet).retval == len(packet.payload)  # all of it, without the link header
    assert only_udp.run(Eth() / IP() / TCP() / b"question").retval == 0


def test_a_cgroup_filter_says_yes_or_no(bpf: Bpf) -> None:
    no_udp = bpf.load("skb_filters.bpf.o")["no_udp"]
    assert no_udp.run(Eth() / IP() / UDP()).retval == 0
    assert no_udp.run(Eth() / IP() / TCP()).retval == 1


def test_headers_that_cannot_be_read(bpf: Bpf) -> None:
    """And headers with nothing behind them, which can."""
    obj = bpf.load("skb_filters.bpf.o")
    alone = Eth() / IP(proto=6)
    assert obj["no_udp"].run(alone).retval == 1
    assert obj["only_udp"].run(Eth() / IP(proto=17)).retval == 20
    with obj.faults("bpf_skb_load_bytes"), obj.faults("bpf_skb_load_bytes_relative"):
        assert obj["no_udp"].run(alone).retval == 0
        assert obj["only_udp"].run(Eth() / IP() / UDP()).retval == 0
