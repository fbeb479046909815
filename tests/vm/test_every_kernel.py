"""Each kernel in the cache comes up as a usable machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_ebpf.agent.ops import Data, Describe, Described, Exited, ReadFile, Spawn
from pytest_ebpf.kernels.base import check
from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.vm.guest.bundle import find_python, make_agent
from pytest_ebpf.vm.guest.compose import compose
from pytest_ebpf.vm.guest.config import BootConfig
from pytest_ebpf.vm.guest.machine import Machine
from pytest_ebpf.vm.guest.probe import probe
from pytest_ebpf.vm.guest.tools import find_tools
from pytest_ebpf.vm.images.image import KernelImage
from support.guests import images, start

pytestmark = pytest.mark.slow

Booted = tuple[KernelImage, Machine, RemoteKernel, Path]


@pytest.fixture(scope="module", params=images(), ids=lambda image: image.spec)
def booted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, config: BootConfig
) -> Iterator[Booted]:
    shared = tmp_path_factory.mktemp("shared")
    machine, kernel = start(request.param, replace(config, keep=(shared,)))
    yield request.param, machine, kernel, shared
    machine.close()


def run(kernel: RemoteKernel, command: str) -> str:
    """Output of a shell command that has to succeed."""
    result = check(kernel.run([Spawn(("/bin/sh", "-c", command))])[0], Exited)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode().strip()


def test_the_kernel_asked_for_runs(booted: Booted) -> None:
    image, machine, kernel, _ = booted
    facts = check(kernel.run([Describe()])[0], Described)
    assert facts.release == image.release == machine.hello["release"]
    assert facts.has_btf
    assert facts.cap_bpf
    assert facts.cpus == (1 if machine.accel.kind == "tcg" else 2)
    assert machine.alive()
    assert machine.ended() is None


def test_nothing_went_wrong_while_setting_up(booted: Booted) -> None:
    _, machine, _, _ = booted
    assert machine.hello["problems"] == []
    assert "WARNING:" not in machine.console_path.read_text(errors="replace")


def test_file_systems_are_where_programs_expect_them(booted: Booted) -> None:
    mounts = {line.split()[1]: line.split()[2] for line in run(booted[2], "cat /proc/mounts").splitlines()}
    wanted = {
        "/proc": "proc",
        "/sys": "sysfs",
        "/dev": "devtmpfs",
        "/sys/kernel/debug": "debugfs",
        "/sys/kernel/tracing": "tracefs",
        "/sys/kernel/security": "securityfs",
        "/sys/fs/bpf": "bpf",
        "/sys/fs/cgroup": "cgroup2",
        "/tmp": "tmpfs",
        "/run": "tmpfs",
    }
    assert {path: mounts.get(path) for path in wanted} == wanted
    assert run(booted[2], "touch /tmp/x /run/x /var/tmp/x && echo ok") == "ok"


def test_the_hosts_files_are_there_and_safe(booted: Booted) -> None:
    _, _, kernel, shared = booted
    (shared / "late").write_text("written after the boot")
    assert run(kernel, f"cat {shared}/late") == "written after the boot"
    assert run(kernel, f"touch {shared}/x 2>/dev/null || echo refused") == "refused"
    assert run(kernel, "touch /etc/x 2>/dev/null || echo refused") == "refused"
    assert run(kernel, f"cat {Path(__file__)}") == Path(__file__).read_text().strip()


def test_bpf_is_a_security_module(booted: Booted) -> None:
    assert "bpf" in run(booted[2], "cat /sys/kernel/security/lsm").split(",")


def test_modules_load_on_demand(booted: Booted) -> None:
    """By the kernel's own call of modprobe: rtnetlink asks for veth and for the ingress qdisc."""
    output = run(booted[2], "ip link add v0 type veth peer v1 && tc qdisc add dev v0 clsact && tc qdisc show dev v0")
    assert "clsact" in output


def test_the_network_is_a_loopback_that_is_up(booted: Booted) -> None:
    assert "LOOPBACK,UP" in run(booted[2], "ip link show lo")


def test_orphans_are_reaped(booted: Booted) -> None:
    kernel = booted[2]
    run(kernel, "(sh -c 'sleep 0.1 & sleep 0.1 &' &)")
    assert run(kernel, "sleep 0.5; cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ' || true") == "0"


def test_a_large_file_comes_over_the_wire(booted: Booted) -> None:
    data = check(booted[2].run([ReadFile("/sys/kernel/btf/vmlinux")], timeout=60)[0], Data).data
    assert data[:2] == b"\x9f\xeb"
    assert len(data) > 3_000_000


def test_the_probe_for_kvm_knows_a_kernel_that_runs(booted: Booted, config: BootConfig) -> None:
    """Under emulation, which always runs kernels: what it looks for does appear."""
    tools = find_tools()
    agent = make_agent(config.cache, python=find_python())
    composition = compose(booted[0], tools=tools, agent=agent, cache=config.cache)
    assert probe(composition, tools, kind="tcg", cache=config.cache, patience=10) == ""
