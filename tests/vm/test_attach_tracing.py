"""Kinds of programs that the kernel itself calls: each is attached, getpgid() is called, and its effect is seen.

Runs on the host unless kernels are named (--bpf-kernels); ``ci/program_types.py`` names them.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from pytest_ebpf import Bpf, KernelCallError, PlanError
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
@pytest.mark.attach_kind("kprobe")
def test_kprobe(bpf: Bpf, bpf_vm: Any) -> None:
    assert count_while_attached(bpf, bpf_vm, "kprobe_plain", function=TARGET) >= 10


@pytest.mark.bpf_feature("kprobe")
@pytest.mark.attach_kind("kretprobe")
def test_kretprobe(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "kretprobe_plain")
    counts[3] = 99
    with program.attach():
        getpgid(bpf_vm)
    assert counts[1] >= 10
    assert counts[3] == 0  # the hook's answer


@pytest.mark.bpf_feature("kprobe")
@pytest.mark.attach_kind("kprobe", option="at an offset or address")
def test_kprobe_at_an_offset_and_an_address(bpf: Bpf, bpf_vm: Any) -> None:
    """Some of the first bytes are inside an instruction, and some begin one."""
    program, counts = load(bpf, "kprobe_plain")
    hints = []
    for offset in range(1, 12):
        try:
            link = program.attach(function=TARGET, offset=offset)
        except KernelCallError as error:
            hints.append(error.hint)
            continue
        assert link.target == f"{TARGET}+{offset:#x}"
        getpgid(bpf_vm)
        link.detach()
    assert counts[0] >= 10
    assert any("inside an instruction" in hint for hint in hints)
    symbols = bpf_vm.read_file("/proc/kallsyms").decode()
    address = int(re.search(rf"^(\w+) \w {TARGET}$", symbols, re.M)[1], 16)  # type: ignore[index]
    counts[0] = 0
    with program.attach(function=address):
        getpgid(bpf_vm)
    assert counts[0] >= 10


@pytest.mark.bpf_kernel(">=5.15")
@pytest.mark.bpf_feature("kprobe")
@pytest.mark.attach_kind("kprobe", option="cookie")
def test_kprobe_cookie(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "kprobe_cookie")
    with program.attach(cookie=COOKIE):
        getpgid(bpf_vm)
    assert counts[2] == COOKIE


@pytest.mark.bpf_feature("kprobe")
@pytest.mark.attach_kind("ksyscall")
def test_ksyscall(bpf: Bpf, bpf_vm: Any) -> None:
    assert count_while_attached(bpf, bpf_vm, "entered_syscall") >= 10


@pytest.mark.bpf_feature("kprobe")
@pytest.mark.attach_kind("kretsyscall")
def test_kretsyscall(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "left_syscall")
    with program.attach():
        getpgid(bpf_vm)
    assert counts[1] >= 10
    assert counts[3] > 0  # the group's number


@pytest.mark.bpf_kernel(">=5.18")
@pytest.mark.bpf_feature("config:CONFIG_FPROBE")
@pytest.mark.attach_kind("kprobe.multi")
def test_kprobe_multi(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "kprobe_many")
    with program.attach(function=[TARGET, "security_task_getsid"], cookies=[COOKIE, 1]):
        getpgid(bpf_vm)
    assert counts[0] >= 10
    assert counts[2] == COOKIE


@pytest.mark.bpf_kernel(">=5.18")
@pytest.mark.bpf_feature("config:CONFIG_FPROBE")
@pytest.mark.attach_kind("kretprobe.multi")
def test_kretprobe_multi_by_pattern(bpf: Bpf, bpf_vm: Any) -> None:
    """A wide pattern holds names that several functions have, and each function once."""
    program, counts = load(bpf, "kretprobe_many")
    with program.attach(function=["security_task_*", TARGET]) as link:
        getpgid(bpf_vm)
        few = int(link.target.split()[0])
    assert counts[1] >= 10
    before = counts[1]
    with program.attach(function="[d-s]*task*") as link:
        getpgid(bpf_vm)
        assert int(link.target.split()[0]) > max(few, 200)
    assert counts[1] >= before + 10


@pytest.mark.bpf_kernel(">=6.10")
@pytest.mark.bpf_feature("config:CONFIG_FPROBE")
@pytest.mark.attach_kind("kprobe.session")
def test_kprobe_session(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "kprobe_both_ends")
    with program.attach():
        getpgid(bpf_vm)
    assert counts[0] >= 20
    assert counts[0] % 2 == 0


@pytest.mark.attach_kind("tracepoint")
@pytest.mark.bpf_feature("attach:tracepoint")
def test_tracepoint(bpf: Bpf, bpf_vm: Any) -> None:
    assert count_while_attached(bpf, bpf_vm, "tracepoint_plain") >= 10


@pytest.mark.bpf_kernel(">=5.15")
@pytest.mark.bpf_feature("attach:tracepoint")
@pytest.mark.attach_kind("tracepoint", option="cookie")
def test_tracepoint_cookie(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "tracepoint_cookie")
    with program.attach(cookie=COOKIE):
        getpgid(bpf_vm)
    assert counts[2] == COOKIE


@pytest.mark.bpf_feature("attach:raw_tp")
@pytest.mark.attach_kind("raw_tracepoint")
def test_raw_tracepoint(bpf: Bpf, bpf_vm: Any) -> None:
    assert count_while_attached(bpf, bpf_vm, "raw_tracepoint_plain") >= 10


@pytest.mark.bpf_kernel(">=6.10")
@pytest.mark.attach_kind("raw_tracepoint", option="cookie")
def test_raw_tracepoint_cookie(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "raw_tracepoint_cookie")
    with program.attach(cookie=COOKIE):
        getpgid(bpf_vm)
    assert counts[2] == COOKIE


@pytest.mark.attach_kind("raw_tracepoint.w")
def test_raw_tracepoint_that_writes(bpf: Bpf) -> None:
    """The tracepoint at the end of a test run lets a program change its result."""
    program, counts = load(bpf, "writing")
    other = bpf.load(BUILT.parents[3] / "sample_programs/built/xdp_firewall.bpf.o")
    run = next(each for each in other.programs.values() if each.type == "xdp")
    with program.attach(), pytest.raises(KernelCallError, match="EPROTO"):
        run.run(bytes(64))
    assert counts[0] == 1
    run.run(bytes(64))
    with pytest.raises(KernelCallError) as error:
        program.attach(event="sched_switch")
    assert "no argument that may be written" in error.value.hint


@pytest.mark.bpf_feature("fentry")
@pytest.mark.attach_kind("tp_btf")
def test_tp_btf(bpf: Bpf, bpf_vm: Any) -> None:
    assert count_while_attached(bpf, bpf_vm, "tp_btf_plain") >= 10


@pytest.mark.bpf_kernel(">=6.10")
@pytest.mark.bpf_feature("fentry")
@pytest.mark.attach_kind("tp_btf", option="cookie")
def test_tp_btf_cookie(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "tp_btf_cookie")
    with program.attach(cookie=COOKIE):
        getpgid(bpf_vm)
    assert counts[2] == COOKIE


@pytest.mark.bpf_feature("fentry")
@pytest.mark.attach_kind("fentry")
def test_fentry(bpf: Bpf, bpf_vm: Any) -> None:
    assert count_while_attached(bpf, bpf_vm, "fentry_plain") >= 10


@pytest.mark.bpf_kernel(">=6.12")  # what may be traced by programs that sleep is a list, which has grown
@pytest.mark.bpf_feature("fentry")
def test_fentry_sleepable(bpf: Bpf) -> None:
    program, counts = load(bpf, "fentry_sleepable")
    with program.attach():
        program.run()  # the kernel calls its bpf_fentry_test functions
    assert counts[0] == 1


@pytest.mark.bpf_feature("fexit")
@pytest.mark.attach_kind("fexit")
def test_fexit(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "fexit_plain")
    counts[3] = 99
    with program.attach():
        getpgid(bpf_vm)
    assert counts[1] >= 10
    assert counts[3] == 0


@pytest.mark.bpf_kernel(">=5.19")
@pytest.mark.bpf_feature("fentry")
@pytest.mark.attach_kind("fentry", option="cookie")
def test_fentry_cookie(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "fentry_cookie")
    with program.attach(cookie=COOKIE):
        getpgid(bpf_vm)
    assert counts[2] == COOKIE


@pytest.mark.bpf_feature("fmod_ret")
@pytest.mark.attach_kind("fmod_ret")
def test_fmod_ret(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "modified")
    assert getpgid(bpf_vm) == ""
    with program.attach():
        assert getpgid(bpf_vm) == "refused"
    assert counts[0] >= 1
    assert getpgid(bpf_vm) == ""


@pytest.mark.bpf_kernel(">=7.0")
@pytest.mark.bpf_feature("fentry")
@pytest.mark.attach_kind("fsession")
def test_fsession(bpf: Bpf, bpf_vm: Any) -> None:
    seen = count_while_attached(bpf, bpf_vm, "both_ends")
    assert seen >= 20
    assert seen % 2 == 0


@pytest.mark.bpf_kernel(">=7.2")
@pytest.mark.bpf_feature("fentry")
@pytest.mark.attach_kind("fentry.multi")
def test_fentry_multi(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "fentry_many")
    with program.attach(function=["security_task_getsid", TARGET], cookies=[5, COOKIE]) as link:
        getpgid(bpf_vm)
        info = link.info
    assert info.type == "tracing_multi"
    assert (info.details["attach_type"], info.details["count"]) == ("trace_fentry_multi", 2)
    assert sorted(info.details["cookies"]) == [5, COOKIE]
    assert len(set(info.details["btf_ids"])) == len(set(info.details["addresses"])) == 2
    assert counts[0] >= 10
    assert counts[2] == COOKIE
    with pytest.raises(PlanError, match="no function 'security_task_getpgidd'") as error:
        program.attach(function="security_task_getpgidd")
    assert TARGET in error.value.hint


@pytest.mark.bpf_kernel(">=7.2")
@pytest.mark.bpf_feature("fentry")
@pytest.mark.attach_kind("fexit.multi")
def test_fexit_multi_by_pattern(bpf: Bpf, bpf_vm: Any) -> None:
    assert count_while_attached(bpf, bpf_vm, "fexit_many", slot=1, function="security_task_get*") >= 10


@pytest.mark.bpf_kernel(">=7.2")
@pytest.mark.bpf_feature("fentry")
@pytest.mark.attach_kind("fsession.multi")
def test_fsession_multi(bpf: Bpf, bpf_vm: Any) -> None:
    assert count_while_attached(bpf, bpf_vm, "both_ends_many") >= 20


@pytest.mark.bpf_feature("attach:lsm")
@pytest.mark.attach_kind("lsm")
def test_lsm(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "refused")
    with program.attach():
        assert getpgid(bpf_vm) == "refused"
    assert counts[0] >= 1
    assert getpgid(bpf_vm) == ""


@pytest.mark.bpf_kernel(">=5.11")
@pytest.mark.bpf_feature("attach:lsm")
@pytest.mark.attach_kind("lsm", option="sleepable")
def test_lsm_sleepable(bpf: Bpf, bpf_vm: Any) -> None:
    program, counts = load(bpf, "opened")
    with program.attach():
        bpf_vm.run(["/bin/cat", "/proc/self/stat"])
    assert counts[0] > 0


@pytest.mark.bpf_kernel(">=6.0")
@pytest.mark.bpf_feature("attach:lsm_cgroup")
@pytest.mark.attach_kind("lsm_cgroup")
def test_lsm_cgroup(bpf: Bpf) -> None:
    program, counts = load(bpf, "refused_in_group")
    inside, outside = bpf.cgroup(), bpf.cgroup()
    command = ["/usr/bin/env", "python3", "-c", "import socket; socket.socket()"]
    with program.attach(cgroup=inside):
        refused = inside.run(command)
        assert refused.returncode == 1
        assert b"PermissionError" in refused.stderr
        assert outside.run(command).returncode == 0
    assert counts[0] == 1
    assert inside.run(command).returncode == 0
