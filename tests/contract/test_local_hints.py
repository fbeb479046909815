"""Hints on the kernel of this machine: the errors are real."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from pytest_ebpf.agent.ops import Describe, Described, Done, Failed, Made, MapCreate, MapSet
from pytest_ebpf.errors import BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.kernels.base import check
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.local import LocalKernel
from pytest_ebpf.kernels.pool import HOST, KernelPool
from pytest_ebpf.kernels.running import RunningKernel
from pytest_ebpf.live.hints import advise
from pytest_ebpf.live.hints.lookup import hint_for
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.sections import MAP_TYPES
from pytest_ebpf.verifier.program_rejected import ProgramRejected
from support.refused_ops import REFUSED

OBJECTS = "sample_programs/built"


@pytest.fixture(scope="module")
def host() -> Iterator[RunningKernel]:
    pool = KernelPool(PoolConfig())
    yield pool.get(HOST)
    pool.close()


@pytest.fixture
def session(host: RunningKernel) -> Iterator[Session]:
    session = Session(host, name="hints", advise=advise)
    yield session
    session.close()


@pytest.fixture
def bpf(host: RunningKernel) -> Iterator[Bpf]:
    bpf = Bpf(host, name="hints")
    yield bpf
    bpf.close()


@pytest.mark.parametrize("case", REFUSED)
def test_maps(session: Session, case: str) -> None:
    op, errnos, words = REFUSED[case]
    with pytest.raises(KernelCallError) as caught:
        session.make(op)
    assert caught.value.errno in errnos
    assert words in caught.value.hint


def test_a_map_type_of_another_age(session: Session) -> None:
    if isinstance(session.attempt(MapCreate(MAP_TYPES.index("INSN_ARRAY"), 4, 16, 1), Made), Made):
        pytest.skip("this kernel has them")
    with pytest.raises(KernelCallError) as caught:
        session.make(MapCreate(MAP_TYPES.index("INSN_ARRAY"), 4, 16, 1))
    release = session.target.described.release
    assert caught.value.hint == (
        f"INSN_ARRAY maps came with Linux 6.19; this kernel is {release}. "
        'Mark the test @pytest.mark.bpf_feature("insn_array").'
    )


def test_11_an_interface_that_is_not_there(session: Session) -> None:
    devmap = session.make(MapCreate(MAP_TYPES.index("DEVMAP"), 4, 4, 1))
    with pytest.raises(KernelCallError, match="no interface with the index 99999 "):
        session.one(MapSet(devmap, bytes(4), (99_999).to_bytes(4, sys.byteorder)), Done)


def test_who_holds_an_interface(bpf: Bpf) -> None:
    program = bpf.load(f"{OBJECTS}/config.bpf.o")["police"]
    with program.attach(interface="lo", mode="skb"), pytest.raises(KernelCallError) as caught:
        program.attach(interface="lo", mode="skb")
    holder = f"lo has program 'police' (id {program.id}, mode skb) attached"
    assert caught.value.hint == f"{holder}; detach it first, or link.update() it."


def test_an_interface_that_is_not_there(bpf: Bpf) -> None:
    program = bpf.load(f"{OBJECTS}/config.bpf.o")["police"]
    with pytest.raises(BpfUsageError, match="no network interface 'loo'") as caught:
        program.attach(interface="loo")
    hint, _, others = caught.value.hint.partition(" It has ")
    assert hint == "did you mean lo?"
    assert set(others.rstrip(".").split(", ")) == {name for _, name in socket.if_nameindex()}


def test_names_that_are_nearly_there(bpf: Bpf) -> None:
    tracer = bpf.load(f"{OBJECTS}/exec_tracer.bpf.o")
    program = next(iter(tracer.programs.values()))
    with pytest.raises(PlanError, match="no tracepoint sched/sched_process_exe") as caught:
        program.attach(event="sched/sched_process_exe")
    assert "sched/sched_process_exec" in caught.value.hint
    group = bpf.cgroup()
    filter_ = next(iter(bpf.load(f"{OBJECTS}/connect_filter.bpf.o").programs.values()))
    with pytest.raises(KernelCallError) as error:
        filter_.attach(cgroup=group.path + "x")
    assert f"did you mean {group.path}" in error.value.hint


def test_a_program_that_this_machine_forbids(bpf: Bpf) -> None:
    if bpf.feature("fentry").cause != "denied":
        pytest.skip("this machine does not forbid it")
    with pytest.raises(ProgramRejected, match="EPERM") as caught:
        bpf.load(f"{OBJECTS}/fentry_counter.bpf.o")
    assert "a policy of this machine forbids it" in caught.value.hint


def _as_nobody(host: RunningKernel) -> str:
    """What a process without any capability is told when it makes a map: a child of ours gives them all up."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            kernel = LocalKernel()
            described = check(kernel.run([Describe()])[0], Described)
            (failed,) = kernel.run([MapCreate(1, 4, 4, 1)])
            assert isinstance(failed, Failed)
            target = SimpleNamespace(kernel=kernel, name="host", described=described, time_scale=1.0, facts=host.facts)
            hint = hint_for(MapCreate(1, 4, 4, 1), failed.errno, target=target)  # type: ignore[arg-type]
            os.write(writer, f"{failed.errno} {hint}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        told = stream.read().decode()
    os.waitpid(child, 0)
    return told


def test_a_process_without_capabilities(host: RunningKernel) -> None:
    sysctl = host.described.unprivileged_bpf_disabled
    if not sysctl or os.geteuid():
        pytest.skip("only root can give up its capabilities, and only where bpf() needs some")
    assert _as_nobody(host).startswith(
        f"1 This process has neither CAP_BPF nor CAP_SYS_ADMIN, and kernel.unprivileged_bpf_disabled is {sysctl}: "
    )
