"""Probes for links: what a kernel that knows a kind of link says to one that cannot work, or one made where it is
harmless. Which error proves what is read from the kernel's link_create() and the function named in each row."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Sequence
from functools import partial

from pytest_ebpf.agent.ops import Failed, LinkCreate, Made, NetNs, Op, ProgLoaded, RawTracepointOpen, Ref, Result, Try
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.features.base import Answer, Feature, refused, said
from pytest_ebpf.features.progs import load_op
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.obj.insn import Insn
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.uapi.enums import AttachType

__all__ = ["LINK_FEATURES"]

_RETURN_0 = [Insn(0xB7), Insn(0x95)]
_NO_FD = 0x7FFFFFFF
_LOOPBACK = 1
_BAD_ADDRESS = 1


@dataclass(frozen=True, slots=True)
class _Row:
    """``known``: errnos that only a kernel with this kind of link gives; a link that gets made counts too."""

    name: str
    since: str
    commit: str
    ops: Callable[[Facts], list[Op]]
    known: tuple[int, ...] = ()
    config: tuple[str, ...] = ()
    machines: tuple[tuple[str, str], ...] = ()


def _link(
    facts: Facts, *, type: str, attach: int, target: int = 0, extra: Callable[[str], bytes] = lambda order: b""
) -> list[Op]:
    load = replace(load_op(type, _RETURN_0, facts=facts), expected_attach_type=attach)
    return [Try(load), Try(LinkCreate(Ref(0), attach, target=target, extra=extra(facts.described.order)))]


def _kprobe_multi(order: str) -> bytes:
    """link_create.kprobe_multi of one symbol, whose address list cannot be read."""
    return struct.pack(order + "IIQQQ", 0, 1, 0, _BAD_ADDRESS, 0)


def _uprobe_multi(order: str) -> bytes:
    """link_create.uprobe_multi of one offset in a path that cannot be read."""
    return struct.pack(order + "QQQQIII", _BAD_ADDRESS, _BAD_ADDRESS, 0, 0, 1, 0, 0)


def _xdp(facts: Facts) -> list[Op]:
    """On the loopback of a network namespace of its own."""
    load = replace(load_op("XDP", _RETURN_0, facts=facts), expected_attach_type=AttachType.XDP)
    return [Try(NetNs()), Try(load), Try(LinkCreate(Ref(1), AttachType.XDP, target=_LOOPBACK, netns=Ref(0)))]


def _traced(facts: Facts, *, type: str, attach: int, function: str, link: bool) -> list[Op]:
    found = facts.btf.find(function, Kind.FUNC) if facts.btf is not None else ()
    load = replace(load_op(type, _RETURN_0, facts=facts, btf_id=found[0] if found else 0), expected_attach_type=attach)
    return [Try(load), Try(LinkCreate(Ref(0), attach))] if link else [Try(load)]


def _raw_tracepoint(facts: Facts) -> list[Op]:
    return [Try(load_op("RAW_TRACEPOINT", _RETURN_0, facts=facts)), Try(RawTracepointOpen(Ref(0), name="no such one"))]


_FPROBE = (("x86_64", "5.18"), ("aarch64", "5.18"), ("s390x", "5.18"))
_ROWS: tuple[_Row, ...] = (
    # bpf_raw_tp_link_attach()
    _Row("raw_tp", "4.17", "c4f6699dfcb8", _raw_tracepoint, (errno.ENOENT,), ("BPF_EVENTS",)),
    # cgroup_bpf_link_attach(): looks for the cgroup
    _Row("cgroup_link", "5.7", "af6eea57437a",
         partial(_link, type="CGROUP_SKB", attach=AttachType.CGROUP_INET_INGRESS, target=_NO_FD),
         (errno.EBADF,), ("CGROUP_BPF",)),
    # netns_bpf_link_create() looks for the namespace; for flow dissectors since 5.8, which no sk_lookup is older than
    _Row("netns_link", "5.9", "e9ddbb7707ff",
         partial(_link, type="SK_LOOKUP", attach=AttachType.SK_LOOKUP, target=_NO_FD),
         (errno.EBADF, errno.EINVAL), ("INET",)),
    _Row("xdp_link", "5.9", "aa8d3a716b59", _xdp),
    _Row("iter", "5.8", "15d83c4d7cef",
         partial(_traced, type="TRACING", attach=AttachType.TRACE_ITER, function="bpf_iter_bpf_map", link=True),
         (), ("DEBUG_INFO_BTF", "BPF_EVENTS")),
    # bpf_kprobe_multi_link_attach(): reads the addresses
    _Row("kprobe_multi", "5.18", "0dcac2725406",
         partial(_link, type="KPROBE", attach=AttachType.TRACE_KPROBE_MULTI, extra=_kprobe_multi),
         (errno.EFAULT,), ("FPROBE", "BPF_EVENTS"), _FPROBE),
    _Row("kprobe_session", "6.10", "535a3692ba72",
         partial(_link, type="KPROBE", attach=AttachType.TRACE_KPROBE_SESSION, extra=_kprobe_multi),
         (errno.EFAULT,), ("FPROBE", "BPF_EVENTS"), (("x86_64", "6.10"),)),
    # bpf_uprobe_multi_link_attach(): reads the path
    _Row("uprobe_multi", "6.6", "89ae89f53d20",
         partial(_link, type="KPROBE", attach=AttachType.TRACE_UPROBE_MULTI, extra=_uprobe_multi),
         (errno.EFAULT,), ("UPROBES",)),
    _Row("uprobe_session", "6.13", "d920179b3d48",
         partial(_link, type="KPROBE", attach=AttachType.TRACE_UPROBE_SESSION, extra=_uprobe_multi),
         (errno.EFAULT,), ("UPROBES",)),
    # bpf_nf_link_attach(): protocol family 0
    _Row("netfilter_link", "6.4", "84601d6ee68a",
         partial(_link, type="NETFILTER", attach=AttachType.NETFILTER), (errno.EAFNOSUPPORT,), ("NETFILTER_BPF_LINK",)),
    # netkit_link_attach(): the loopback is no netkit device
    _Row("netkit", "6.7", "35dfaad7188c",
         partial(_link, type="SCHED_CLS", attach=AttachType.NETKIT_PRIMARY, target=_LOOPBACK),
         (errno.ENXIO, errno.ENODEV, errno.EACCES), ("NETKIT",)),
    # sock_map_link_create(): looks for the map
    _Row("sockmap_link", "6.10", "699c23f02c65",
         partial(_link, type="SK_MSG", attach=AttachType.SK_MSG_VERDICT, target=_NO_FD),
         (errno.EBADF,), ("BPF_STREAM_PARSER",)),
    _Row("lsm_cgroup", "6.0", "69fd337a975c",
         partial(_traced, type="LSM", attach=AttachType.LSM_CGROUP, function="bpf_lsm_socket_bind", link=False),
         (), ("BPF_LSM", "CGROUP_BPF", "DEBUG_INFO_BTF")),
)  # fmt: skip


def _read(results: Sequence[Result], facts: Facts, *, row: _Row) -> Answer:
    """A program that does not load answers for its link, which is younger."""
    loads = [result for result in results[:-1] if not isinstance(result, Made | ProgLoaded)]
    result = loads[0] if loads else results[-1]
    known = not loads and isinstance(result, Failed) and result.errno in row.known
    if known or isinstance(result, Made | ProgLoaded):
        return Answer(True, f"{row.name}: {'known to this kernel' if known else 'works'}", row.since)
    return refused(result, facts, message=f"{row.name}: {said(result)}", since=row.since)


LINK_FEATURES: tuple[Feature, ...] = tuple(
    Feature(
        row.name,
        row.since,
        row.ops,
        partial(_read, row=row),
        source=row.commit,
        config=row.config,
        machines=row.machines,
        group="attach",
    )
    for row in _ROWS
)
