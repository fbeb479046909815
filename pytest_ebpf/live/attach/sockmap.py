"""Programs on maps of sockets: a link (Linux 6.10), or BPF_PROG_ATTACH."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pytest_ebpf.agent.ops import Done, Handle, LinkCreate, Made, ProgAttach, ProgDetach
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.attach.arguments import Role
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism, ReplaceableAttachment
from pytest_ebpf.live.attach.options import choice_option
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import AttachType
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["attach_sockmap"]

_ROLES: Mapping[str, int] = MappingProxyType(
    {
        "stream_parser": AttachType.SK_SKB_STREAM_PARSER,
        "stream_verdict": AttachType.SK_SKB_STREAM_VERDICT,
        "verdict": AttachType.SK_SKB_VERDICT,
    }
)
_UNKNOWN = (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP)


def attach_sockmap(
    session: Session,
    program: AttachableProgram,
    *,
    map: Map,
    role: Role | None = None,
    mechanism: Literal["link", "attach"] | None = None,
) -> Link:
    """To every socket that is put into ``map`` from now on; the sockets in it keep the programs that they have. Without
    ``mechanism`` it is a link where the kernel has them."""
    if map.kind.name not in ("sockmap", "sockhash"):
        raise BpfUsageError(f"{program.name}: map= expects a loaded sockmap or sockhash, got {map!r}")
    if mechanism is not None:
        choice_option(program.name, "mechanism", value=mechanism, among=("link", "attach"))
    kind, where = _attach_type(program, role), f"map {map.name}"
    if mechanism != "attach":
        op = LinkCreate(program.handle, kind, target=map.handle)
        made = session.attempt(op, Made)
        if isinstance(made, Made):
            link = Mechanism.SOCKMAP_LINK
            return Link(session, program=program, target=where, mechanism=link, handles=(made.handle,))
        if mechanism == "link" or made.errno not in _UNKNOWN:
            session.checked(op, made, kind=Made)

    def put(new: Handle, old: Handle) -> None:
        session.one(ProgAttach(new, map.handle, kind), Done)

    def remove(current: Handle) -> None:
        session.attempt(ProgDetach(current, map.handle, kind), Done)

    put(program.handle, program.handle)
    attachment = ReplaceableAttachment(program.handle, put=put, remove=remove)
    return Link(session, program=program, target=where, mechanism=Mechanism.SOCKMAP, attachment=attachment)


def _attach_type(program: AttachableProgram, role: Role | None) -> int:
    spec = program.definition.spec
    assert spec is not None
    if spec.attach_type:
        if role is not None:
            raise BpfUsageError(f"{program.name}: section {program.definition.section!r} already states the role")
        return spec.attach_type
    if role is None:
        return AttachType.SK_SKB_STREAM_VERDICT
    return _ROLES[choice_option(program.name, "role", value=role, among=_ROLES)]
