"""connect_filter.bpf.c: a program on a cgroup decides about connect(2)."""

import pytest

from pytest_ebpf import Bpf, BpfVm, Cgroup

CONNECT = "exec 3<>/dev/tcp/127.0.0.1/{port}"


@pytest.fixture
def group(bpf: Bpf) -> Cgroup:
    return bpf.cgroup()


def connect(group: Cgroup, *, port: int) -> str:
    """What the shell says; nothing listens there, so that connecting fails in one way or another."""
    return group.run(["/bin/bash", "-c", CONNECT.format(port=port)]).stderr.decode()


def test_forbidden_port(bpf: Bpf, group: Cgroup) -> None:
    obj = bpf.load("connect_filter.bpf.o")
    obj["filter_connect"].attach(cgroup=group)
    assert "Operation not permitted" in connect(group, port=9)
    assert (obj.globals["denied"], obj.globals["allowed"]) == (1, 0)


def test_other_ports_are_left_alone(bpf: Bpf, group: Cgroup) -> None:
    obj = bpf.load("connect_filter.bpf.o")
    obj["filter_connect"].attach(cgroup=group)
    assert "Operation not permitted" not in connect(group, port=10)
    assert (obj.globals["denied"], obj.globals["allowed"]) == (0, 1)
    assert bytes(obj.globals["last_address"]) == bytes([127, 0, 0, 1])


def test_which_port_is_configuration(bpf: Bpf, group: Cgroup) -> None:
    obj = bpf.load("connect_filter.bpf.o", globals={"forbidden_port": 10})
    obj["filter_connect"].attach(cgroup=group)
    assert "Operation not permitted" in connect(group, port=10)


def test_processes_outside_of_the_group_are_free(bpf: Bpf, bpf_vm: BpfVm, group: Cgroup) -> None:
    obj = bpf.load("connect_filter.bpf.o")
    obj["filter_connect"].attach(cgroup=group)
    said = bpf_vm.run(["/bin/bash", "-c", CONNECT.format(port=9)]).stderr
    assert b"Operation not permitted" not in said
    assert obj.globals["denied"] == 0
