"""Attaching to the network: XDP, tc (TCX or clsact), network namespaces."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Data, Failed, Handle, LinkCreate, Made, OpenFile, ReadFile
from pytest_ebpf.errors import KernelCallError, UsageError
from pytest_ebpf.live.links import Link
from pytest_ebpf.live.nearby import nearest_paths, xdp_holder
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.program import Program

__all__ = ["attach_netns", "attach_tc", "attach_xdp", "interface_index"]

_XDP = 37  # enum bpf_attach_type
_TCX: Mapping[str, int] = MappingProxyType({"ingress": 46, "egress": 47})
_XDP_MODES: Mapping[str, int] = MappingProxyType({"": 0, "skb": 1 << 1, "native": 1 << 2, "offload": 1 << 3})


def attach_xdp(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """An XDP link (Linux 5.9)."""
    mode = str(named.get("mode") or "")
    if mode not in _XDP_MODES:
        raise UsageError(f"{program.name}: mode= is skb, native or offload, not {mode!r}")
    index = interface_index(session, named["interface"])
    try:
        handle = session.make(LinkCreate(program.handle, _XDP, target=index, flags=_XDP_MODES[mode]))
    except KernelCallError as error:
        if error.errno in (errno.EBUSY, errno.EEXIST) and (holder := xdp_holder(session, index)):
            error.hint = f"{named['interface']} has {holder} attached; detach it first."
        raise
    return Link(session, program=program, where=str(named["interface"]), way="xdp link", handles=(handle,))


def attach_tc(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """A TCX link where the kernel has them (Linux 6.6), else a filter on a clsact qdisc."""
    direction = str(named.get("direction") or program.definition.section.rpartition("/")[2])
    if direction not in _TCX:
        raise UsageError(f"{program.name}: direction= is ingress or egress, not {direction!r}")
    index = interface_index(session, named["interface"])
    where = f"{named['interface']} {direction}"
    if "priority" not in named:
        made = session.attempt(LinkCreate(program.handle, _TCX[direction], target=index), Made)
        if isinstance(made, Made):
            return Link(session, program=program, where=where, way="tcx link", handles=(made.handle,))
        if not _unknown_attach_type(made):
            session.checked(LinkCreate(program.handle, _TCX[direction], target=index), made, kind=Made)
    from pytest_ebpf.live.clsact import add_filter

    priority = named.get("priority")
    undo = add_filter(
        session,
        program,
        index=index,
        direction=direction,
        priority=priority if isinstance(priority, int) else 0,
    )
    return Link(session, program=program, where=where, way="clsact filter", undo=undo)


def attach_netns(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """On a network namespace: the test's own unless ``netns`` names another."""
    given = named.get("netns")
    target = given if isinstance(given, Handle) else getattr(given, "handle", None)
    if target is None:
        target = session.make(OpenFile(str(given or "/proc/self/ns/net")))
    assert program.definition.spec is not None
    handle = session.make(LinkCreate(program.handle, program.definition.spec.attach_type, target=target))
    return Link(
        session, program=program, where=str(given or "this network namespace"), way="netns link", handles=(handle,)
    )


def interface_index(session: Session, interface: object) -> int:
    """The ifindex of an interface given by name or by index. ``UsageError`` when there is none of that name."""
    if isinstance(interface, int):
        return interface
    read = session.attempt(ReadFile(f"/sys/class/net/{interface}/ifindex"), Data)
    if isinstance(read, Failed):
        close = nearest_paths(session, f"/sys/class/net/{interface}").replace("/sys/class/net/", "")
        raise UsageError(
            f"kernel {session.target.name} has no network interface {interface!r}",
            hint=close if close.startswith("did") else "bpf_vm.run(['ls', '/sys/class/net']) lists them.",
        )
    return int(read.data)


def _unknown_attach_type(failed: Failed) -> bool:
    return failed.errno in (errno.EINVAL, errno.EOPNOTSUPP, 524)
