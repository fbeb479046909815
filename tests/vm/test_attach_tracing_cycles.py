"""Attaching and detaching again and again leaves nothing behind, whatever is attached to whatever.

Each kind is attached and detached 20 times, and 1,000 times where PYTEST_EBPF_LONG is set. Then there is no program,
map, link, queueing discipline, mount, pin or open file that was not there before. Runs on the host unless kernels are
named.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_ebpf import Bpf
from pytest_ebpf.agent.ops import Data, Handle
from pytest_ebpf.live.net.netlink import messages, netlink_op
from support.attach_events import BUILT
from support.host_policy import policy_of_the_host
from support.netlink_bytes import plain_request
from support.network_events import namespace

_DUMP = 0x300  # NLM_F_DUMP
_GETQDISC, _GETTFILTER = 38, 46
HOOK = "security_task_getpgid"


@dataclass(frozen=True)
class Around:
    """What a kind may hang on."""

    obj: Any
    netns: Handle
    group: Any
    bpf: Bpf


@dataclass(frozen=True)
class Case:
    file: str
    program: str
    named: Callable[[Around], Mapping[str, object]] = lambda around: {}
    once: bool = False  # before Linux 5.13 attached once in its life


def on_loopback(**more: object) -> Callable[[Around], Mapping[str, object]]:
    return lambda around: {"interface": "lo", "netns": around.netns, **more}


def given(**named: object) -> Callable[[Around], Mapping[str, object]]:
    return lambda around: named


def in_group(around: Around) -> Mapping[str, object]:
    return {"cgroup": around.group}


KPROBES, FENTRY = pytest.mark.bpf_feature("kprobe"), pytest.mark.bpf_feature("fentry")
MULTI = (pytest.mark.bpf_kernel(">=5.18"), pytest.mark.bpf_feature("config:CONFIG_FPROBE"))
CASES = [
    pytest.param(Case("traces", "kprobe_plain", given(function=HOOK)), id="kprobe", marks=KPROBES),
    pytest.param(Case("traces", "kretprobe_plain"), id="kretprobe", marks=KPROBES),
    pytest.param(Case("traces", "entered_syscall"), id="ksyscall", marks=KPROBES),
    pytest.param(Case("traces", "kprobe_many"), id="kprobe.multi", marks=MULTI),
    pytest.param(
        Case("traces", "kprobe_both_ends"), id="kprobe.session", marks=(*MULTI, pytest.mark.bpf_kernel(">=6.10"))
    ),
    pytest.param(Case("traces", "tracepoint_plain"), id="tracepoint"),
    pytest.param(Case("traces", "raw_tracepoint_plain"), id="raw_tracepoint"),
    pytest.param(Case("traces", "tp_btf_plain", once=True), id="tp_btf", marks=FENTRY),
    pytest.param(Case("traces", "fentry_plain", once=True), id="fentry", marks=FENTRY),
    pytest.param(Case("traces", "fexit_plain", once=True), id="fexit", marks=FENTRY),
    pytest.param(Case("traces", "modified", once=True), id="fmod_ret", marks=FENTRY),
    pytest.param(Case("traces", "both_ends"), id="fsession", marks=(FENTRY, pytest.mark.bpf_kernel(">=7.0"))),
    pytest.param(Case("traces", "fentry_many"), id="fentry.multi", marks=(FENTRY, pytest.mark.bpf_kernel(">=7.2"))),
    pytest.param(Case("traces", "refused", once=True), id="lsm", marks=pytest.mark.bpf_feature("attach:lsm")),
    pytest.param(
        Case("traces", "refused_in_group", in_group),
        id="lsm_cgroup",
        marks=(pytest.mark.bpf_kernel(">=6.0"), pytest.mark.bpf_feature("attach:lsm_cgroup")),
    ),
    pytest.param(Case("uprobes", "entered", given(binary="/bin/sh", offset=0x10000)), id="uprobe"),
    pytest.param(
        Case("uprobes", "many_returned", given(binary="/bin/sh", offset=[0x10000, 0x10010])), id="uprobe.multi"
    ),
    pytest.param(
        Case("usdt", "seen", given(binary=str(BUILT / "usdt_target"), provider="demo", name="mixed")), id="usdt"
    ),
    pytest.param(Case("iterators", "each_task"), id="iter"),
    pytest.param(
        Case("iterators", "each_element", lambda around: {"map": around.obj.maps["counts"]}), id="iter of map"
    ),
    pytest.param(Case("perf_events", "sampled", given(event="cpu-clock", frequency=10)), id="perf_event"),
    pytest.param(Case("network", "xdp_drop", on_loopback(mode="skb")), id="xdp link"),
    pytest.param(Case("network", "xdp_drop", on_loopback(mode="skb", mechanism="netlink")), id="xdp netlink"),
    pytest.param(
        Case("network", "tc_one", on_loopback(direction="ingress", mechanism="tcx")),
        id="tcx",
        marks=pytest.mark.bpf_kernel(">=6.6"),
    ),
    pytest.param(Case("network", "tc_one", on_loopback(direction="egress", mechanism="clsact")), id="clsact"),
    pytest.param(Case("network", "dissect", lambda around: {"netns": around.netns}), id="flow_dissector"),
    pytest.param(Case("on_sockets", "refuse", lambda around: {"netns": around.netns}), id="sk_lookup"),
    pytest.param(
        Case("network", "route_out", on_loopback(route="10.9.0.0/24")),
        id="lwt_out",
    ),
    pytest.param(Case("cgroups", "egress", in_group), id="cgroup link"),
    pytest.param(
        Case("cgroups", "egress", lambda around: {"cgroup": around.group, "mechanism": "attach"}), id="cgroup attach"
    ),
    pytest.param(Case("cgroups", "device", in_group), id="cgroup/dev"),
    pytest.param(Case("cgroups", "sock_ops", in_group), id="sockops"),
    pytest.param(Case("sockets", "sending", lambda around: {"map": around.obj.maps["sockets"]}), id="sk_msg"),
    pytest.param(
        Case("netfilter", "seen", given(family="ipv4", hook="output")),
        id="netfilter",
        marks=(pytest.mark.bpf_kernel(">=6.4"), pytest.mark.bpf_feature("config:CONFIG_NETFILTER_BPF_LINK")),
    ),
]


def snapshot(around: Around, bpf_vm: Any, *, named: set[str]) -> set[str]:
    """Everything of the machine that could be left. On the host, of programs and maps, those of these names: others
    work there too."""
    bpf = around.bpf
    everything = bpf_vm.kernel.id != "host"
    found = {f"program {each.name} {each.id}" for each in bpf.loaded.programs() if everything or each.name in named}
    found |= {f"map {each.name} {each.id}" for each in bpf.loaded.maps() if everything or each.name in named}
    if everything:
        found |= {f"link {each.id}" for each in bpf.loaded.links()}
    found |= {f"mount {line}" for line in bpf_vm.read_file("/proc/self/mounts").decode().splitlines()}
    found |= {f"pin {name}" for name in bpf_vm.list_dir("/sys/fs/bpf")} if everything else set()
    for kind in (_GETQDISC, _GETTFILTER):
        body = bytes(4) + (1).to_bytes(4, "little") + bytes(12)  # struct tcmsg of the loopback
        answer = bpf.session.one(netlink_op(plain_request(kind, body, flags=_DUMP), netns=around.netns), Data)
        found |= {f"qdisc or filter {bytes(each.body)!r}" for each in messages(answer.data)}
    return found


def files(bpf_vm: Any) -> int:
    return len(bpf_vm.list_dir("/proc/self/fd"))


def cycle(bpf: Bpf, bpf_vm: Any, case: Case, *, times: int) -> None:
    around = Around(None, namespace(bpf), bpf.cgroup(), bpf)
    names = {case.program[:15], "counts", "sockets"}
    with policy_of_the_host(bpf), bpf.load(BUILT / f"{case.file}.bpf.o", only=[case.program]) as obj:
        # what is made once, such as tracefs
        obj[case.program].attach(**case.named(Around(obj, around.netns, around.group, bpf))).detach()
    before, open_before = snapshot(around, bpf_vm, named=names), files(bpf_vm)
    again = case.once and bpf.session.target.described.release.startswith("5.10")
    obj = bpf.load(BUILT / f"{case.file}.bpf.o", only=[case.program])
    for _ in range(times):
        named = case.named(Around(obj, around.netns, around.group, bpf))
        link = obj[case.program].attach(**named)
        assert link.attached
        link.detach()
        assert not link.attached
        if again:
            obj.close()
            obj = bpf.load(BUILT / f"{case.file}.bpf.o", only=[case.program])
    obj.close()
    deadline = time.monotonic() + 30  # the kernel frees some things a little later
    while (left := snapshot(around, bpf_vm, named=names) - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == set()
    assert files(bpf_vm) <= open_before


@pytest.mark.parametrize("case", CASES)
def test_twenty_times(bpf: Bpf, bpf_vm: Any, case: Case) -> None:
    cycle(bpf, bpf_vm, case, times=20)


@pytest.mark.slow
@pytest.mark.skipif("PYTEST_EBPF_LONG" not in os.environ, reason="seconds to minutes a kind: set PYTEST_EBPF_LONG=1")
@pytest.mark.parametrize("case", CASES)
def test_a_thousand_times(bpf: Bpf, bpf_vm: Any, case: Case) -> None:
    cycle(bpf, bpf_vm, case, times=1000)
