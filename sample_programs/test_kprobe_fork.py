"""kprobe_fork.bpf.c: a kprobe whose argument is read through CO-RE."""

import pytest

from pytest_ebpf import Bpf, BpfVm

# The object reads its argument from the registers of x86-64.
pytestmark = pytest.mark.bpf_feature("kprobe", "pt_regs_x86_64")


def test_forks_are_counted_by_parent(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("kprobe_fork.bpf.o").attach()
    bpf_vm.run(["/bin/sh", "-c", "/bin/true; /bin/true; /bin/true"])
    assert obj.maps["forks"][{"text": "sh"}] >= 2  # the last command may replace the shell


def test_nothing_is_counted_before_attaching(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("kprobe_fork.bpf.o")
    bpf_vm.run(["/bin/true"])
    assert obj.maps["forks"] == {}
