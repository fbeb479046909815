"""Features by SEC() prefix: ``tp_btf``, ``freplace``, ``kprobe.multi``, ``cgroup/connect4`` are feature names too.

A prefix that another table has a probe for is that row under another name. For any other prefix, the probe loads the
smallest program with the program type, the expected attach type and the flags of that section, as a loader would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from pytest_ebpf.agent.ops import Op, ProgLoaded, ProgRejected, Result, Try
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.features.base import Answer, Feature, refused, said
from pytest_ebpf.features.history import PROGS
from pytest_ebpf.features.progs import load_op
from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.insn import Insn
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.uapi.enums import AttachType, ProgType
from pytest_ebpf.uapi.flags import ProgFlag
from pytest_ebpf.uapi.sections import ROWS

__all__ = ["section_features"]

_EXIT = [Insn(0xB7), Insn(0x95)]
# SEC() prefix -> the row that has a probe for it: the same thing to the kernel.
_SAME = {
    **dict.fromkeys(("kretprobe", "ksyscall", "kretsyscall"), "attach:kprobe"),
    **dict.fromkeys(("uretprobe", "usdt"), "attach:uprobe"),
    **dict.fromkeys(("kprobe.multi", "kretprobe.multi"), "attach:kprobe_multi"),
    **dict.fromkeys(("uprobe.multi", "uretprobe.multi"), "attach:uprobe_multi"),
    "fsession": "attach:fsession",
    **dict.fromkeys(("tcx/ingress", "tcx/egress"), "attach:tcx"),
    **dict.fromkeys(("netkit/primary", "netkit/peer"), "attach:netkit"),
    **dict.fromkeys(("tc", "classifier", "tc/ingress", "tc/egress"), "prog:sched_cls"),
    # Sleepable ones came with Linux 5.10, and need a function that may sleep: the probe is that of the plain kind.
    **{f"{name}.s": f"attach:{name}" for name in ("fentry", "fexit", "fmod_ret", "fsession", "lsm")},
    **{
        f"{name}.multi{sleepable}": "attach:fentry.multi"
        for name in ("fentry", "fexit", "fsession")
        for sleepable in ("", ".s")
    },
    "struct_ops.s": "prog:struct_ops",
    "kprobe.session": "attach:kprobe_session",
    "uprobe.session": "attach:uprobe_session",
    "action": "prog:sched_act",
    "tp": "attach:tracepoint",
    "raw_tp.w": "prog:raw_tracepoint_writable",
    "raw_tracepoint.w": "prog:raw_tracepoint_writable",
    "freplace": "prog:ext",
    "socket": "prog:socket_filter",
    "sockops": "prog:sock_ops",
    "lsm_cgroup": "attach:lsm_cgroup",
}
# Release that brought the expected attach type, or sleepable programs of the type, where it is later than the type's
# (uapi/linux/bpf.h and kernel/bpf/verifier.c of these releases).
_SINCE = {
    **dict.fromkeys(("uprobe.s", "uretprobe.s", "usdt.s"), "6.0"),
    **dict.fromkeys(("uprobe.multi.s", "uretprobe.multi.s"), "6.6"),
    **dict.fromkeys(("cgroup/connect_unix", "cgroup/sendmsg_unix", "cgroup/recvmsg_unix"), "6.7"),
    **dict.fromkeys(("cgroup/getpeername_unix", "cgroup/getsockname_unix"), "6.7"),
    **dict.fromkeys(("cgroup/getpeername4", "cgroup/getpeername6"), "5.8"),
    **dict.fromkeys(("cgroup/getsockname4", "cgroup/getsockname6"), "5.8"),
    **dict.fromkeys(("cgroup/recvmsg4", "cgroup/recvmsg6"), "5.2"),
    **dict.fromkeys(("xdp.frags", "xdp.frags/devmap", "xdp.frags/cpumap"), "5.18"),
    "xdp/devmap": "5.8",
    "xdp/cpumap": "5.9",
    "cgroup/sock_release": "5.9",
    "sk_reuseport/migrate": "5.14",
    "sk_skb/verdict": "5.13",
    "iter.s": "6.0",
    "uprobe.session.s": "6.13",
}
_TARGETS = {"BTF": "bpf_fentry_test1", "LSM": "bpf_lsm_file_mprotect", "ITER": "bpf_iter_task"}


def section_features(known: Mapping[str, Feature]) -> dict[str, Feature]:
    """Rows by SEC() prefix, for the prefixes that no table has as a name. ``known``: rows as "group:name"."""
    rows: dict[str, Feature] = {}
    for name, _, prog, attach, flags, _ in ROWS:
        if name in rows:
            continue
        if name in _SAME:
            rows[name] = known[_SAME[name]]
        else:
            rows[name] = _section(name, prog=ProgType(prog), attach=AttachType(attach), flags=flags)
    return rows


def _section(name: str, *, prog: ProgType, attach: AttachType, flags: Sequence[str]) -> Feature:
    since, source = PROGS.get(prog.name.lower(), ("", ""))
    later = _SINCE.get(name, "")
    if not later and "SLP" in flags and name != "syscall":
        since, source = "", ""  # sleepable later than the type, in a release that is not in the table
    return Feature(
        name,
        later or since,
        partial(_ops, prog=prog, attach=attach, flags=tuple(flags)),
        partial(_read, name=name, since=later or since),
        source="" if later else source,
        group="section",
    )


def _ops(facts: Facts, *, prog: ProgType, attach: AttachType, flags: Sequence[str]) -> list[Op]:
    wanted = ProgFlag.SLEEPABLE if "SLP" in flags else 0
    wanted |= ProgFlag.XDP_HAS_FRAGS if "FRAGS" in flags else 0
    target = _target(facts, prog=prog, attach=attach) if "BTF" in flags else 0
    op = load_op(prog.name, _EXIT, facts=facts, btf_id=target)
    return [Try(replace(op, expected_attach_type=attach, flags=wanted))]


def _target(facts: Facts, *, prog: ProgType, attach: AttachType) -> int:
    """The BTF id of something that programs of the type can be loaded for; 0 where the kernel has no BTF."""
    if facts.btf is None:
        return 0
    if attach == AttachType.TRACE_RAW_TP:
        found = facts.btf.find("btf_trace_sys_enter", Kind.TYPEDEF)
    else:
        key = "LSM" if prog == ProgType.LSM else "ITER" if attach == AttachType.TRACE_ITER else "BTF"
        found = facts.btf.find(_TARGETS[key], Kind.FUNC)
    return found[0] if found else 0


def _read(results: Sequence[Result], facts: Facts, *, name: str, since: str) -> Answer:
    result = results[0]
    message = f"a program of section {name}: {said(result)}"
    if isinstance(result, ProgLoaded):
        return Answer(True, message, since)
    if isinstance(result, ProgRejected) and result.log and b"processed 0 insns" not in result.log:
        return Answer(True, message, since)  # the type is known: the verifier looked at the program
    return refused(result, facts, message=message, since=since)
