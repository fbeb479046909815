"""Why attaching was refused, as far as the operation itself tells. Who holds the place already, and what the nearest
names are, is looked up by the attaching functions (``live.nearby``)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import LinkCreate
from pytest_ebpf.live.hints.base import Case, Hint, lacks
from pytest_ebpf.uapi.numbers import ENOTSUPP
from pytest_ebpf.uapi.sections import ATTACH_TYPES

__all__ = ["ATTACH_HINTS", "lacks_attach_type"]

# attach type -> the probe for its kind of link, and words; cgroup types share one
_LINKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "XDP": ("xdp_link", "XDP links"),
        "TCX_INGRESS": ("tcx", "TCX links"),
        "TCX_EGRESS": ("tcx", "TCX links"),
        "NETKIT_PRIMARY": ("netkit", "netkit links"),
        "NETKIT_PEER": ("netkit", "netkit links"),
        "NETFILTER": ("netfilter_link", "Netfilter links"),
        "PERF_EVENT": ("perf_link", "Links on perf events"),
        "TRACE_KPROBE_MULTI": ("kprobe_multi", "kprobe.multi links"),
        "TRACE_KPROBE_SESSION": ("kprobe_session", "kprobe.session links"),
        "TRACE_UPROBE_MULTI": ("uprobe_multi", "uprobe.multi links"),
        "TRACE_UPROBE_SESSION": ("uprobe_session", "uprobe.session links"),
        "SK_LOOKUP": ("netns_link", "Links on network namespaces"),
        "FLOW_DISSECTOR": ("netns_link", "Links on network namespaces"),
        "LSM_CGROUP": ("lsm_cgroup", "LSM programs on cgroups"),
        "SK_MSG_VERDICT": ("sockmap_link", "Links on socket maps"),
        "SK_SKB_STREAM_PARSER": ("sockmap_link", "Links on socket maps"),
        "SK_SKB_STREAM_VERDICT": ("sockmap_link", "Links on socket maps"),
        "SK_SKB_VERDICT": ("sockmap_link", "Links on socket maps"),
        "TRACE_ITER": ("iter", "Iterators"),
    }
)
_INSTEAD: Mapping[str, str] = MappingProxyType(
    {
        "kprobe_multi": "attach a kprobe to each function",
        "kprobe_session": "use a kprobe and a kretprobe",
        "uprobe_session": "use a uprobe and a uretprobe",
    }
)
_UNKNOWN = (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP, errno.E2BIG)


def _unknown_link(case: Case) -> str:
    assert isinstance(case.op, LinkCreate)
    return lacks_attach_type(case, case.op.attach_type)


def lacks_attach_type(case: Case, number: int) -> str:
    """What ``lacks`` says of this attach type (enum bpf_attach_type), "" where there is no probe of its own."""
    name = ATTACH_TYPES[number] if number < len(ATTACH_TYPES) else ""
    known = ("cgroup_link", "Links on cgroups") if name.startswith("CGROUP_") else _LINKS.get(name)
    if not known:
        return ""
    return lacks(case, feature=f"attach:{known[0]}", what=known[1], instead=_INSTEAD.get(known[0], ""))


def _no_trampoline(case: Case) -> str:
    return lacks(case, feature="fentry", what="Trampolines (fentry, fexit)", instead="use a kprobe")


def _is_xdp(case: Case) -> bool:
    return isinstance(case.op, LinkCreate) and ATTACH_TYPES[case.op.attach_type] == "XDP"


def _xdp_driver(case: Case) -> str:
    return "The driver has no XDP of its own: attach with mode='skb'." if _is_xdp(case) else ""


def _xdp_shape(case: Case) -> str:
    """net/core/dev.c: dev_xdp_attach()."""
    if not _is_xdp(case):
        return ""
    return (
        "The interface does not take the program as it is: its MTU may be too large for XDP without fragments "
        '(SEC("xdp.frags")), or XDP of another mode is attached.'
    )


ATTACH_HINTS: tuple[Hint, ...] = (
    Hint("LinkCreate", _UNKNOWN, _unknown_link),
    Hint("LinkCreate", (errno.EOPNOTSUPP, ENOTSUPP), _xdp_driver),
    Hint(
        "LinkCreate", (errno.EOPNOTSUPP, ENOTSUPP), "The kernel or the driver does not support this kind of attachment."
    ),
    Hint("LinkCreate", (errno.EINVAL, errno.ERANGE), _xdp_shape),
    Hint("LinkCreate", (errno.EBUSY, errno.EEXIST), "Something is attached there already; detach it first."),
    Hint("LinkCreate", (errno.ENODEV,), "The interface is gone, or in another network namespace."),
    Hint("LinkCreate", (errno.EBADF,), "The target is not what this kind of program attaches to."),
    Hint("LinkCreate", (errno.EINVAL,), "The kernel refused the target, a flag, or the program's attach type for it."),
    Hint("RawTracepointOpen", (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP), _no_trampoline),
    # kernel/bpf/trampoline.c: no ftrace, or the function is not traceable
    Hint("RawTracepointOpen", (ENOTSUPP,), "This function cannot be traced through a trampoline; use a kprobe."),
    Hint("RawTracepointOpen", (errno.ENOENT,), "This kernel has no tracepoint of that name."),
    Hint(
        "RawTracepointOpen", (errno.EBUSY,), "It is traced already in a way that allows no second: detach that first."
    ),
    Hint("RawTracepointOpen", (errno.EEXIST,), "This program is attached there already; detach it first."),
    Hint("PerfAttach", (errno.EEXIST,), "This program is attached there already; detach it first."),
    Hint("RawTracepointOpen", (errno.E2BIG,), "As many programs are on this function as a trampoline takes (38)."),
    Hint("PerfEventOpen", (errno.ENOENT,), "The kernel does not know this event or function (see /proc/kallsyms)."),
    Hint(
        "PerfEventOpen",
        (errno.EINVAL,),
        "The kernel refused the event: a function that may not be probed (/sys/kernel/debug/kprobes/blacklist), an "
        "offset inside an instruction, or no such PMU.",
    ),
    Hint(
        "PerfEventOpen",
        (errno.EACCES, errno.EPERM),
        "perf_event_paranoid forbids it: run as root or lower kernel.perf_event_paranoid.",
    ),
)
