"""Programs on the netfilter hooks of a network namespace: a link (Linux 6.4)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import LinkCreate
from pytest_ebpf.live.attach.arguments import Family, Hook, NetnsArg
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.attach.options import choice_option, int_option
from pytest_ebpf.live.handles import netns_handle
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import AttachType
from pytest_ebpf.uapi.links import NetfilterFlag
from pytest_ebpf.uapi.net import NfHook, NfProto

__all__ = ["attach_netfilter"]

_EXTRA = "IIiI"  # link_create.netfilter: pf, hooknum, priority, flags
_FAMILIES: Mapping[str, int] = MappingProxyType({"ipv4": NfProto.IPV4, "ipv6": NfProto.IPV6})
_HOOKS: Mapping[str, int] = MappingProxyType(
    {
        "prerouting": NfHook.PRE_ROUTING,
        "input": NfHook.LOCAL_IN,
        "forward": NfHook.FORWARD,
        "output": NfHook.LOCAL_OUT,
        "postrouting": NfHook.POST_ROUTING,
    }
)
_S32 = 1 << 31


def attach_netfilter(
    session: Session,
    program: AttachableProgram,
    *,
    family: Family,
    hook: Hook,
    priority: int = -128,
    defrag: bool = False,
    netns: NetnsArg | None = None,
) -> Link:
    """In the network namespace of the machine, or ``netns``. Of two programs at a hook the one with the smaller
    ``priority`` runs first; the kernel refuses its own first and last places. ``defrag``: Linux 6.6."""
    pf = _FAMILIES[choice_option(program.name, "family", value=family, among=_FAMILIES)]
    number = _HOOKS[choice_option(program.name, "hook", value=hook, among=_HOOKS)]
    int_option(program.name, "priority", value=priority, low=-_S32, limit=_S32)
    place = None if netns is None else netns_handle(session, netns)
    flags = NetfilterFlag.IP_DEFRAG if defrag else 0
    extra = struct.pack(session.target.described.order + _EXTRA, pf, number, priority, flags)
    handle = session.make(LinkCreate(program.handle, AttachType.NETFILTER, netns=place, extra=extra))
    return Link(session, program=program, target=f"{family} {hook}", mechanism=Mechanism.NETFILTER, handles=(handle,))
