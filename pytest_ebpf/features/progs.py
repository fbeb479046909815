"""Probes for program types and helpers: load the smallest program, or one that calls the helper."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pytest_ebpf.agent.ops import Op, ProgLoad, ProgLoaded, ProgRejected, Result, Try
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.features.base import Answer, Feature, refused, said
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.features.history import PROGS
from pytest_ebpf.helper_history import HELPER_HISTORY
from pytest_ebpf.obj.insn import CALL, Insn, pack_insns
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.uapi.enums import AttachType, ProgType
from pytest_ebpf.uapi.flags import ProgFlag
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["HELPER_FEATURES", "PROG_FEATURES", "helper_feature", "load_op", "program_types"]

_EXIT = Insn(0x95)

# name -> attach type that the kernel insists on, options without which the type is missing (include/linux/bpf_types.h)
_TYPES: dict[str, tuple[str, tuple[str, ...]]] = {
    "SOCKET_FILTER": ("", ()),
    "KPROBE": ("", ("BPF_EVENTS",)),
    "SCHED_CLS": ("", ()),
    "SCHED_ACT": ("", ()),
    "TRACEPOINT": ("", ("BPF_EVENTS",)),
    "XDP": ("", ()),
    "PERF_EVENT": ("", ("BPF_EVENTS",)),
    "CGROUP_SKB": ("", ("CGROUP_BPF",)),
    "CGROUP_SOCK": ("", ("CGROUP_BPF",)),
    "LWT_IN": ("", ()),
    "LWT_OUT": ("", ()),
    "LWT_XMIT": ("", ()),
    "SOCK_OPS": ("", ()),
    "SK_SKB": ("", ()),
    "CGROUP_DEVICE": ("", ("CGROUP_BPF",)),
    "SK_MSG": ("", ()),
    "RAW_TRACEPOINT": ("", ("BPF_EVENTS",)),
    "CGROUP_SOCK_ADDR": ("CGROUP_INET4_CONNECT", ("CGROUP_BPF",)),
    "LWT_SEG6LOCAL": ("", ()),
    "LIRC_MODE2": ("", ("BPF_LIRC_MODE2",)),
    "SK_REUSEPORT": ("", ("INET",)),
    "FLOW_DISSECTOR": ("", ()),
    "CGROUP_SYSCTL": ("", ("CGROUP_BPF",)),
    "RAW_TRACEPOINT_WRITABLE": ("", ("BPF_EVENTS",)),
    "CGROUP_SOCKOPT": ("CGROUP_GETSOCKOPT", ("CGROUP_BPF",)),
    "TRACING": ("TRACE_FENTRY", ("BPF_EVENTS",)),
    "STRUCT_OPS": ("", ("BPF_JIT",)),
    "EXT": ("", ("BPF_JIT",)),
    "LSM": ("LSM_MAC", ("BPF_LSM",)),
    "SK_LOOKUP": ("SK_LOOKUP", ("INET",)),
    "SYSCALL": ("", ()),
    "NETFILTER": ("NETFILTER", ("NETFILTER_BPF_LINK",)),
}
# What a program of these types has to be loaded for, before the verifier looks at what it calls.
_TARGETS = {"TRACING": "bpf_fentry_test1", "LSM": "bpf_lsm_file_mprotect"}


def program_types() -> frozenset[str]:
    """The types that have a probe, in capitals."""
    return frozenset(_TYPES)


def load_op(prog_type: str, insns: list[Insn], *, facts: Facts, btf_id: int = 0) -> ProgLoad:
    """A load of ``insns`` as a program of that type, with the log that tells why not."""
    attach, _ = _TYPES[prog_type]
    return ProgLoad(
        type=ProgType[prog_type],
        insns=pack_insns(insns, byteorder=facts.described.byteorder),
        license="GPL",
        name="probe",
        expected_attach_type=AttachType[attach] if attach else 0,
        flags=ProgFlag.SLEEPABLE if prog_type == "SYSCALL" else 0,
        log_level=1,
        attach_btf_id=btf_id,
    )


def _type_ops(facts: Facts, *, name: str) -> list[Op]:
    return [Try(load_op(name, [Insn(0xB7, imm=1), _EXIT], facts=facts))]


def _type_read(results: Sequence[Result], facts: Facts, *, name: str, since: str) -> Answer:
    result = results[0]
    message = f"program type {name}: {said(result)}"
    if isinstance(result, ProgLoaded):
        return Answer(True, message, since)
    if isinstance(result, ProgRejected) and (result.log or (name == "STRUCT_OPS" and result.errno == ENOTSUPP)):
        return Answer(True, message, since)  # the type was known: the verifier looked at the program
    return refused(result, facts, message=message, since=since)


def helper_feature(helper: str, prog_type: str = "") -> Feature | None:
    """The probe for a helper, for one program type or (the default) any; None when there is no such helper."""
    name = helper if helper.startswith("bpf_") else f"bpf_{helper}"
    kind = prog_type.upper()
    if name not in HELPERS or (kind and kind not in _TYPES):
        return None
    number = HELPERS.index(name)
    # When a helper was opened to a program type is not documented as a rule, only when the helper came.
    since, commit = ("", "") if kind else HELPER_HISTORY[name]
    return Feature(
        f"helper:{name}@{kind.lower()}" if kind else name,
        since,
        partial(_helper_ops, number=number, kind=kind),
        partial(_helper_read, name=name, since=since, kind=kind),
        source=commit,
        group="helper",
    )


def _helper_ops(facts: Facts, *, number: int, kind: str) -> list[Op]:
    target = _TARGETS.get(kind)
    found = facts.btf.find(target, Kind.FUNC) if target and facts.btf is not None else ()
    insns = [Insn(CALL, imm=number), _EXIT]
    return [Try(load_op(kind or "SOCKET_FILTER", insns, facts=facts, btf_id=found[0] if found else 0))]


def _helper_read(results: Sequence[Result], facts: Facts, *, name: str, since: str, kind: str) -> Answer:
    """A helper past the last one is an "invalid func"; one that this program type may not call is an "unknown func",
    since 6.8 "program of this type cannot use helper". Any other complaint is about the arguments: it exists."""
    result = results[0]
    message = f"helper {name}{f' in {kind} programs' if kind else ''}: {said(result)}"
    if isinstance(result, ProgLoaded):
        return Answer(True, message, since)
    if not isinstance(result, ProgRejected) or not result.log:
        return refused(result, facts, message=message, since=since)
    if b"invalid func " in result.log:
        return Answer(False, message, since)
    if b"must provide btf_id" in result.log or b"is not a supported struct" in result.log:
        return Answer(None, message, since)  # the verifier did not come as far as the call
    barred = b"unknown func " in result.log or b"program of this type cannot use helper " in result.log
    if barred and kind:
        return Answer(False, message, since)
    return Answer(True, f"helper {name}: known to this kernel", since)


def _type_row(name: str) -> Feature:
    since, commit = PROGS[name.lower()]
    return Feature(
        name.lower(),
        since,
        partial(_type_ops, name=name),
        partial(_type_read, name=name, since=since),
        source=commit,
        config=_TYPES[name][1],
        group="prog",
    )


PROG_FEATURES: tuple[Feature, ...] = tuple(_type_row(name) for name in _TYPES)
HELPER_FEATURES: tuple[Feature, ...] = tuple(
    found for name in HELPERS[1:] if (found := helper_feature(name)) is not None
)
