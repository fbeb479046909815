"""What a program's return value means: the enum of verdicts of each program type."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from pytest_ebpf.uapi.enums import ProgType
from pytest_ebpf.uapi.verdicts import CGROUP, FLOW, LWT, NF, SK, TC, XDP

__all__ = ["CGROUP", "FLOW", "LWT", "NF", "SK", "TC", "XDP", "decode_retval", "render_retval"]


_ENUMS: Mapping[int, type[IntEnum]] = MappingProxyType(
    {
        ProgType.SCHED_CLS: TC,
        ProgType.SCHED_ACT: TC,
        ProgType.XDP: XDP,
        ProgType.CGROUP_SKB: CGROUP,
        ProgType.LWT_IN: LWT,
        ProgType.LWT_OUT: LWT,
        ProgType.LWT_XMIT: LWT,
        ProgType.SK_SKB: SK,
        ProgType.SK_MSG: SK,
        ProgType.LWT_SEG6LOCAL: LWT,
        ProgType.SK_REUSEPORT: SK,
        ProgType.FLOW_DISSECTOR: FLOW,
        ProgType.SK_LOOKUP: SK,
        ProgType.NETFILTER: NF,
    }
)
# Types whose value is a C int that is negative for an error; the kernel hands it over as u32.
_SIGNED = frozenset((ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.RAW_TRACEPOINT, ProgType.SYSCALL))


def decode_retval(prog_type: int, retval: int) -> int:
    """The kernel's u32 as the program meant it: an ``IntEnum`` member where the type has names for it, a signed int
    where C code returns errors, else the number as it is."""
    value = retval - (1 << 32) if prog_type in _SIGNED and retval >= 1 << 31 else retval
    enum = _ENUMS.get(prog_type)
    return value if enum is None else enum._value2member_map_.get(value, value)  # type: ignore[return-value]


def render_retval(value: int) -> str:
    """``XDP.DROP (1)`` for a verdict, the plain number otherwise."""
    if isinstance(value, IntEnum):
        return f"{type(value).__name__}.{value.name} ({int(value)})"
    return str(value)
