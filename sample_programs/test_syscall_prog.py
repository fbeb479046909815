"""syscall_prog.bpf.c: calling into the kernel like a function."""

import pytest

from pytest_ebpf import Bpf

pytestmark = [pytest.mark.bpf_kernel(">=5.14"), pytest.mark.attach_kind("syscall")]


@pytest.mark.parametrize(("base", "exponent", "result"), [(2, 10, 1024), (7, 0, 1), (0, 3, 0), (10, 9, 10**9)])
def test_power(bpf: Bpf, base: int, exponent: int, result: int) -> None:
    power = bpf.load("syscall_prog.bpf.o")["power"]
    answer = power.run(ctx={"base": base, "exponent": exponent})
    assert answer.retval == 0
    assert answer.ctx["result"] == result
    assert not answer.ctx["overflowed"]


def test_overflow_is_reported(bpf: Bpf) -> None:
    answer = bpf.load("syscall_prog.bpf.o")["power"].run(ctx={"base": 2, "exponent": 60})
    assert answer.ctx["overflowed"] == 1


def test_errors_are_negative(bpf: Bpf) -> None:
    answer = bpf.load("syscall_prog.bpf.o")["power"].run(ctx={"base": 2, "exponent": 65, "result": 42})
    assert answer.retval == -22
    assert answer.ctx["result"] == 42
