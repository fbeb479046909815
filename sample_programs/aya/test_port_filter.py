"""port_filter.rs: a program of aya-ebpf, its typed map, its globals, its messages."""

import pytest

from pytest_ebpf import IP, TCP, UDP, XDP, Bpf, BpfLog, BpfObject, Eth, Packet, Veth

QUERY = Eth() / IP(src="192.0.2.7") / UDP(dport=53)
pytestmark = pytest.mark.bpf_feature("ringbuf", "little_endian")


@pytest.fixture
def filtered(bpf: Bpf) -> BpfObject:
    obj = bpf.load("built/port_filter.bpf.o")
    obj.maps["PORTS"].update({53: {"action": "Drop"}, 123: {"action": "Watch"}})
    return obj


def test_a_port_that_is_dropped(filtered: BpfObject) -> None:
    assert filtered["port_filter"].run(QUERY).retval == XDP.DROP
    assert filtered.maps["PORTS"][53] == {"hits": 1, "last_source": 0xC0000207, "action": 1}


@pytest.mark.parametrize(
    "packet", [Eth() / IP() / UDP(dport=54), Eth() / IP() / TCP(dport=53), bytes(14)], ids=["port", "tcp", "short"]
)
def test_the_rest_passes(filtered: BpfObject, packet: Packet) -> None:
    assert filtered["port_filter"].run(packet).retval == XDP.PASS
    assert filtered.globals["SEEN"] == 1


def test_messages(filtered: BpfObject, bpf_log: BpfLog) -> None:
    filtered["port_filter"].run(QUERY)
    filtered["port_filter"].run(Eth() / IP(src="192.0.2.7") / UDP(dport=123))
    dropped = bpf_log.expect(f"dropped {len(bytes(QUERY))} bytes to port 53", level="WARN")
    assert dropped["args"] == (len(bytes(QUERY)), 53)
    bpf_log.expect("port 123 from 192.0.2.7", level="INFO", target="port_filter")
    assert len(bpf_log.records()) == 2


def test_on_an_interface(filtered: BpfObject, bpf_veth: Veth, bpf_log: BpfLog) -> None:
    filtered["port_filter"].attach(bpf_veth.b)
    bpf_veth.send(QUERY)
    bpf_veth.send(Eth() / IP(src="192.0.2.7") / UDP(dport=123))
    bpf_log.expect("bytes to port 53", level="WARN", timeout=5)
    bpf_log.expect("port 123 from 192.0.2.7", level="INFO", timeout=5)
    assert filtered.maps["PORTS"][53]["hits"] == 1


def test_a_constant_set_at_the_load(bpf: Bpf) -> None:
    obj = bpf.load("built/port_filter.bpf.o", globals={"SHORTEST": 1500, "AYA_LOG_LEVEL": "error"})
    assert obj["port_filter"].run(QUERY).retval == XDP.PASS
    assert obj.globals["SEEN"] == 0


def test_a_packet_that_ends_with_the_port(filtered: BpfObject) -> None:
    assert filtered["port_filter"].run(bytes(QUERY)[:38]).retval == XDP.DROP
    assert filtered["port_filter"].run(bytes(QUERY)[:37]).retval == XDP.PASS


@pytest.mark.parametrize("level", [0, "error", "warn"])
def test_a_drop_is_one_whatever_is_logged(bpf: Bpf, level: str | int) -> None:
    obj = bpf.load("built/port_filter.bpf.o", globals={"AYA_LOG_LEVEL": level})
    obj.maps["PORTS"][53] = {"action": "Drop"}
    assert obj["port_filter"].run(QUERY).retval == XDP.DROP


def test_the_shortest_packet_that_is_looked_at(bpf: Bpf) -> None:
    length = len(bytes(QUERY))
    for shortest, verdict in ((length, XDP.DROP), (length + 1, XDP.PASS)):
        obj = bpf.load("built/port_filter.bpf.o", globals={"SHORTEST": shortest})
        obj.maps["PORTS"][53] = {"action": "Drop"}
        assert obj["port_filter"].run(QUERY).retval == verdict
