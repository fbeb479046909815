"""sched_fifo.bpf.c: a scheduler written in eBPF, for as long as a test wants it."""

import pytest

from pytest_ebpf import Bpf, BpfVm, KernelCallError

pytestmark = [
    pytest.mark.bpf_kernel(">=6.12"),
    pytest.mark.bpf_feature("config:CONFIG_SCHED_CLASS_EXT"),
    pytest.mark.attach_kind("struct_ops", option="sched_ext"),
]

WORK = ["/bin/sh", "-c", "for i in 1 2 3 4 5; do /bin/true & done; wait"]


def state(bpf_vm: BpfVm) -> bytes:
    return bpf_vm.read_file("/sys/kernel/sched_ext/state").strip()


def test_tasks_are_queued_and_run(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("sched_fifo.bpf.o")
    assert state(bpf_vm) == b"disabled"
    with obj.struct_ops["lesson_fifo"].attach():
        assert state(bpf_vm) == b"enabled"
        assert bpf_vm.read_file("/sys/kernel/sched_ext/root/ops").strip() == b"lesson_fifo"
        bpf_vm.run(WORK).check()
    assert state(bpf_vm) in (b"disabling", b"disabled")
    assert obj.globals["queued"] > 5
    assert obj.globals["started"] > 5
    queued = obj.globals["queued"]
    bpf_vm.run(WORK).check()
    assert obj.globals["queued"] == queued


def test_one_scheduler_at_a_time(bpf: Bpf) -> None:
    """While one is attached, another is refused."""
    first, second = bpf.load("sched_fifo.bpf.o"), bpf.load("sched_fifo.bpf.o")
    with first.struct_ops["lesson_fifo"].attach(), pytest.raises(KernelCallError, match="EBUSY"):
        second.struct_ops["lesson_fifo"].attach()
