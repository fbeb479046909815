"""What a test leaves in a guest is found, told and removed (issue 16, Deliver 3). ci/faults has more of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_ebpf.agent.ops import Exited, Leak, MakeDir, Op, ScopeClose, ScopeClosed, ScopeOpen, Spawn, WatchAround
from pytest_ebpf.kernels.base import check, made
from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.vm.guest.config import BootConfig
from pytest_ebpf.vm.images.image import KernelImage
from support.guests import start
from support.paths import ROOT

pytestmark = pytest.mark.slow
OBJECT = ROOT / "sample_programs" / "built" / "xdp_firewall.bpf.o"

LEFT = {
    "sysctl": ("echo 55 >/proc/sys/vm/swappiness", ["sysctl vm.swappiness"], "grep -q 60 /proc/sys/vm/swappiness"),
    "module": ("modprobe nf_conntrack", None, "! grep -q ^nf_ /proc/modules"),
    "qdisc": (
        "tc qdisc add dev lo clsact; tc filter add dev lo ingress matchall action drop",
        ["qdisc lo clsact ffff:"],
        "! tc qdisc show dev lo | grep -q clsact",
    ),
    "xdp": (f"ip link set dev lo xdpgeneric obj {OBJECT} sec xdp", None, "! ip link show lo | grep -q xdp"),
    "interface": ("ip link add one type dummy", ["interface one"], "! ip link show one 2>/dev/null"),
    "netns": ("ip netns add one", ["netns one"], "! ls /run/netns/one 2>/dev/null"),
    "mount": (
        "mkdir /tmp/a; mount -t tmpfs a /tmp/a; mkdir /tmp/a/b; mount -t tmpfs b /tmp/a/b",
        ["mount /tmp/a/b", "mount /tmp/a"],
        "! grep -q /tmp/a /proc/mounts",
    ),
    "cgroup": ("mkdir -p /sys/fs/cgroup/a/b", ["cgroup /sys/fs/cgroup/a"], "! ls /sys/fs/cgroup/a 2>/dev/null"),
    "nothing": ("ip link add two type dummy; ip link del two; ip netns add two; ip netns del two", [], "true"),
}


@pytest.fixture(scope="module")
def guest(any_image: KernelImage) -> Iterator[RemoteKernel]:
    machine, kernel = start(any_image, BootConfig())
    yield kernel
    machine.close()


def left_by(kernel: RemoteKernel, *ops: Op) -> tuple[Leak, ...]:
    scope = made(kernel.run([ScopeOpen("a test")])[0])
    for result in kernel.run([WatchAround(), *ops], scope=scope):
        assert not isinstance(result, Exited) or result.returncode == 0, result
    return check(kernel.run([ScopeClose(scope)])[0], ScopeClosed).leaks


def shell(script: str) -> Spawn:
    return Spawn(("/bin/sh", "-c", script), timeout=60)


@pytest.mark.parametrize("kind", LEFT)
def test_what_a_test_left_is_told_and_removed(guest: RemoteKernel, kind: str) -> None:
    script, expected, is_well = LEFT[kind]
    leaks = left_by(guest, shell(script))
    assert not any(leak.stays for leak in leaks), leaks
    assert {leak.kind for leak in leaks} <= {kind}, leaks
    if expected is None:
        assert leaks
    else:
        assert [f"{leak.kind} {leak.name}" for leak in leaks] == expected
    assert check(guest.run([shell(is_well)])[0], Exited).returncode == 0


def test_what_cannot_be_undone_is_told(guest: RemoteKernel) -> None:
    (leak,) = left_by(guest, shell("echo 1 >/proc/sys/kernel/kexec_load_disabled"))
    assert (leak.kind, leak.name) == ("sysctl", "kernel.kexec_load_disabled")
    assert leak.stays


def test_what_ops_made_for_an_open_scope_is_not_left_behind(guest: RemoteKernel) -> None:
    scope = made(guest.run([ScopeOpen("of a module")])[0])
    outer = made(guest.run([ScopeOpen("a test")])[0])
    guest.run([WatchAround(), shell("true")], scope=outer)
    guest.run([MakeDir("/sys/fs/cgroup/ours")], scope=scope)
    assert check(guest.run([ScopeClose(outer)])[0], ScopeClosed).leaks == ()
    assert check(guest.run([ScopeClose(scope)])[0], ScopeClosed).leaks == ()
