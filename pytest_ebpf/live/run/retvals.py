"""What a program's return value means: names for the verdicts of each program type.

Source of every number: ``include/uapi/linux/bpf.h`` (``enum xdp_action``, ``enum sk_action``, ``enum bpf_ret_code``,
``enum tcx_action_base``), ``include/uapi/linux/pkt_cls.h`` (``TC_ACT_*``) and ``include/uapi/linux/netfilter.h``
(``NF_*``), as of Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

__all__ = ["CGROUP", "FLOW", "LWT", "NF", "SK", "TC", "XDP", "decode_retval", "render_retval"]


class XDP(IntEnum):
    """Verdicts of XDP programs (``enum xdp_action``)."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


class TC(IntEnum):
    """Verdicts of tc classifiers and actions (``TC_ACT_*``). TCX uses four of them: UNSPEC (its NEXT), OK (its PASS),
    SHOT (its DROP) and REDIRECT."""

    UNSPEC = -1
    OK = 0
    RECLASSIFY = 1
    SHOT = 2
    PIPE = 3
    STOLEN = 4
    QUEUED = 5
    REPEAT = 6
    REDIRECT = 7
    TRAP = 8


class SK(IntEnum):
    """Verdicts of sk_lookup, sk_msg, sk_skb and sk_reuseport programs (``enum sk_action``)."""

    DROP = 0
    PASS = 1


class CGROUP(IntEnum):
    """Verdicts of cgroup_skb programs: 0 drops the packet, 1 lets it pass; 2 and 3 are the same two with congestion
    notification (egress only, ``__cgroup_bpf_run_filter_skb`` in kernel/bpf/cgroup.c)."""

    DENY = 0
    ALLOW = 1
    DENY_CN = 2
    ALLOW_CN = 3


class LWT(IntEnum):
    """Verdicts of lightweight-tunnel programs (``enum bpf_ret_code``)."""

    OK = 0
    DROP = 2
    REDIRECT = 7
    REROUTE = 128


class FLOW(IntEnum):
    """Verdicts of flow dissectors (``enum bpf_ret_code``)."""

    OK = 0
    DROP = 2
    CONTINUE = 129


class NF(IntEnum):
    """Verdicts of netfilter programs (``NF_*``; a program may return DROP or ACCEPT)."""

    DROP = 0
    ACCEPT = 1
    STOLEN = 2
    QUEUE = 3
    REPEAT = 4
    STOP = 5


# Keyed by the kernel's program type number (loader-facts 3.1).
_ENUMS: Mapping[int, type[IntEnum]] = MappingProxyType(
    {
        3: TC,
        4: TC,
        6: XDP,
        8: CGROUP,
        10: LWT,
        11: LWT,
        12: LWT,
        14: SK,
        16: SK,
        19: LWT,
        21: SK,
        22: FLOW,
        30: SK,
        32: NF,
    }
)
# Types whose value is a C int that is negative for an error; the kernel hands it over as u32.
_SIGNED = frozenset({3, 4, 17, 31})


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
