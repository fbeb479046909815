"""fentry_counter.bpf.c: hooks at the entry and the return of a kernel function."""

import pytest

from pytest_ebpf import Bpf

pytestmark = pytest.mark.bpf_feature("fentry")


def test_entry_and_return_are_seen(bpf: Bpf) -> None:
    obj = bpf.load("fentry_counter.bpf.o").attach()
    obj["count_entry"].run()  # a test run of a tracing program calls the kernel's bpf_fentry_test functions
    assert (obj.globals["entered"], obj.globals["left"]) == (1, 1)
    assert (obj.globals["last_argument"], obj.globals["last_result"]) == (1, 2)


def test_each_hook_can_be_attached_alone(bpf: Bpf) -> None:
    obj = bpf.load("fentry_counter.bpf.o")
    with obj["count_exit"].attach():
        obj["count_exit"].run()
    obj["count_exit"].run()
    assert (obj.globals["entered"], obj.globals["left"]) == (0, 1)
