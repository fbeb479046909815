"""Probes for ways to attach, and for what the kernel has as a whole."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pytest_ebpf.agent.ops import (
    Data,
    Failed,
    LinkCreate,
    Made,
    Op,
    ProgLoaded,
    ProgQuery,
    RawTracepointOpen,
    ReadFile,
    Ref,
    Result,
    Try,
)
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.obj.insn import Insn
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.feature_base import Answer, Feature, refusal, said
from pytest_ebpf.plan.feature_progs import load_op

__all__ = ["ATTACH_FEATURES"]

_RETURN_0 = [Insn(0xB7), Insn(0x95)]
# A function that every kernel with BTF has, which nothing calls outside of test runs, and which may be traced.
_TRACED = "bpf_fentry_test1"
_TCX_INGRESS, _PERF_EVENT = 46, 41  # enum bpf_attach_type
_LOOPBACK = 1
_NO_FD = 0x7FFFFFFF
_PMU = "/sys/bus/event_source/devices/{}/type"
_LSM_LIST = "/sys/kernel/security/lsm"


def _tracing_ops(facts: Facts, *, attach_type: int) -> list[Op]:
    found = facts.btf.find(_TRACED, Kind.FUNC) if facts.btf else ()
    if not found:
        return []
    load = replace(load_op("TRACING", _RETURN_0, facts=facts, btf_id=found[0]), expected_attach_type=attach_type)
    return [Try(load), Try(RawTracepointOpen(Ref(0)))]


def _tracing_read(results: Sequence[Result], facts: Facts, *, name: str, since: str) -> Answer:
    if not results:
        why = "this kernel has no BTF" if facts.btf is None else f"{_TRACED} is not in the kernel's BTF"
        return Answer(False, f"{name}: {why}", since)
    loaded, attached = results
    if not isinstance(loaded, ProgLoaded):
        return Answer(refusal(loaded, facts), f"{name}: loading a program for {_TRACED}: {said(loaded)}", since)
    # arm64 before 6.4 loads such programs and cannot attach them (ENOTSUPP)
    works = isinstance(attached, Made)
    return Answer(works or refusal(attached, facts), f"{name}: attaching to {_TRACED}: {said(attached)}", since)


def _pmu_ops(facts: Facts, *, name: str) -> list[Op]:
    return [Try(ReadFile(_PMU.format(name), limit=16)), Try(load_op("KPROBE", _RETURN_0, facts=facts))]


def _pmu_read(results: Sequence[Result], facts: Facts, *, name: str, since: str) -> Answer:
    pmu, loaded = results
    if not isinstance(pmu, Data):
        words = f"{name}: the kernel has no {name} event source (CONFIG_{name.upper()}_EVENTS)"
        return Answer(False if isinstance(pmu, Failed) and pmu.errno == errno.ENOENT else None, words, since)
    if not isinstance(loaded, ProgLoaded):
        return Answer(refusal(loaded, facts), f"{name}: {said(loaded)}", since)
    return Answer(True, f"{name}: event source {pmu.data.decode(errors='replace').strip()}", since)


def _tcx_ops(facts: Facts) -> list[Op]:
    return [Try(ProgQuery(_LOOPBACK, _TCX_INGRESS))]


def _tcx_read(results: Sequence[Result], facts: Facts) -> Answer:
    result = results[0]
    supported = True if isinstance(result, Data) else refusal(result, facts)
    words = "works" if supported else said(result)
    return Answer(supported, f"tcx: asking what is attached to lo: {words}", "6.6")


def _perf_link_ops(facts: Facts) -> list[Op]:
    return [Try(load_op("TRACEPOINT", _RETURN_0, facts=facts)), Try(LinkCreate(Ref(0), _PERF_EVENT, target=_NO_FD))]


def _perf_link_read(results: Sequence[Result], facts: Facts) -> Answer:
    """A kernel that knows these links looks at the file descriptor, which is none."""
    result = results[1]
    known = isinstance(result, Failed) and result.errno == errno.EBADF
    words = "known to this kernel" if known else said(result)
    return Answer(known or refusal(result, facts), f"perf_link: {words}", "5.15")


def _btf_read(results: Sequence[Result], facts: Facts) -> Answer:
    if facts.btf is not None or facts.described.has_btf:
        return Answer(True, "btf: /sys/kernel/btf/vmlinux", "5.4")
    return Answer(False, "btf: no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)", "5.4")


def _lsm_ops(facts: Facts) -> list[Op]:
    return [Try(ReadFile(_LSM_LIST, limit=4096)), Try(load_op("LSM", _RETURN_0, facts=facts))]


def _lsm_read(results: Sequence[Result], facts: Facts) -> Answer:
    """An LSM program attaches wherever the type is known, but runs only if "bpf" is in the list of LSMs."""
    active = results[0].data.decode(errors="replace") if isinstance(results[0], Data) else ""
    if "bpf" in active.strip().split(","):
        return Answer(True, f"lsm: {active.strip()}", "5.7")
    if active:
        return Answer(False, f"lsm: active are {active.strip()}, and not bpf (boot with lsm=...,bpf)", "5.7")
    known = isinstance(results[1], ProgLoaded) or bool(getattr(results[1], "log", b""))
    words = f"lsm: {_LSM_LIST} cannot be read; loading an LSM program: {said(results[1])}"
    return Answer(None if known else refusal(results[1], facts), words, "5.7")


ATTACH_FEATURES: tuple[Feature, ...] = (
    Feature("fentry", "5.5", partial(_tracing_ops, attach_type=24), partial(_tracing_read, name="fentry", since="5.5")),
    Feature("fexit", "5.5", partial(_tracing_ops, attach_type=25), partial(_tracing_read, name="fexit", since="5.5")),
    Feature("kprobe", "4.17", partial(_pmu_ops, name="kprobe"), partial(_pmu_read, name="kprobe", since="4.17")),
    Feature("uprobe", "4.17", partial(_pmu_ops, name="uprobe"), partial(_pmu_read, name="uprobe", since="4.17")),
    Feature("tcx", "6.6", _tcx_ops, _tcx_read),
    Feature("perf_link", "5.15", _perf_link_ops, _perf_link_read),
    Feature("btf", "5.4", lambda facts: [], _btf_read),
    Feature("lsm", "5.7", _lsm_ops, _lsm_read),
)
