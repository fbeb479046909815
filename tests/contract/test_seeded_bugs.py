"""Ten programs with one bug each (tests/objects/seeded_bugs.bpf.c): a property of at most ten lines finds each, down to
the smallest packet; the mended ones hold for 10,000."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis.database import InMemoryExampleDatabase

from pytest_ebpf import XDP, Packet, Program, RunResult, SharedBpf, bpf_property, parse_packet, strategies as st
from pytest_ebpf.oracles import right_checksums
from support.paths import ROOT

OBJECT = ROOT / "tests/objects/built/seeded_bugs.bpf.o"
PACKETS = st.packets(["ip", "ipv6", "udp", "tcp", "vlan", "options", "fragment"], broken=0, ports=[9, 53, 13568, 40000])


def names_are_dropped(packet: Packet, result: RunResult) -> None:
    seen = "ip" in packet and "udp" in packet and "vlan3" not in packet
    assert result.retval == (XDP.DROP if seen and packet["udp"].dport == 53 else XDP.PASS)


def checksums_are_right(packet: Packet, result: RunResult) -> None:
    right_checksums(result)


def later_fragments_pass(packet: Packet, result: RunResult) -> None:
    if "ip" in packet and packet["ip"].frag:
        assert result.retval == XDP.PASS


def one_source_is_blocked(packet: Packet, result: RunResult) -> None:
    seen = "ip" in packet and "vlan3" not in packet
    assert result.retval == (XDP.DROP if seen and packet["ip"].src == "192.0.2.1" else XDP.PASS)


def nothing_is_left(packets: list[Packet], prog: Program) -> None:
    prog.run_many(packets)
    assert prog.maps["flows"] == {}


def ten_packets_pass(packets: list[Packet], results: list[RunResult]) -> None:
    expected = [XDP.PASS] * 10 + [XDP.DROP] * len(packets)
    assert [result.retval for result in results] == expected[: len(results)]


def time_to_live_ends(packet: Packet, result: RunResult) -> None:
    if "ip" in packet and "vlan3" not in packet:
        ttl = packet["ip"].ttl
        assert result.retval == (XDP.DROP if ttl <= 1 else XDP.TX)
        assert ttl <= 1 or parse_packet(result)["ip"].ttl == ttl - 1


class Case(NamedTuple):
    holds: Callable[..., None]
    smallest: str
    reset: str = ""


CASES = {
    "bounds": Case(names_are_dropped, "Eth() / IP() / UDP(dport=53)"),
    "checksum": Case(checksums_are_right, "Eth() / VLAN() / IP() / UDP(dport=9)"),
    "vlan": Case(names_are_dropped, "Eth() / VLAN() / IP() / UDP(dport=53)"),
    "options": Case(names_are_dropped, "Eth() / IP(options=[('RouterAlert', 0)]) / UDP(dport=53)"),
    "order": Case(names_are_dropped, "Eth() / IP() / UDP(dport=53)"),
    "fragment": Case(later_fragments_pass, "Eth() / IP(frag=1, proto=17) / Raw("),
    "lpm": Case(one_source_is_blocked, "Eth() / IP() / UDP(dport=9)"),
    "leak": Case(nothing_is_left, "Eth() / IP(ttl=1) / UDP(dport=9)", reset="flows"),
    "cpus": Case(ten_packets_pass, "11 packets that fail together", reset="seen"),
    "ttl": Case(time_to_live_ends, "Eth() / IP(ttl=0) / UDP(dport=9)"),
}


@pytest.fixture(autouse=True)
def _nothing_is_kept(tmp_path, monkeypatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    before = settings.get_current_profile_name()
    settings.register_profile("seeded", settings(), database=InMemoryExampleDatabase())
    settings.load_profile("seeded")
    yield
    settings.load_profile(before)


def check(bpf: SharedBpf, name: str, *, case: Case, count: int) -> None:
    obj = bpf.load(OBJECT)
    obj.maps["blocked"]["192.0.2.1/32"] = 1
    for used in filter(None, [case.reset]):
        obj.maps[used].clear()
    test = bpf_property(packets=PACKETS, max_examples=count, reset=case.reset, program=lambda bpf: obj[name])(
        case.holds
    )
    fixtures = {"prog": obj[name]} if case.holds is nothing_is_left else {}
    test(bpf_shared=bpf, **fixtures)


@pytest.mark.parametrize("name", CASES)
def test_the_bug_is_found(bpf_shared: SharedBpf, name: str) -> None:
    with pytest.raises(AssertionError) as failure:
        check(bpf_shared, f"{name}_bug", case=CASES[name], count=10_000)
    assert CASES[name].smallest in "\n".join(failure.value.__notes__)


@pytest.mark.parametrize("name", CASES)
def test_the_mended_program_holds(bpf_shared: SharedBpf, name: str) -> None:
    check(bpf_shared, name, case=CASES[name], count=10_000)
