"""What the types of kernel modules, and tables of functions for the kernel, are on kernels that differ in both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_ebpf import Bpf, KernelCallError, PlanError, ProgramRejected
from pytest_ebpf.agent.ops import Data, Exited, ListDir, ReadFile, Spawn
from pytest_ebpf.kernels.base import check
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.kernels.running import RunningKernel
from support.paths import TESTS

pytestmark = pytest.mark.slow

BUILT = TESTS / "objects" / "built"
TYPES, TABLES = BUILT / "module_types.bpf.o", BUILT / "struct_ops.bpf.o"
FRAME = bytes(64)
AVAILABLE = "/proc/sys/net/ipv4/tcp_available_congestion_control"


@pytest.fixture(scope="module")
def pool() -> Iterator[KernelPool]:
    pool = KernelPool(PoolConfig())
    yield pool
    pool.close()


@pytest.fixture(params=["5.10", "6.12", "newest"], scope="module")
def guest(request: pytest.FixtureRequest, pool: KernelPool) -> RunningKernel:
    return pool.get(request.param)


@pytest.fixture
def bpf(guest: RunningKernel) -> Iterator[Bpf]:
    bpf = Bpf(guest)
    yield bpf
    assert bpf.close() == ()


def modprobe(bpf: Bpf, *arguments: str) -> None:
    done = check(bpf.session.run([Spawn(("/sbin/modprobe", *arguments), timeout=60)])[0], Exited)
    assert done.returncode == 0, done.stderr


def is_old(bpf: Bpf) -> bool:
    return bpf.session.target.described.release.startswith("5.10")


def algorithms(bpf: Bpf) -> list[str]:
    return check(bpf.session.run([ReadFile(AVAILABLE)])[0], Data).data.decode().split()


def test_before_the_module_is_there(bpf: Bpf) -> None:
    """A weak kfunc is poisoned, and told by its name; a type that is nowhere has size 0."""
    names = check(bpf.session.run([ListDir("/sys/module")])[0], Data).data
    assert b"\0nf_conntrack\0" not in names
    with pytest.raises(ProgramRejected, match=r"kfunc bpf_xdp_ct_lookup\(\) is missing in this kernel"):
        bpf.load(TYPES, only="lookup")
    assert bpf.load(TYPES, only="size_of_type")["size_of_type"].run(FRAME).retval == 0
    with pytest.raises(PlanError, match=r"(?s)no module nf_conntrack with BTF loaded.*modprobe"):
        bpf.load(TYPES, only="named_module")


def test_with_the_module(bpf: Bpf) -> None:
    """kfuncs, types for CO-RE and functions to trace, found in a module that was loaded after the first look."""
    modprobe(bpf, "nf_conntrack")
    if is_old(bpf):  # the types of modules came with 5.11
        assert bpf.load(TYPES, only="size_of_type")["size_of_type"].run(FRAME).retval == 0
        return
    obj = bpf.load(TYPES)
    assert obj["lookup"].run(FRAME).retval == 2  # the kfunc ran: ENOENT is what it answers
    assert obj["size_of_type"].run(FRAME).retval > 4
    traced = bpf.load(TYPES, only=["named_module", "any_module"]).attach()
    assert [link.target for link in traced.links] == ["nf_conntrack:nf_conntrack_in", "nf_conntrack_in"]
    with pytest.raises(PlanError, match="module nf_conntrack has no kernel function 'no_such'"):
        bpf.load(TYPES, only="any_module", programs={"any_module": {"target": "nf_conntrack:no_such"}})


def test_a_table_of_functions(bpf: Bpf) -> None:
    """Registered while it is attached, and usable by its name."""
    if is_old(bpf):  # links to struct_ops came with 6.4
        with pytest.raises(PlanError, match="struct_ops linked is to be registered through a link") as error:
            bpf.load(TABLES)
        assert error.value.since == "6.4"
        return
    obj = bpf.load(TABLES)
    assert set(obj.programs) == {"half", "undo", "avoid"}
    for name in ("linked", "plain"):
        with obj.struct_ops[name].attach() as link:
            assert link.target == "tcp_congestion_ops"
            assert f"pe_{name}" in algorithms(bpf)
    assert not any(name.startswith("pe_") for name in algorithms(bpf))
    with obj.struct_ops["linked"].attach():
        assert "pe_linked" in algorithms(bpf)
    with pytest.raises(KernelCallError, match="EBUSY"):
        obj.struct_ops["plain"].attach()
    with bpf.load(TABLES).attach():
        assert {"pe_linked", "pe_plain"} <= set(algorithms(bpf))
