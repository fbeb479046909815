"""Probes for program types and helpers: load the smallest program, or one that calls the helper."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pytest_ebpf.agent.ops import Op, ProgLoad, ProgLoaded, ProgRejected, Result, Try
from pytest_ebpf.obj.insn import CALL, Insn, pack_insns
from pytest_ebpf.obj.section_table import ATTACH_TYPES, PROG_TYPES
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.feature_base import ENOTSUPP, Answer, Feature, refusal, said
from pytest_ebpf.plan.helper_table import HELPERS, SINCE

__all__ = ["HELPER_FEATURES", "PROG_FEATURES", "helper_feature", "load_op"]

_EXIT = Insn(0x95)
_SLEEPABLE = 1 << 4

# name -> (first release, attach type that the kernel insists on)
_TYPES: dict[str, tuple[str, str]] = {
    "SOCKET_FILTER": ("3.19", ""),
    "KPROBE": ("4.1", ""),
    "SCHED_CLS": ("4.1", ""),
    "SCHED_ACT": ("4.1", ""),
    "TRACEPOINT": ("4.7", ""),
    "XDP": ("4.8", ""),
    "PERF_EVENT": ("4.9", ""),
    "CGROUP_SKB": ("4.10", ""),
    "CGROUP_SOCK": ("4.10", ""),
    "LWT_IN": ("4.10", ""),
    "LWT_OUT": ("4.10", ""),
    "LWT_XMIT": ("4.10", ""),
    "SOCK_OPS": ("4.13", ""),
    "SK_SKB": ("4.14", ""),
    "CGROUP_DEVICE": ("4.15", ""),
    "SK_MSG": ("4.17", ""),
    "RAW_TRACEPOINT": ("4.17", ""),
    "CGROUP_SOCK_ADDR": ("4.17", "CGROUP_INET4_CONNECT"),
    "LWT_SEG6LOCAL": ("4.18", ""),
    "LIRC_MODE2": ("4.18", ""),
    "SK_REUSEPORT": ("4.19", ""),
    "FLOW_DISSECTOR": ("4.20", ""),
    "CGROUP_SYSCTL": ("5.2", ""),
    "RAW_TRACEPOINT_WRITABLE": ("5.2", ""),
    "CGROUP_SOCKOPT": ("5.3", "CGROUP_GETSOCKOPT"),
    "TRACING": ("5.5", "TRACE_FENTRY"),
    "STRUCT_OPS": ("5.6", ""),
    "EXT": ("5.6", ""),
    "LSM": ("5.7", "LSM_MAC"),
    "SK_LOOKUP": ("5.9", "SK_LOOKUP"),
    "SYSCALL": ("5.14", ""),
    "NETFILTER": ("6.4", "NETFILTER"),
}


def load_op(prog_type: str, insns: list[Insn], *, facts: Facts, btf_id: int = 0) -> ProgLoad:
    """A load of ``insns`` as a program of that type, with the log that tells why not."""
    _, attach = _TYPES[prog_type]
    return ProgLoad(
        type=PROG_TYPES.index(prog_type),
        insns=pack_insns(insns, byteorder=facts.described.byteorder),
        license="GPL",
        name="probe",
        expected_attach_type=ATTACH_TYPES.index(attach) if attach else 0,
        flags=_SLEEPABLE if prog_type == "SYSCALL" else 0,
        log_level=1,
        attach_btf_id=btf_id,
    )


def _type_ops(facts: Facts, *, name: str) -> list[Op]:
    return [Try(load_op(name, [Insn(0xB7, imm=1), _EXIT], facts=facts))]


def _type_read(results: Sequence[Result], facts: Facts, *, name: str) -> Answer:
    result, since = results[0], _TYPES[name][0]
    words = f"program type {name}: {said(result)}"
    if isinstance(result, ProgLoaded):
        return Answer(True, words, since)
    if isinstance(result, ProgRejected) and (result.log or (name == "STRUCT_OPS" and result.errno == ENOTSUPP)):
        return Answer(True, words, since)  # the type was known: the verifier looked at the program
    return Answer(refusal(result, facts), words, since)


def helper_feature(helper: str, prog_type: str = "") -> Feature | None:
    """The probe for a helper, for one program type or (the default) any; None when there is no such helper."""
    name = helper if helper.startswith("bpf_") else f"bpf_{helper}"
    kind = prog_type.upper()
    if name not in HELPERS or (kind and kind not in _TYPES):
        return None
    number = HELPERS.index(name)
    since = next((release for first, release in reversed(SINCE) if first <= number), "")
    return Feature(
        name,
        since,
        partial(_helper_ops, number=number, kind=kind),
        partial(_helper_read, name=name, since=since, kind=kind),
    )


def _helper_ops(facts: Facts, *, number: int, kind: str) -> list[Op]:
    return [Try(load_op(kind or "SOCKET_FILTER", [Insn(CALL, imm=number), _EXIT], facts=facts))]


def _helper_read(results: Sequence[Result], facts: Facts, *, name: str, since: str, kind: str) -> Answer:
    """A helper past the last one is an "invalid func"; one that this program type may not call is an "unknown func",
    since 6.8 "program of this type cannot use helper". Any other complaint is about the arguments: it exists."""
    result = results[0]
    words = f"helper {name}{f' in {kind} programs' if kind else ''}: {said(result)}"
    if isinstance(result, ProgLoaded):
        return Answer(True, words, since)
    if not isinstance(result, ProgRejected) or not result.log:
        return Answer(refusal(result, facts), words, since)
    if b"invalid func " in result.log:
        return Answer(False, words, since)
    barred = b"unknown func " in result.log or b"program of this type cannot use helper " in result.log
    if barred and kind:
        return Answer(False, words, since)
    return Answer(True, f"helper {name}: known to this kernel", since)


PROG_FEATURES: tuple[Feature, ...] = tuple(
    Feature(name.lower(), since, partial(_type_ops, name=name), partial(_type_read, name=name))
    for name, (since, _) in _TYPES.items()
)
HELPER_FEATURES: tuple[Feature, ...] = tuple(
    found for name in HELPERS[1:] if (found := helper_feature(name)) is not None
)
