"""Rust programs, instrumented: doubles, calls, faults and mutants of the Aya samples, on the host unless kernels are
named. What a line of the project calls inline has the line records of a library."""

from __future__ import annotations

import pytest

from pytest_ebpf import IP, TC, TCP, UDP, XDP, Bpf, BpfObject, Eth
from support.instrumented import instrumentations, outcome, packets
from support.paths import ROOT

BUILT = ROOT / "sample_programs/aya/built"
QUERY = Eth() / IP(src="192.0.2.7") / UDP(dport=53)
pytestmark = pytest.mark.bpf_feature("ringbuf")


@pytest.fixture
def filtered(bpf: Bpf) -> BpfObject:
    obj = bpf.load(BUILT / "port_filter.bpf.o")
    obj.maps["PORTS"].update({53: {"action": "Drop"}, 123: {"action": "Watch"}})
    return obj


@pytest.mark.parametrize("name", ["port_filter", "xdp_counter", "tc_marks"])
def test_verdicts_packets_and_maps_are_the_same(bpf: Bpf, name: str) -> None:
    made = [packet for packet in packets(120) if len(packet) >= 54]
    path = BUILT / f"{name}.bpf.o"
    plain = outcome(bpf.load(path), made)
    for what, instrument in instrumentations():
        obj = bpf.load(path)
        instrument(obj)
        assert obj.instruments.notes == []
        assert outcome(obj, made) == plain, what


def test_calls_stand_at_lines_of_the_project(filtered: BpfObject) -> None:
    """Not at those of aya-ebpf's bindings, where each helper is called."""
    calls = filtered.calls()
    filtered["port_filter"].run(QUERY)
    calls_of_map = filtered.calls("bpf_map_lookup_elem")
    calls_of_map.assert_called_once_with("PORTS", 53)
    assert filtered.calls("bpf_ringbuf_reserve")[0].args[0] == "AYA_LOGS"
    for call in calls:
        assert call.source_line is not None
        assert call.source_line.file.startswith("programs/src/")
    logged = [call.source_line.line for call in calls if call.source_line and call.function.startswith("bpf_ringbuf")]
    source = (ROOT / "sample_programs/aya/programs/src/bin/port_filter.rs").read_text().splitlines()
    assert logged == [next(at for at, text in enumerate(source, 1) if "warn!(" in text)] * 2


def test_faults(filtered: BpfObject) -> None:
    run = filtered["port_filter"].run
    with filtered.faults("bpf_map_lookup_elem", key=53) as fault:
        assert run(QUERY).retval == XDP.PASS
        assert run(Eth() / IP() / UDP(dport=123)).retval == XDP.PASS
        assert fault.failed == 1
    with filtered.faults("bpf_ringbuf_reserve") as fault:
        assert (run(QUERY).retval, fault.failed) == (XDP.DROP, 1)
    assert [event["level"] for event in filtered.aya_logs.events()] == ["info"], "of port 123; no room for the other"
    assert run(QUERY).retval == XDP.DROP


def test_faults_of_packets(bpf: Bpf) -> None:
    """The first, the second and the third part of a packet that cannot be read."""
    obj = bpf.load(BUILT / "tc_marks.bpf.o")
    for after in range(3):
        with obj.faults("bpf_skb_load_bytes", after=after) as fault:
            assert (obj["tc_marks"].run(Eth() / IP() / TCP(dport=80)).retval, fault.failed) == (TC.OK, 1)


def test_doubles(bpf: Bpf) -> None:
    """A map that has no rule for any port, whatever is in it."""
    packet = Eth() / IP() / TCP(dport=80)
    for doubles, verdict in (({}, TC.SHOT), ({"bpf_map_lookup_elem": None}, TC.OK)):
        obj = bpf.load(BUILT / "tc_marks.bpf.o", doubles=doubles)
        obj.maps["RULES"][80] = {"drop": 1}
        assert obj["tc_marks"].run(packet).retval == verdict
