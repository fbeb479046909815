"""``__arg_ctx`` on kernels that do not know the tag (before Linux 6.8): each global function gets, per type of program
that calls it, a copy whose parameter points to the context struct that this kernel expects there.

As libbpf (src/libbpf.c of 1.7: bpf_program_fixup_func_info): the kernel compares the name of the struct alone. Types of
program without a struct of their own (tracepoint, tracing, LSM, syscall) cannot be helped, there or here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import BtfType, Kind
from pytest_ebpf.frozen import dataclass, field, replace
from pytest_ebpf.plan.link import Linked
from pytest_ebpf.uapi.btf import Linkage
from pytest_ebpf.uapi.enums import ProgType

__all__ = ["ContextArgs", "has_context_args", "plan_context_args"]

_TAG = "arg:ctx"
_SKB = "__sk_buff"
_REGS = ("pt_regs", "user_pt_regs", "user_regs_struct")  # struct behind bpf_user_pt_regs_t: x86, arm64 and s390, riscv
_U64_SIZE = 8
# include/linux/bpf_types.h: the struct of each type's context
_CONTEXTS: Mapping[int, str] = {
    ProgType.CGROUP_DEVICE: "bpf_cgroup_dev_ctx",
    ProgType.CGROUP_SKB: _SKB,
    ProgType.CGROUP_SOCK: "bpf_sock",
    ProgType.CGROUP_SOCK_ADDR: "bpf_sock_addr",
    ProgType.CGROUP_SOCKOPT: "bpf_sockopt",
    ProgType.CGROUP_SYSCTL: "bpf_sysctl",
    ProgType.FLOW_DISSECTOR: _SKB,
    ProgType.KPROBE: "bpf_user_pt_regs_t",
    ProgType.LWT_IN: _SKB,
    ProgType.LWT_OUT: _SKB,
    ProgType.LWT_SEG6LOCAL: _SKB,
    ProgType.LWT_XMIT: _SKB,
    ProgType.NETFILTER: "bpf_nf_ctx",
    ProgType.PERF_EVENT: "bpf_perf_event_data",
    ProgType.RAW_TRACEPOINT: "bpf_raw_tracepoint_args",
    ProgType.RAW_TRACEPOINT_WRITABLE: "bpf_raw_tracepoint_args",
    ProgType.SCHED_ACT: _SKB,
    ProgType.SCHED_CLS: _SKB,
    ProgType.SK_LOOKUP: "bpf_sk_lookup",
    ProgType.SK_MSG: "sk_msg_md",
    ProgType.SK_REUSEPORT: "sk_reuseport_md",
    ProgType.SK_SKB: _SKB,
    ProgType.SOCK_OPS: "bpf_sock_ops",
    ProgType.SOCKET_FILTER: _SKB,
    ProgType.XDP: "xdp_md",
}


@dataclass(frozen=True, slots=True)
class ContextArgs:
    """``types``: what is to be appended to the BTF of an object. ``copies``: (type of program, FUNC id) -> the id of
    the copy that stands for the function in such programs."""

    types: tuple[BtfType, ...] = ()
    copies: Mapping[tuple[int, int], int] = field(default_factory=dict)

    def applied(self, linked: Linked, prog_type: int) -> Linked:
        """``linked`` with the copies in its func_info."""
        if not self.copies:
            return linked
        rows = tuple((insn, self.copies.get((prog_type, func), func)) for insn, func in linked.func_info)
        return replace(linked, func_info=rows)


def has_context_args(btf: Btf | None) -> bool:
    """Whether the tag occurs in the types of an object."""
    return btf is not None and b"\0" + _TAG.encode() + b"\0" in btf.strings


def plan_context_args(btf: Btf, prog_types: Iterable[int]) -> ContextArgs:
    """The copies that programs of these types need. Ids go on from the last one of ``btf``."""
    tagged = _tagged(btf)
    types: list[BtfType] = []
    copies: dict[tuple[int, int], int] = {}
    for prog_type in sorted(set(prog_types) & _CONTEXTS.keys()) if tagged else ():
        pointer = len(btf) + len(types) + 1
        made: list[BtfType] = [t.Struct(_CONTEXTS[prog_type], 0, ()), t.Ptr(pointer - 1)]
        for func_id, places in tagged.items():
            func = btf.type(func_id)
            proto = btf.type(func.type) if isinstance(func, t.Func) else None
            if not isinstance(func, t.Func) or not isinstance(proto, t.FuncProto):
                continue
            params = tuple(
                replace(param, type=pointer)
                if at in places and _is_other(btf, param.type, prog_type=prog_type)
                else param
                for at, param in enumerate(proto.params)
            )
            if params != proto.params:
                proto_id = pointer + len(made) - 1
                made += [replace(proto, params=params), replace(func, type=proto_id)]
                copies[prog_type, func_id] = proto_id + 1
        if len(made) > 2:
            types += made
    return ContextArgs(tuple(types), copies)


def _tagged(btf: Btf) -> dict[int, set[int]]:
    """Global FUNC id -> the parameters that have the tag."""
    found: dict[int, set[int]] = {}
    for type_id in btf.find(_TAG, Kind.DECL_TAG):
        tag = btf.type(type_id)
        func = btf.type(tag.type) if isinstance(tag, t.DeclTag) and 0 < tag.type < len(btf) else None
        if isinstance(tag, t.DeclTag) and isinstance(func, t.Func) and func.linkage == Linkage.GLOBAL:
            found.setdefault(tag.type, set()).add(tag.component)
    return found


def _is_other(btf: Btf, param: int, *, prog_type: int) -> bool:
    """Whether a parameter is to be replaced: a pointer to void, or to what the macros of libbpf declare for such
    programs. Any other type is the user's mistake, which the kernel reports."""
    pointer = btf.type(btf.resolve(param)) if param else None
    if not isinstance(pointer, t.Ptr):
        return False
    target = btf.resolve(pointer.type)
    found = btf.type(target)
    if prog_type == ProgType.KPROBE and btf.name(_unqualified(btf, pointer.type)) == _CONTEXTS[prog_type]:
        return False
    if target == 0:
        return True
    if prog_type in (ProgType.KPROBE, ProgType.PERF_EVENT):
        return isinstance(found, t.Struct) and found.name in _REGS
    raw = prog_type in (ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE)
    return raw and isinstance(found, t.Int) and found.size == _U64_SIZE


def _unqualified(btf: Btf, type_id: int) -> int:
    while isinstance(found := btf.type(type_id), t.Modifier):
        type_id = found.type
    return type_id
