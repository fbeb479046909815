"""Iterators: every target that a kernel has, read as records; and those that take a parameter.

Runs on the host unless kernels are named (--bpf-kernels); ``ci/program_types.py`` names them.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pytest_ebpf import Bpf, BpfUsageError, EbpfError, KernelCallError, PlanError
from support.attach_events import BUILT
from support.host_policy import policy_of_the_host

pytestmark = pytest.mark.slow

ITERATORS = BUILT / "iterators.bpf.o"
# target -> the first release that has it
TARGETS = {
    "bpf_map": "5.8",
    "task": "5.8",
    "task_file": "5.8",
    "netlink": "5.8",
    "tcp": "5.9",
    "udp": "5.9",
    "bpf_prog": "5.9",
    "unix": "5.15",
    "task_vma": "5.12",
    "bpf_link": "5.19",
    "ksym": "6.0",
    "kmem_cache": "6.15",
}


def records(data: bytes, layout: str) -> list[Any]:
    return list(struct.iter_unpack(layout, data))


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(
            name,
            marks=[
                pytest.mark.bpf_kernel(f">={since}"),
                pytest.mark.attach_kind("iter", option=f"{name}"),
            ],
        )
        for name, since in TARGETS.items()
    ],
)
def test_every_target(bpf: Bpf, bpf_vm: Any, target: str) -> None:
    """Something of each is there: sockets are opened for it."""
    server = (
        "import socket,sys\na=[socket.create_server(('127.0.0.1',0)),socket.socket(socket.AF_INET,socket.SOCK_DGRAM)]"
    )
    server += "\na[1].bind(('127.0.0.1',0)); b=socket.socketpair(); print('ready',flush=True); sys.stdin.read()"
    with bpf_vm.start(["/usr/bin/env", "python3", "-c", server]) as running:
        running.expect("ready")
        obj = bpf.load(ITERATORS, only=["each_object"], programs={"each_object": f"iter/{target}"})
        with obj["each_object"].attach() as link:
            seen = records(link.read(), "=Q")
            assert len(seen) > 0
            assert set(seen) == {(1,)}
            assert link.target == target


@pytest.mark.bpf_kernel(">=6.1")
@pytest.mark.attach_kind("iter", option="of a control group, in an order")
def test_iterator_over_groups(bpf: Bpf, bpf_vm: Any) -> None:
    """From a group on: itself, what is in it, what it is in."""
    top = bpf.cgroup()
    inner = f"{top.path}/inner"
    bpf_vm.run(["/bin/mkdir", inner])
    try:
        program = bpf.load(ITERATORS, only=["each_group"])["each_group"]

        def levels(**named: object) -> list[int]:
            with program.attach(**named) as link:
                return [level for level, _ in records(link.read(), "=qQ")]

        (own,) = levels(cgroup=top, order="self")
        assert levels(cgroup=top) == [own, own + 1]
        assert levels(cgroup=top, order="descendants last first") == [own + 1, own]
        assert levels(cgroup=inner, order="ancestors") == list(range(own + 1, -1, -1))
        with pytest.raises(BpfUsageError, match="order= must be one of self, descendants"):
            program.attach(cgroup=top, order="random")
        with pytest.raises(BpfUsageError, match="cgroup= and pid= exclude each other"):
            program.attach(cgroup=top, pid=1)
        with pytest.raises(BpfUsageError, match="order= needs cgroup="):
            program.attach(order="self")
        with pytest.raises(EbpfError, match=r"there is no cgroup|ENOENT"):
            program.attach(cgroup=f"{top.path}/none")
    finally:
        bpf_vm.run(["/bin/rmdir", inner])


@pytest.mark.bpf_kernel("<6.1")
def test_parameters_that_an_old_kernel_does_not_know(bpf: Bpf) -> None:
    """It would look at everything instead."""
    program = bpf.load(ITERATORS, only=["each_task"])["each_task"]
    for named in ({"pid": 1}, {"tid": 1}, {"cgroup": bpf.cgroup()}):
        with pytest.raises(PlanError, match=f"take no {next(iter(named))}=") as error:
            program.attach(**named)
        assert error.value.since == "6.1"


def test_targets_that_are_not_there(bpf: Bpf) -> None:
    with pytest.raises(EbpfError, match="no iterator 'taskk'") as error:
        bpf.load(ITERATORS, only=["each_object"], programs={"each_object": "iter/taskk"})
    assert "did you mean task" in str(error.value)
    with policy_of_the_host(bpf):
        obj = bpf.load(ITERATORS, only=["each_element"])
    with pytest.raises(KernelCallError) as missing:
        obj["each_element"].attach()
    assert "map=" in missing.value.hint
