"""perf_sample.bpf.c: records in perf buffers, with packet bytes behind them."""

from pytest_ebpf import IP, UDP, XDP, Bpf, Eth, assert_packet


def test_a_record_for_each_packet(bpf: Bpf) -> None:
    obj = bpf.load("perf_sample.bpf.o")
    assert obj["capture"].run(Eth() / IP() / UDP() / bytes(100)).retval == XDP.PASS
    assert obj.maps["samples"].expect({"size": 142, "captured": 64}, timeout=5, type="struct sample")


def test_the_packet_is_in_the_record(bpf: Bpf) -> None:
    obj = bpf.load("perf_sample.bpf.o")
    packet = Eth() / IP() / UDP(dport=53) / b"hi"
    obj["capture"].run(packet)
    (record,) = obj.maps["samples"].events(timeout=5)
    size, captured = record[:4], record[4:8]
    assert size == captured == len(packet).to_bytes(4, "little")
    assert_packet(record[8 : 8 + len(packet)], packet)


def test_a_record_that_is_lost_is_told(bpf: Bpf) -> None:
    obj = bpf.load("perf_sample.bpf.o")
    with obj.faults("bpf_perf_event_output"):
        assert obj["capture"].run(Eth() / IP() / UDP()).retval == XDP.ABORTED
