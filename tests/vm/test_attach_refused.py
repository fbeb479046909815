"""Attaching programs that the kernel calls: what is not there, twice and again, and what an older kernel lacks."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_ebpf import Bpf, BpfUsageError, EbpfError, KernelCallError, PlanError
from pytest_ebpf.live.program import Program
from support.attach_events import BUILT, getpgid

pytestmark = pytest.mark.slow


TRACES = BUILT / "traces.bpf.o"


COOKIE = 1 << 40 | 7


TARGET = "security_task_getpgid"


def load(bpf: Bpf, name: str) -> tuple[Program, Any]:
    obj = bpf.load(TRACES, only=[name])
    return obj[name], obj.maps["counts"]


def count_while_attached(bpf: Bpf, bpf_vm: Any, name: str, *, slot: int = 0, **named: object) -> int:
    """How often it ran during ten calls; nothing is counted before and after."""
    program, counts = load(bpf, name)
    getpgid(bpf_vm, 1)
    assert counts[slot] == 0
    with program.attach(**named) as link:
        getpgid(bpf_vm)
        assert link.attached
    seen: int = counts[slot]
    getpgid(bpf_vm)
    assert counts[slot] == seen
    return seen


@pytest.mark.bpf_feature("kprobe")
def test_a_function_that_is_not_there(bpf: Bpf) -> None:
    program, _ = load(bpf, "kprobe_plain")
    with pytest.raises(KernelCallError) as error:
        program.attach(function="security_task_getpgidd")
    assert "no function security_task_getpgidd; did you mean security_task_getpgid" in error.value.hint
    with pytest.raises(BpfUsageError, match="function= expects the name of a kernel function"):
        program.attach(function=1.5)
    with pytest.raises(BpfUsageError, match="needs function="):
        program.attach()
    syscall, _ = load(bpf, "any_syscall")
    with pytest.raises(KernelCallError) as error:
        syscall.attach(function="getpgidd")
    assert "no system call getpgidd" in error.value.hint
    assert "did you mean getpgid" in error.value.hint


@pytest.mark.bpf_kernel(">=5.18")
@pytest.mark.bpf_feature("config:CONFIG_FPROBE")
def test_many_functions_one_of_which_is_not_there(bpf: Bpf) -> None:
    program, _ = load(bpf, "kprobe_many")
    with pytest.raises(KernelCallError) as error:
        program.attach(function=[TARGET, "security_task_getsidd"])
    assert "no function security_task_getsidd that can be traced; did you mean security_task_getsid" in error.value.hint
    with pytest.raises(BpfUsageError, match="no function of this kernel") as nothing:
        program.attach(function="security_task_getpgidd*")
    assert TARGET in nothing.value.hint
    with pytest.raises(BpfUsageError, match="cookies= expects a list of 2 integers"):
        program.attach(function=[TARGET, "security_task_getsid"], cookies=[1])


@pytest.mark.bpf_feature("fentry")
def test_a_tracepoint_that_is_not_there(bpf: Bpf) -> None:
    program, _ = load(bpf, "tracepoint_plain")
    with pytest.raises(PlanError, match="no tracepoint sched/sched_proces_exec") as error:
        program.attach(event="sched/sched_proces_exec")
    assert "sched/sched_process_exec" in error.value.hint
    raw, _ = load(bpf, "raw_tracepoint_plain")
    with pytest.raises(KernelCallError) as refused:
        raw.attach(event="sched_proces_exec")
    assert "sched_process_exec" in refused.value.hint
    with pytest.raises(EbpfError, match="no kernel function 'security_task_getpgidd'") as missing:
        bpf.load(TRACES, only=["fentry_plain"], programs={"fentry_plain": "fentry/security_task_getpgidd"})
    assert f"did you mean {TARGET}" in str(missing.value)


@pytest.mark.bpf_feature("fentry")
def test_twice_attached_and_twice_detached(bpf: Bpf, bpf_vm: Any) -> None:
    """The second time is refused in words, and detaching twice is harmless."""
    for name in ("tracepoint_plain", "fentry_plain"):
        program, counts = load(bpf, name)
        link = program.attach()
        with pytest.raises(KernelCallError) as error:
            program.attach()
        assert "already" in error.value.hint
        getpgid(bpf_vm)
        assert counts[0] >= 10
        link.detach()
        link.detach()
        assert not link.attached


@pytest.mark.bpf_feature("fentry")
def test_attached_again_after_a_detach(bpf: Bpf) -> None:
    """Tracing programs since Linux 5.13; before, the refusal says what to do."""
    plain, _ = load(bpf, "tracepoint_plain")
    for _ in range(3):
        plain.attach().detach()
    program, _ = load(bpf, "fentry_plain")
    program.attach().detach()
    if bpf.session.target.described.release.startswith("5.10"):
        with pytest.raises(KernelCallError) as error:
            program.attach()
        assert "load it again" in error.value.hint
    else:
        program.attach().detach()


@pytest.mark.bpf_kernel("<6.10")
@pytest.mark.bpf_feature("kprobe")
def test_links_that_an_older_kernel_does_not_know(bpf: Bpf) -> None:
    """Since when there are such, what this kernel is, and what to use instead."""
    program, _ = load(bpf, "kprobe_both_ends")
    with pytest.raises(KernelCallError) as error:
        program.attach()
    for words in ("kprobe.session links came with Linux 6.10", "this kernel is", "a kprobe and a kretprobe"):
        assert words in error.value.hint
    many, _ = load(bpf, "kretprobe_many")
    with pytest.raises(KernelCallError) as refused:
        many.attach(function=TARGET)
    assert "kprobe.multi links" in refused.value.hint
    assert "kprobe to each function" in refused.value.hint


@pytest.mark.bpf_kernel("<5.15")
@pytest.mark.bpf_feature("fentry")
def test_an_old_kernel_says_since_when_there_are_cookies(bpf: Bpf) -> None:
    for name in ("raw_tracepoint_plain", "fentry_plain", "kprobe_plain"):
        program, _ = load(bpf, name)
        where = {"function": TARGET} if name == "kprobe_plain" else {}
        with pytest.raises(KernelCallError) as error:
            program.attach(cookie=7, **where)
        assert "came with Linux" in error.value.hint
