"""Programs on network namespaces: sk_lookup and the flow dissector."""

from __future__ import annotations

from typing import Literal

from pytest_ebpf.agent.ops import Done, Handle, LinkCreate, OpenFile, ProgAttach, ProgDetach
from pytest_ebpf.live.attach.arguments import NetnsArg
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism, ReplaceableAttachment
from pytest_ebpf.live.attach.options import choice_option
from pytest_ebpf.live.handles import netns_handle
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import AttachType

__all__ = ["attach_flow_dissector", "attach_netns"]

_OWN_NETNS = "/proc/self/ns/net"


def attach_netns(session: Session, program: AttachableProgram, *, netns: NetnsArg | None = None) -> Link:
    """On ``netns``, by default the network namespace in which the machine runs."""
    target, where = _namespace(session, netns)
    return _netns_link(session, program, target=target, where=where)


def attach_flow_dissector(
    session: Session,
    program: AttachableProgram,
    *,
    netns: NetnsArg | None = None,
    mechanism: Literal["link", "attach"] | None = None,
) -> Link:
    """As ``attach_netns``. ``mechanism`` "attach" is BPF_PROG_ATTACH; the default is a link (Linux 5.8)."""
    if mechanism is not None:
        choice_option(program.name, "mechanism", value=mechanism, among=("link", "attach"))
    target, where = _namespace(session, netns)
    if mechanism != "attach":
        return _netns_link(session, program, target=target, where=where)

    def put(new: Handle, old: Handle) -> None:
        session.one(ProgAttach(new, 0, AttachType.FLOW_DISSECTOR, netns=target), Done)

    def remove(current: Handle) -> None:
        session.attempt(ProgDetach(current, 0, AttachType.FLOW_DISSECTOR, netns=target), Done)

    put(program.handle, program.handle)
    attachment = ReplaceableAttachment(program.handle, put=put, remove=remove)
    return Link(session, program=program, target=where, mechanism=Mechanism.FLOW_DISSECTOR, attachment=attachment)


def _netns_link(session: Session, program: AttachableProgram, *, target: Handle, where: str) -> Link:
    assert program.definition.spec is not None
    handle = session.make(LinkCreate(program.handle, program.definition.spec.attach_type, target=target))
    return Link(session, program=program, target=where, mechanism=Mechanism.NETNS, handles=(handle,))


def _namespace(session: Session, given: NetnsArg | None) -> tuple[Handle, str]:
    if given is None:
        return session.make(OpenFile(_OWN_NETNS)), "this network namespace"
    return netns_handle(session, given), str(getattr(given, "name", "") or given)
