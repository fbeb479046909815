"""Attaching to the netfilter hooks of a network namespace, and to maps of sockets."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Done, LinkCreate, ProgAttach, ProgDetach
from pytest_ebpf.errors import UsageError
from pytest_ebpf.live.links import Link
from pytest_ebpf.live.maps import Map
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.program import Program

__all__ = ["attach_netfilter", "attach_sockmap"]

_NETFILTER = 45  # enum bpf_attach_type
_EXTRA = struct.Struct("=IIiI")  # link_create.netfilter: pf, hooknum, priority, flags
_DEFRAG = 1  # BPF_F_NETFILTER_IP_DEFRAG, Linux 6.6
_FAMILIES: Mapping[str, int] = MappingProxyType({"ipv4": 2, "ipv6": 10})  # NFPROTO_*
_HOOKS: Mapping[str, int] = MappingProxyType(
    {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}  # enum nf_inet_hooks
)
_STREAM_VERDICT = 5


def attach_netfilter(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """A netfilter link (Linux 6.4) in the network namespace of the test. Of two programs at a hook the one with the
    smaller ``priority`` runs first; the kernel refuses its own first and last places."""
    family, hook = _one_of(program, "family", named=named), _one_of(program, "hook", named=named)
    priority = named.get("priority", -128)
    if not isinstance(priority, int):
        raise UsageError(f"{program.name}: priority= is a number, not {priority!r}")
    extra = _EXTRA.pack(family, hook, priority, _DEFRAG if named.get("defrag") else 0)
    handle = session.make(LinkCreate(program.handle, _NETFILTER, extra=extra))
    where = f"{named['family']} {named['hook']}"
    return Link(session, program=program, where=where, way="netfilter link", handles=(handle,))


def attach_sockmap(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """To every socket that is in the map ``map``, or comes into it later."""
    table = named["map"]
    if not isinstance(table, Map) or table.kind.name not in ("sockmap", "sockhash"):
        raise UsageError(f"{program.name}: map= is a loaded sockmap or sockhash, not {table!r}")
    assert program.definition.spec is not None
    attach_type = program.definition.spec.attach_type or _STREAM_VERDICT
    session.one(ProgAttach(program.handle, table.handle, attach_type), Done)

    def undo() -> None:
        session.one(ProgDetach(program.handle, table.handle, attach_type), Done)

    return Link(session, program=program, where=f"map {table.name}", way="sockmap", undo=undo)


def _one_of(program: Program, name: str, *, named: Mapping[str, object]) -> int:
    table = _FAMILIES if name == "family" else _HOOKS
    value = named[name]
    if not isinstance(value, str) or value not in table:
        raise UsageError(f"{program.name}: {name}= is one of {', '.join(table)}, not {value!r}")
    return table[value]
