"""syscall_latency.bpf.c: a histogram made by two programs on raw tracepoints."""

import pytest

from pytest_ebpf import Bpf, BpfVm


def test_system_calls_land_in_the_histogram(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("syscall_latency.bpf.o").attach()
    bpf_vm.run(["/bin/true"])
    histogram = [sum(cells) for cells in obj.maps["histogram"].values()]
    assert sum(histogram) > 10


def test_only_the_watched_process_counts(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("syscall_latency.bpf.o", globals={"watched_tgid": 0x7FFFFFFF}).attach()
    bpf_vm.run(["/bin/true"])
    assert [sum(cells) for cells in obj.maps["histogram"].values()] == [0] * 32


def test_without_attaching(bpf: Bpf) -> None:
    """Raw tracepoint programs can be called directly: enter, then exit, on the same thread."""
    obj = bpf.load("syscall_latency.bpf.o")
    obj["on_exit"].run()  # nothing had started
    assert sum(map(sum, obj.maps["histogram"].values())) == 0
    obj["on_enter"].run()
    assert len(obj.maps["started"]) == 1
    obj["on_exit"].run()
    assert sum(map(sum, obj.maps["histogram"].values())) == 1
    assert len(obj.maps["started"]) == 0


@pytest.mark.parametrize("power", range(34))
def test_each_duration_has_its_bucket(bpf: Bpf, power: int) -> None:
    """A clock that the test moves: the shortest and the longest duration of each bucket."""
    obj = bpf.load("syscall_latency.bpf.o", doubles=bpf.frozen_clock(1000))
    for took in (1 << power, (2 << power) - 1):
        obj["on_enter"].run()
        obj.doubles["bpf_ktime_get_ns"].value += took
        obj["on_exit"].run()
    histogram = [sum(cells) for cells in obj.maps["histogram"].values()]
    assert histogram == [2 * (bucket == min(power, 31)) for bucket in range(32)]


def test_a_thread_that_enters_twice_counts_from_the_second(bpf: Bpf) -> None:
    thread = 0x1234_5678_0000_0007
    for watched in (0, 0x12345678):
        doubles: dict[str, object] = {**bpf.frozen_clock(1000), "bpf_get_current_pid_tgid": thread}
        obj = bpf.load("syscall_latency.bpf.o", doubles=doubles, globals={"watched_tgid": watched})
        for _ in range(2):
            obj["on_enter"].run()
            obj.doubles["bpf_ktime_get_ns"].value += 8
        obj["on_exit"].run()
        assert sum(obj.maps["histogram"].values()[3]) == 1
    obj = bpf.load("syscall_latency.bpf.o", doubles=doubles, globals={"watched_tgid": 0x12345679})
    obj["on_enter"].run()
    assert len(obj.maps["started"]) == 0
