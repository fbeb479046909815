"""Prove an eBPF project on every kernel it ships to.

The public names, each loaded when it is first used: pytest imports this package for its plugin in every test run, and
must not pay for what that run does not use.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_ebpf.errors import (
        BootFailed,
        BpfUsageError,
        EbpfError,
        GuestLost,
        HarnessError,
        ImageError,
        KernelCallError,
        ObjectError,
        PlanError,
    )
    from pytest_ebpf.kernels.fake import FakeKernel
    from pytest_ebpf.live.attach.link import Link, Mechanism
    from pytest_ebpf.live.bpf_object import BpfObject
    from pytest_ebpf.live.loader import Bpf
    from pytest_ebpf.live.machine.commands import User
    from pytest_ebpf.live.maps.map import Map
    from pytest_ebpf.live.open_kernel import open_kernel
    from pytest_ebpf.live.program import Program
    from pytest_ebpf.live.run.retvals import CGROUP, FLOW, LWT, NF, SK, TC, XDP
    from pytest_ebpf.live.run.test_run import RunResult
    from pytest_ebpf.live.typed.address import addr
    from pytest_ebpf.packets import (
        ARP,
        ICMP,
        IP,
        TCP,
        UDP,
        VLAN,
        Eth,
        ICMPv6,
        IPv6,
        Packet,
        Pad,
        Raw,
        assert_packet,
        diff_packets,
        parse_packet,
    )
    from pytest_ebpf.uapi.flags import MapFlag, RunFlag
    from pytest_ebpf.uapi.names import AttachTypeName, LinkTypeName, MapTypeName, ProgTypeName
    from pytest_ebpf.verifier.log.expect import absent, next_line
    from pytest_ebpf.verifier.program_rejected import ProgramRejected

__all__ = [
    "ARP",
    "AttachTypeName",
    "CGROUP",
    "FLOW",
    "ICMP",
    "IP",
    "LWT",
    "NF",
    "SK",
    "TC",
    "TCP",
    "UDP",
    "VLAN",
    "XDP",
    "BootFailed",
    "Bpf",
    "EbpfError",
    "Eth",
    "FakeKernel",
    "GuestLost",
    "HarnessError",
    "ICMPv6",
    "IPv6",
    "ImageError",
    "KernelCallError",
    "Link",
    "LinkTypeName",
    "BpfObject",
    "Map",
    "MapFlag",
    "MapTypeName",
    "Mechanism",
    "ObjectError",
    "Packet",
    "Pad",
    "PlanError",
    "ProgTypeName",
    "Program",
    "ProgramRejected",
    "Raw",
    "RunFlag",
    "RunResult",
    "BpfUsageError",
    "User",
    "absent",
    "addr",
    "assert_packet",
    "diff_packets",
    "next_line",
    "open_kernel",
    "parse_packet",
]

__version__ = "0.1.0"

# Which module has which names.
_HOMES = MappingProxyType(
    {
        "pytest_ebpf.errors": (
            "BootFailed BpfUsageError EbpfError GuestLost HarnessError ImageError KernelCallError ObjectError PlanError"
        ),
        "pytest_ebpf.kernels.fake": "FakeKernel",
        "pytest_ebpf.live.machine.commands": "User",
        "pytest_ebpf.live.attach.link": "Link Mechanism",
        "pytest_ebpf.live.bpf_object": "BpfObject",
        "pytest_ebpf.live.loader": "Bpf",
        "pytest_ebpf.live.maps.map": "Map",
        "pytest_ebpf.live.open_kernel": "open_kernel",
        "pytest_ebpf.live.program": "Program",
        "pytest_ebpf.live.run.retvals": "CGROUP FLOW LWT NF SK TC XDP",
        "pytest_ebpf.live.run.test_run": "RunResult",
        "pytest_ebpf.live.typed.address": "addr",
        "pytest_ebpf.packets": (
            "ARP ICMP IP TCP UDP VLAN Eth ICMPv6 IPv6 Packet Pad Raw assert_packet diff_packets parse_packet"
        ),
        "pytest_ebpf.uapi.flags": "MapFlag RunFlag",
        "pytest_ebpf.uapi.names": "AttachTypeName LinkTypeName MapTypeName ProgTypeName",
        "pytest_ebpf.verifier.log.expect": "absent next_line",
        "pytest_ebpf.verifier.program_rejected": "ProgramRejected",
    }
)


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names.split():
            from importlib import import_module

            value: object = getattr(import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
