"""One test for each fault and moment, and a witness behind each: a machine as it should be."""

from __future__ import annotations

from typing import Any

from pytest_ebpf.agent.ops import Describe

AS_IT_SHOULD_BE = (
    "cat /proc/sys/vm/swappiness /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/kexec_load_disabled; hostname;"
    " ls /run/netns 2>/dev/null; ls -d /sys/fs/cgroup/left /sys/fs/cgroup/busy 2>/dev/null; ls /sys/class/net;"
    " grep -c ^nf_conntrack /proc/modules; tc qdisc show dev lo; ip link show dev lo | grep -c xdp;"
    " grep -c left /proc/mounts; ps ax | grep -c '[s]leep'"
)


def test_fault(fault: Any, bpf_kernel: Any, calls: dict[str, list[Any]]) -> None:
    kernel = bpf_kernel.running.kernel
    kernel.run([Describe()])
    fault.at("idle")
    kernel.run([Describe()])
    for moment, ops in calls.items():
        fault.during(moment, ops)
    fault.at("behind the last call")


def test_first(bpf_vm: Any, state: dict[str, str]) -> None:
    state["before"] = bpf_vm.run(["sh", "-c", AS_IT_SHOULD_BE]).text


def test_witness(bpf_vm: Any, state: dict[str, str], behind: str) -> None:
    assert bpf_vm.run(["sh", "-c", AS_IT_SHOULD_BE]).text == state["before"]
