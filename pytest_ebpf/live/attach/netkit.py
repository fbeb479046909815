"""Programs on netkit devices: a link (Linux 6.7)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.agent.ops import Failed, LinkCreate, Made
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.attach.arguments import BeforeArg, InterfaceArg, NetnsArg
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.attach.options import is_missing, order_of
from pytest_ebpf.live.net.resolve import find_interface
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import AttachType

__all__ = ["attach_netkit"]

_ENDS: Mapping[str, int] = MappingProxyType({"primary": AttachType.NETKIT_PRIMARY, "peer": AttachType.NETKIT_PEER})


def attach_netkit(
    session: Session,
    program: AttachableProgram,
    *,
    interface: InterfaceArg,
    netns: NetnsArg | None = None,
    before: BeforeArg | None = None,
    after: BeforeArg | None = None,
) -> Link:
    """On a netkit device. ``interface`` is the primary device for programs of either end."""
    assert program.definition.spec is not None
    place = find_interface(session, interface, netns=netns)
    order = order_of(program, before=before, after=after)
    end = program.definition.spec.prefix.rpartition("/")[2]
    op = LinkCreate(
        program.handle, _ENDS[end], target=place.index, flags=order.flags, netns=place.netns, extra=order.extra(session)
    )
    made = session.attempt(op, Made)
    if isinstance(made, Failed) and made.errno in (errno.ENXIO, errno.EACCES) and not is_missing(session, "netkit"):
        if made.errno == errno.EACCES:
            raise BpfUsageError(
                f"{program.name}: {place.name} is the peer; programs for either end are attached to the primary"
            )
        raise BpfUsageError(f"{program.name}: {place.name} is not a netkit device")
    handle = session.checked(op, made, kind=Made).handle
    return Link(session, program=program, target=f"{place.name} {end}", mechanism=Mechanism.NETKIT, handles=(handle,))
