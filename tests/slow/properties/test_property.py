"""``@bpf_property`` without a kernel: batches, seeds, replay, shrinking and what a failure says."""

import pytest
from hypothesis import example, note, settings
from hypothesis.database import InMemoryExampleDatabase

from pytest_ebpf import (
    IP,
    SCTP,
    TCP,
    UDP,
    BpfUsageError,
    Eth,
    KernelCallError,
    bpf_property,
    parse_pcap,
    strategies as st,
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings.register_profile("of this test", settings(), database=InMemoryExampleDatabase())
    before = settings.get_current_profile_name()
    settings.load_profile("of this test")
    yield
    settings.load_profile(before)


class Program:
    """Passes what has no SCTP, and counts."""

    release = "6.1"

    def __init__(self):
        self.batches = []
        self.maps = {}

    def run_many(self, packets):
        self.batches.append(len(packets))
        return [len(packet) for packet in packets]


def notes(failure):
    return "\n".join(failure.value.__notes__)


def test_packets_are_run_in_batches():
    seen = []

    @bpf_property(batch=100, max_examples=250)
    def holds(packet, result, prog):
        assert result == len(bytes(packet))
        seen.append(packet)

    prog = Program()
    holds(prog=prog)
    assert prog.batches == [100, 100, 50]
    assert len(set(map(bytes, seen))) > 150


class Guest:
    """Counts the packets, and runs a batch when it is asked for the results: the last it may wait with."""

    def __init__(self, error=None):
        self.maps = {}
        self.seen, self.error, self.waits = 0, error, False
        self.log = []

    def start_valid(self, packets):
        assert not self.waits, "a second batch before the first was settled"
        self.waits = True
        self.log.append("start")

        def finish():
            self.waits = False
            self.log.append("finish")
            self.seen += len(packets)
            if self.error:
                raise self.error
            return {number: self.seen for number in range(len(packets)) if b"\x84" not in packets[number][23:24]}

        return finish


def test_15_a_guest_runs_a_batch_while_the_next_is_made(monkeypatch):
    from pytest_ebpf.properties import decorator

    guest, made = Guest(), decorator.batch_of

    def batch_of(seed, size, *, mix):
        guest.log.append("make")
        return made(seed, size, mix=mix)

    monkeypatch.setattr(decorator, "batch_of", batch_of)

    @bpf_property(batch=100, max_examples=300)
    def holds(packets, results, prog):
        assert not prog.waits
        note("a body may do what works in an example alone")
        prog.log.append("body")

    holds(prog=guest)
    assert " ".join(guest.log) == "make start make finish body start make finish body start finish body"


def test_15_the_body_sees_no_packet_of_the_next_batch():
    seen = []

    @bpf_property(batch=100, max_examples=250)
    def holds(packets, results, prog):
        seen.append(prog.seen)
        assert set(results) == {prog.seen}

    holds(prog=Guest())
    assert seen == [100, 200, 250]


def test_15_the_same_packet_fails_with_a_guest():
    def holds(packet, result):
        assert packet["ip"]["ttl"] != 2 if "ip" in packet else True

    found = []
    for prog in (Guest(), Program()):
        with pytest.raises(AssertionError) as failure:
            bpf_property(max_examples=5000, seed=7, program=lambda bpf, prog=prog: prog)(holds)(bpf_shared=None)
        found.append(notes(failure).partition("as a capture")[0])
    assert found[0] == found[1]
    assert "ttl=2" in found[0]


def test_15_an_error_of_a_guest_is_raised_as_it_is():
    error = KernelCallError("gone wrong", op="ProgRunMany", errno=5)

    @bpf_property(batch=100, max_examples=1000)
    def holds(packet, result, prog):
        raise AssertionError

    with pytest.raises(KernelCallError) as raised:
        holds(prog=Guest(error))
    assert raised.value is error


@pytest.mark.parametrize("form", ["packet", "packets"])
def test_the_smallest_packet_that_fails(form):
    def one(packet):
        assert "sctp" not in packet

    def many(packets):
        assert not any("sctp" in packet for packet in packets)

    with pytest.raises(AssertionError) as failure:
        bpf_property(max_examples=5000)(one if form == "packet" else many)()
    assert "Falsifying packet:\n    Eth() / IP() / SCTP()\n" in notes(failure)
    name = notes(failure).rpartition("as a capture: ")[2].splitlines()[0]
    from pathlib import Path

    (frame,) = parse_pcap(Path(name).read_bytes()).frames
    assert frame.data == bytes(Eth() / IP() / SCTP())


def test_a_failure_is_kept_for_the_next_run():
    seen = []

    def body(packet):
        seen.append(packet)
        assert "sctp" not in packet or len(seen) < 0

    with pytest.raises(AssertionError):
        bpf_property(max_examples=5000)(body)()
    seen.clear()
    with pytest.raises(AssertionError):
        bpf_property(max_examples=1)(body)()
    assert seen[0] == Eth() / IP() / SCTP()


def test_a_seed_makes_the_same_packets():
    def drawn(seed):
        seen = []

        @bpf_property(batch=10, max_examples=30, seed=seed)
        def body(packet):
            seen.append(bytes(packet))

        body()
        return seen

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


def test_a_failure_that_takes_several_packets():
    state = []

    @bpf_property(max_examples=2000, seed=1, reset=state.clear)
    def body(packet):
        if "tcp" in packet:
            state.append(packet)
        assert len(state) < 3, "three of them"

    with pytest.raises(AssertionError, match="three of them") as failure:
        body()
    assert "3 packets that fail together, in this order:" in notes(failure)
    assert "@bpf_property(…, seed=" in notes(failure)


def test_examples_come_first():
    seen = []

    @bpf_property(max_examples=5)
    @example(packet=Eth() / IP() / TCP(dport=1))
    @example(packet=Eth() / IP() / TCP(dport=2))
    def body(packet):
        seen.append(packet)

    body()
    assert {Eth() / IP() / TCP(dport=1), Eth() / IP() / TCP(dport=2)} == set(seen[:2])


def test_a_failing_example_is_not_shrunk():
    @bpf_property(max_examples=5)
    @example(packet=Eth() / IP(ttl=9) / UDP())
    def body(packet):
        assert "ip" not in packet or packet["ip"].ttl != 9

    with pytest.raises(AssertionError) as failure:
        body()
    assert "Eth() / IP(ttl=9) / UDP()" in notes(failure)


def test_strategies_that_only_hypothesis_can_draw():
    @bpf_property(packets=st.packets().filter(lambda packet: "ip" in packet), max_examples=200, seed=7)
    def body(packet):
        assert "ip" in packet
        assert "icmp" not in packet

    with pytest.raises(AssertionError) as failure:
        body()
    assert "Falsifying packet:\n    Eth() / IP() / ICMP(type=0)" in notes(failure)


def test_the_profile_says_how_many_batches():
    settings.register_profile("two", settings(), max_examples=2)
    settings.load_profile("two")
    prog = Program()

    @bpf_property(batch=50)
    def body(packet, result, prog):
        pass

    body(prog=prog)
    assert prog.batches == [50, 50]


def test_errors_of_use():
    with pytest.raises(BpfUsageError, match="takes no packet"):
        bpf_property()(lambda prog: None)
    with pytest.raises(BpfUsageError, match="of which program"):
        bpf_property()(lambda packet, result: None)()
    with pytest.raises(BpfUsageError, match="at least 1"):
        bpf_property(batch=0)
    with pytest.raises(BpfUsageError, match="reset= needs a program"):
        bpf_property(reset=True)(lambda packet: None)()
    with pytest.raises(BpfUsageError, match="there is no kind of header 'tpc'"):
        st.packets(layers=["tpc"])


def test_packets_that_the_kernel_refuses_are_left_out():
    refused, restored = [], []

    class Picky(Program):
        def run_many(self, packets):
            for number, packet in enumerate(packets):
                if len(packet) < 34:
                    refused.append(packet)
                    raise KernelCallError(f"prog 'x', packet {number}: Invalid argument", op="ProgRunMany", errno=22)
            return super().run_many(packets)

    @bpf_property(batch=50, max_examples=300, seed=3, reset=lambda: restored.append(1))
    def body(packet, result, prog):
        assert len(bytes(packet)) >= 34

    body(prog=Picky())
    assert refused
    assert len(restored) == 6 + len(refused)
