"""Why a test run was refused: reasons of each type (line 11 of the list in verifier/extract/test_items.py)."""

from __future__ import annotations

import errno

import pytest

from pytest_ebpf.agent.ops import Handle, ProgRun, ProgRunMany
from pytest_ebpf.live.run.refusals import refusal
from pytest_ebpf.uapi.enums import AttachType, ProgType
from pytest_ebpf.uapi.flags import RunFlag

PROG = Handle(1, "b")
FRAME = bytes(64)


@pytest.mark.parametrize(
    ("kind", "where", "number", "given", "words"),
    [
        (ProgType.XDP, AttachType.XDP_DEVMAP, errno.EINVAL, {}, "entries of a device map"),
        (ProgType.XDP, AttachType.XDP_CPUMAP, errno.EINVAL, {}, "entries of a CPU map"),
        (ProgType.XDP, 0, errno.EINVAL, {"flags": RunFlag.RUN_ON_CPU}, "takes XDP_LIVE_FRAMES alone"),
        (ProgType.XDP, 0, errno.EINVAL, {"batch_size": 4}, "run_live"),
        (ProgType.XDP, 0, errno.EINVAL, {}, "Ethernet header"),
        (ProgType.XDP, 0, errno.EINVAL, {"ctx": bytes(24)}, "xdp_md before Linux 5.14"),
        (ProgType.SCHED_CLS, 0, errno.EINVAL, {"flags": RunFlag.XDP_LIVE_FRAMES}, "takes SKB_CHECKSUM_COMPLETE alone"),
        (ProgType.SCHED_CLS, 0, errno.EINVAL, {"cpu": 1}, "cpu= is for raw tracepoints alone"),
        (ProgType.CGROUP_SKB, 0, errno.EINVAL, {"flags": RunFlag.SKB_CHECKSUM_COMPLETE}, "Ethernet header"),
        (ProgType.RAW_TRACEPOINT, 0, errno.EINVAL, {"cpu": 1}, "flags=RunFlag.RUN_ON_CPU"),
        (ProgType.RAW_TRACEPOINT, 0, errno.ENXIO, {"cpu": 900, "flags": RunFlag.RUN_ON_CPU}, "no CPU 900"),
        (ProgType.RAW_TRACEPOINT, 0, errno.EINVAL, {"ctx": bytes(16)}, "ctx= has 2 arguments"),
        (ProgType.SYSCALL, 0, errno.EINVAL, {"ctx": bytes(4)}, "ctx= has 4 bytes"),
        (ProgType.SK_LOOKUP, 0, errno.EINVAL, {}, "bpf_sk_lookup"),
        (ProgType.SK_LOOKUP, 0, errno.EAFNOSUPPORT, {}, "AF_INET"),
        (ProgType.NETFILTER, 0, errno.EINVAL, {}, "20 bytes"),
        (ProgType.TRACING, AttachType.TRACE_FENTRY, errno.EFAULT, {}, "bpf_fentry_test1"),
        (ProgType.TRACING, AttachType.TRACE_RAW_TP, errno.EFAULT, {}, "tp_btf"),
        (ProgType.TRACING, AttachType.TRACE_ITER, errno.EFAULT, {}, "Iterators"),
    ],
)
def test_11_a_reason_of_its_type(kind: int, where: int, number: int, given: dict[str, object], words: str) -> None:
    assert words in refusal(ProgRun(PROG, **given), number, prog_type=kind, attach_type=where)


def test_11_what_is_no_reason_of_a_type_is_left_to_the_general_hints() -> None:
    assert refusal(ProgRun(PROG), errno.ENOSPC, prog_type=ProgType.XDP, attach_type=0) == ""


def test_11_many_packets_at_once() -> None:
    op = ProgRunMany(PROG, (FRAME,))
    assert "device map" in refusal(op, errno.EINVAL, prog_type=ProgType.XDP, attach_type=AttachType.XDP_DEVMAP)
    assert "Ethernet header" in refusal(op, errno.EINVAL, prog_type=ProgType.SCHED_CLS, attach_type=0)
