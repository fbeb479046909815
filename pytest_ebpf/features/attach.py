"""Probes for ways to attach that are no links of their own: trampolines, perf events, tcx, LSM hooks."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import partial

from pytest_ebpf.agent import ops
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.features.base import Answer, Feature, refused, said
from pytest_ebpf.features.progs import load_op
from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.insn import Insn
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.uapi.enums import AttachType

__all__ = ["ATTACH_FEATURES"]

_RETURN_0 = [Insn(0xB7), Insn(0x95)]
# A function that every kernel with BTF has, which nothing calls outside of test runs, and which may be traced.
_TRACED = "bpf_fentry_test1"
# Security hooks may be modified by every kernel, other functions only with CONFIG_FUNCTION_ERROR_INJECTION. This one is
# called for syslog(2) alone, and 0 is what it answers anyway.
_MODIFIED = "security_syslog"
_LOOPBACK = 1
_NO_FD = 0x7FFFFFFF
_PMU = "/sys/bus/event_source/devices/{}/type"
_PMU_OPTIONS = {"kprobe": "KPROBE_EVENTS", "uprobe": "UPROBE_EVENTS", "tracepoint": "EVENT_TRACING"}
# x86-64 had trampolines first; arm64 loads such programs before 6.4 and cannot attach them
_TRAMPOLINES = (("x86_64", "5.5"), ("aarch64", "6.4"))
_LSM_LIST = "/sys/kernel/security/lsm"


def _tracing_ops(facts: Facts, *, attach_type: int, function: str = _TRACED) -> list[ops.Op]:
    found = facts.btf.find(function, Kind.FUNC) if facts.btf else ()
    if not found:
        return []
    load = replace(load_op("TRACING", _RETURN_0, facts=facts, btf_id=found[0]), expected_attach_type=attach_type)
    return [ops.Try(load), ops.Try(ops.RawTracepointOpen(ops.Ref(0)))]


def _tracing_read(
    results: Sequence[ops.Result], facts: Facts, *, name: str, since: str, function: str = _TRACED
) -> Answer:
    if not results:
        why = "this kernel has no BTF" if facts.btf is None else f"{function} is not in the kernel's BTF"
        return Answer(False, f"{name}: {why}", since)
    loaded, attached = results
    if not isinstance(loaded, ops.ProgLoaded):
        return refused(loaded, facts, message=f"{name}: loading a program for {function}: {said(loaded)}", since=since)
    # arm64 before 6.4 loads such programs and cannot attach them (ENOTSUPP)
    message = f"{name}: attaching to {function}: {said(attached)}"
    return (
        Answer(True, message, since)
        if isinstance(attached, ops.Made)
        else refused(attached, facts, message=message, since=since)
    )


def _loading_ops(facts: Facts, *, attach_type: int) -> list[ops.Op]:
    """A program for many functions is loaded without one: Linux 7.3 refuses it (EINVAL) with an attach_btf_id."""
    if facts.btf is None:
        return []
    return [ops.Try(replace(load_op("TRACING", _RETURN_0, facts=facts), expected_attach_type=attach_type))]


def _loading_read(results: Sequence[ops.Result], facts: Facts, *, name: str, since: str) -> Answer:
    if not results:
        return _tracing_read(results, facts, name=name, since=since)
    message = f"{name}: loading a program: {said(results[0])}"
    if isinstance(results[0], ops.ProgLoaded):
        return Answer(True, message, since)
    return refused(results[0], facts, message=message, since=since)


def _pmu_ops(facts: Facts, *, name: str) -> list[ops.Op]:
    program = "TRACEPOINT" if name == "tracepoint" else "KPROBE"
    return [ops.Try(ops.ReadFile(_PMU.format(name), limit=16)), ops.Try(load_op(program, _RETURN_0, facts=facts))]


def _pmu_read(results: Sequence[ops.Result], facts: Facts, *, name: str, since: str) -> Answer:
    pmu, loaded = results
    if not isinstance(pmu, ops.Data):
        message = f"{name}: the kernel has no {name} event source (CONFIG_{_PMU_OPTIONS[name]})"
        return Answer(False if isinstance(pmu, ops.Failed) and pmu.errno == errno.ENOENT else None, message, since)
    if not isinstance(loaded, ops.ProgLoaded):
        return refused(loaded, facts, message=f"{name}: {said(loaded)}", since=since)
    return Answer(True, f"{name}: event source {pmu.data.decode(errors='replace').strip()}", since)


def _tcx_ops(facts: Facts) -> list[ops.Op]:
    return [ops.Try(ops.ProgQuery(_LOOPBACK, AttachType.TCX_INGRESS))]


def _tcx_read(results: Sequence[ops.Result], facts: Facts) -> Answer:
    asked = "tcx: asking what is attached to lo"
    if isinstance(results[0], ops.Queried):
        return Answer(True, f"{asked}: works", "6.6")
    return refused(results[0], facts, message=f"{asked}: {said(results[0])}", since="6.6")


def _perf_link_ops(facts: Facts) -> list[ops.Op]:
    return [
        ops.Try(load_op("TRACEPOINT", _RETURN_0, facts=facts)),
        ops.Try(ops.LinkCreate(ops.Ref(0), AttachType.PERF_EVENT, target=_NO_FD)),
    ]


def _perf_link_read(results: Sequence[ops.Result], facts: Facts) -> Answer:
    """A kernel that knows these links looks at the file descriptor, which is none."""
    result = results[1]
    if isinstance(result, ops.Failed) and result.errno == errno.EBADF:
        return Answer(True, "perf_link: known to this kernel", "5.15")
    return refused(result, facts, message=f"perf_link: {said(result)}", since="5.15")


def _lsm_ops(facts: Facts) -> list[ops.Op]:
    return [ops.Try(ops.ReadFile(_LSM_LIST, limit=4096)), ops.Try(load_op("LSM", _RETURN_0, facts=facts))]


def _lsm_read(results: Sequence[ops.Result], facts: Facts) -> Answer:
    """An LSM program attaches wherever the type is known, but runs only if "bpf" is in the list of LSMs."""
    active = results[0].data.decode(errors="replace") if isinstance(results[0], ops.Data) else ""
    if "bpf" in active.strip().split(","):
        return Answer(True, f"lsm: {active.strip()}", "5.7")
    if active:
        return Answer(False, f"lsm: active are {active.strip()}, and not bpf (boot with lsm=...,bpf)", "5.7", "off")
    known = isinstance(results[1], ops.ProgLoaded) or bool(getattr(results[1], "log", b""))
    message = f"lsm: {_LSM_LIST} cannot be read; loading an LSM program: {said(results[1])}"
    return Answer(None, message, "5.7") if known else refused(results[1], facts, message=message, since="5.7")


def _tracing(
    name: str,
    since: str,
    *,
    attach_type: int,
    commit: str,
    function: str = _TRACED,
    machines: tuple[tuple[str, str], ...] = _TRAMPOLINES,
) -> Feature:
    return Feature(
        name,
        since,
        partial(_tracing_ops, attach_type=attach_type, function=function),
        partial(_tracing_read, name=name, since=since, function=function),
        source=commit,
        config=("DEBUG_INFO_BTF", "BPF_EVENTS", "BPF_JIT", "DYNAMIC_FTRACE_WITH_DIRECT_CALLS"),
        machines=machines,
        group="attach",
    )


def _loading(name: str, since: str, *, attach_type: int) -> Feature:
    """Known when a program of the attach type loads: attaching takes a link of its own."""
    return Feature(
        name,
        since,
        partial(_loading_ops, attach_type=attach_type),
        partial(_loading_read, name=name, since=since),
        config=("DEBUG_INFO_BTF", "BPF_EVENTS", "BPF_JIT", "DYNAMIC_FTRACE_WITH_DIRECT_CALLS"),
        group="attach",
    )


def _pmu(name: str, since: str, *, commit: str, option: str) -> Feature:
    return Feature(
        name,
        since,
        partial(_pmu_ops, name=name),
        partial(_pmu_read, name=name, since=since),
        source=commit,
        config=("PERF_EVENTS", "BPF_EVENTS", option),
        group="attach",
    )


ATTACH_FEATURES: tuple[Feature, ...] = (
    _tracing("fentry", "5.5", attach_type=AttachType.TRACE_FENTRY, commit="fec56f5890d9"),
    _tracing("fexit", "5.5", attach_type=AttachType.TRACE_FEXIT, commit="fec56f5890d9"),
    _tracing("fsession", "7.0", attach_type=AttachType.TRACE_FSESSION, commit="", machines=()),  # all at once
    _loading("fentry.multi", "7.2", attach_type=AttachType.TRACE_FENTRY_MULTI),
    _tracing("fmod_ret", "5.7", attach_type=AttachType.MODIFY_RETURN, commit="ae24082331d9", function=_MODIFIED),
    # perf_event_open() on a PMU; before, only through tracefs
    _pmu("kprobe", "4.17", commit="e12f03d7031a", option="KPROBE_EVENTS"),
    _pmu("uprobe", "4.17", commit="33ea4b24277b", option="UPROBE_EVENTS"),
    _pmu("tracepoint", "4.7", commit="98b5c2c65c29", option="EVENT_TRACING"),
    Feature("tcx", "6.6", _tcx_ops, _tcx_read, source="e420bed02507", config=("NET_XGRESS",), group="attach"),
    Feature("perf_link", "5.15", _perf_link_ops, _perf_link_read, source="b89fbfbb854c", config=("PERF_EVENTS",),
            group="attach"),
    Feature("lsm", "5.7", _lsm_ops, _lsm_read, source="fc611f47f218", config=("BPF_LSM", "DEBUG_INFO_BTF"),
            group="attach"),
)  # fmt: skip
