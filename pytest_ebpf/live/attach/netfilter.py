"""Attaching to the netfilter hooks of a network namespace, and to maps of sockets."""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import Done, Handle, LinkCreate, Made, ProgAttach, ProgDetach
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.options import choose
from pytest_ebpf.live.handles import netns_handle
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.session import Session

__all__ = ["attach_netfilter", "attach_sockmap"]

_NETFILTER = 45  # enum bpf_attach_type
_EXTRA = struct.Struct("=IIiI")  # link_create.netfilter: pf, hooknum, priority, flags
_DEFRAG = 1  # BPF_F_NETFILTER_IP_DEFRAG, Linux 6.6
_FAMILIES: Mapping[str, int] = MappingProxyType({"ipv4": 2, "ipv6": 10})  # NFPROTO_*
_HOOKS: Mapping[str, int] = MappingProxyType(
    {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}  # enum nf_inet_hooks
)
_ROLES: Mapping[str, int] = MappingProxyType({"stream_parser": 4, "stream_verdict": 5, "verdict": 38})
_WAYS = ("link", "attach")
_UNKNOWN = (errno.EINVAL, errno.EOPNOTSUPP, 524)


def attach_netfilter(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """A netfilter link (Linux 6.4) in the network namespace of the test, or ``netns``. Of two programs at a hook the
    one with the smaller ``priority`` runs first; the kernel refuses its own first and last places."""
    family = choose(program, "family", named=named, among=_FAMILIES)
    hook = choose(program, "hook", named=named, among=_HOOKS)
    priority = named.get("priority", -128)
    if not isinstance(priority, int):
        raise BpfUsageError(f"{program.name}: priority= is a number, not {priority!r}")
    netns = None if named.get("netns") is None else netns_handle(session, named["netns"])
    extra = _EXTRA.pack(_FAMILIES[family], _HOOKS[hook], priority, _DEFRAG if named.get("defrag") else 0)
    handle = session.make(LinkCreate(program.handle, _NETFILTER, netns=netns, extra=extra))
    return Link(session, program=program, target=f"{family} {hook}", mechanism="netfilter link", handles=(handle,))


def attach_sockmap(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """To every socket that comes into the map ``map`` from now on (those in it keep what they came in with): by a link
    (Linux 6.10), else without."""
    table = named["map"]
    if not isinstance(table, Map) or table.kind.name not in ("sockmap", "sockhash"):
        raise BpfUsageError(f"{program.name}: map= is a loaded sockmap or sockhash, not {table!r}")
    mechanism = choose(program, "mechanism", named=named, among=_WAYS, default="any")
    kind, where = _attach_type(program, named), f"map {table.name}"
    if mechanism != "attach":
        op = LinkCreate(program.handle, kind, target=table.handle)
        made = session.attempt(op, Made)
        if isinstance(made, Made):
            return Link(session, program=program, target=where, mechanism="sockmap link", handles=(made.handle,))
        if mechanism == "link" or made.errno not in _UNKNOWN:
            session.checked(op, made, kind=Made)
    current = [program.handle]

    def put(new: Handle, old: Handle) -> None:
        session.one(ProgAttach(new, table.handle, kind), Done)
        current[0] = new

    def undo() -> None:
        session.attempt(ProgDetach(current[0], table.handle, kind), Done)

    put(program.handle, program.handle)
    return Link(session, program=program, target=where, mechanism="sockmap", undo=undo, swap=put)


def _attach_type(program: AttachableProgram, named: Mapping[str, object]) -> int:
    spec = program.definition.spec
    assert spec is not None
    if spec.attach_type:
        if named.get("role") is not None:
            raise BpfUsageError(f"{program.name}: section {program.definition.section!r} says the role already")
        return spec.attach_type
    return _ROLES[choose(program, "role", named=named, among=_ROLES, default="stream_verdict")]
