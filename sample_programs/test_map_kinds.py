"""map_kinds.bpf.c: per-CPU hash, LRU hash, queue and stack."""

from typing import Literal

import pytest

from pytest_ebpf import ARP, IP, TC, UDP, Bpf, BpfObject, BpfVm, Eth, Packet


@pytest.fixture
def accounting(bpf: Bpf) -> BpfObject:
    return bpf.load("map_kinds.bpf.o")


def frame(size: int, *, sender: int = 1) -> Packet:
    return Eth(src=f"02:00:00:00:00:{sender:02x}", type=0x88B5) / bytes(size - 14)


def test_a_hash_per_cpu_adds_up(accounting: BpfObject) -> None:
    accounting["account"].run_many([Eth() / IP() / UDP() / bytes(58), Eth() / ARP(), Eth() / IP() / UDP() / bytes(8)])
    by_protocol = accounting.maps["by_protocol"]
    assert by_protocol.sum(0x0800) == {"packets": 2, "bytes": 100 + 50}
    assert by_protocol.sum(0x0806) == {"packets": 1, "bytes": 42}
    assert sorted(by_protocol.keys()) == [0x0800, 0x0806]


def test_an_lru_hash_forgets_the_oldest(bpf: Bpf) -> None:
    obj = bpf.load("map_kinds.bpf.o", maps={"last_seen": 16})
    obj["account"].run_many([frame(64, sender=number) for number in range(200)])
    assert 0 < len(obj.maps["last_seen"]) <= 16


def test_a_struct_as_key(accounting: BpfObject) -> None:
    assert accounting["account"].run(frame(77, sender=5)).retval == TC.OK
    assert accounting.maps["last_seen"] == {(bytes([2, 0, 0, 0, 0, 5]),): 77}


def test_what_a_sender_sent_last(accounting: BpfObject) -> None:
    sender = bytes.fromhex("8291a3b4c5d7")
    for size in (80, 90):
        accounting["account"].run(Eth(src=sender.hex(":"), type=0x88B5) / bytes(size - 14))
    assert accounting.maps["last_seen"] == {(sender,): 90}


def test_a_queue_gives_the_first_first(accounting: BpfObject) -> None:
    accounting["account"].run_many([frame(size) for size in range(100, 106)])
    queue = accounting.maps["first_sizes"]
    assert queue.peek() == 100
    assert [queue.pop() for _ in range(4)] == [100, 101, 102, 103]  # the others found it full
    with pytest.raises(LookupError, match="empty"):
        queue.pop()


def test_a_stack_gives_the_latest_first(accounting: BpfObject) -> None:
    accounting["account"].run_many([frame(size) for size in range(100, 106)])
    stack = accounting.maps["latest_sizes"]
    assert [stack.pop() for _ in range(4)] == [105, 104, 103, 102]  # the older ones were pushed out


def test_all_of_a_queue_and_of_a_stack_are_taken_at_once(accounting: BpfObject) -> None:
    accounting["account"].run_many([frame(size) for size in range(100, 106)])
    assert accounting.maps["first_sizes"].drain() == [100, 101, 102, 103]
    assert accounting.maps["latest_sizes"].drain() == [105, 104, 103, 102]
    assert accounting.maps["first_sizes"].drain() == []


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_live_traffic(accounting: BpfObject, bpf_vm: BpfVm, direction: Literal["ingress", "egress"]) -> None:
    """Attached with TCX where the kernel has it, as a clsact filter where it does not."""
    with accounting["account"].attach(interface="lo", direction=direction):
        bpf_vm.run(["/bin/bash", "-c", "echo hello > /dev/udp/127.0.0.1/9"])
    assert accounting.maps["by_protocol"].sum(0x0800)["packets"] > 0
