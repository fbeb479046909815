"""Attaching to control groups: by a link (Linux 5.7), or without one, in one of three modes."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from pytest_ebpf.agent.ops import Done, Failed, Handle, LinkCreate, Made, OpenFile, ProgAttach, ProgDetach
from pytest_ebpf.errors import BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.live.attach.arguments import BeforeArg, CgroupArg, CgroupMode, Direction
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism, ReplaceableAttachment
from pytest_ebpf.live.attach.options import Order, choice_option, order_of
from pytest_ebpf.live.inspect.suggest import nearest_paths
from pytest_ebpf.live.machine.cgroup import Cgroup
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import AttachType
from pytest_ebpf.uapi.flags import AttachFlag
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["attach_cgroup", "attach_cgroup_skb", "attach_lsm_cgroup", "open_cgroup"]

_MODES: Mapping[str, int] = MappingProxyType(
    {"single": 0, "override": AttachFlag.ALLOW_OVERRIDE, "multi": AttachFlag.ALLOW_MULTI}
)
_DIRECTIONS: Mapping[str, int] = MappingProxyType(
    {"ingress": AttachType.CGROUP_INET_INGRESS, "egress": AttachType.CGROUP_INET_EGRESS}
)
_UNKNOWN = (errno.EINVAL, errno.EOPNOTSUPP, errno.E2BIG, ENOTSUPP)
CgroupMechanism = Literal["link", "attach"]


class _Place(NamedTuple):
    target: Handle
    path: str
    type: int
    order: Order


def attach_cgroup(
    session: Session,
    program: AttachableProgram,
    *,
    cgroup: CgroupArg,
    mode: CgroupMode | None = None,
    mechanism: CgroupMechanism | None = None,
    before: BeforeArg | None = None,
    after: BeforeArg | None = None,
) -> Link:
    """On ``cgroup``. Without ``mechanism`` it is a link where the kernel has them. ``mode`` is for programs without a
    link ("single": none below, "override": one below replaces it there, "multi"); links are always "multi"."""
    spec = program.definition.spec
    assert spec is not None
    target, path = open_cgroup(session, cgroup, who=program.name)
    place = _Place(target, path, spec.attach_type, order_of(program, before=before, after=after))
    return _attach(session, program, place=place, mode=mode, mechanism=mechanism)


def attach_cgroup_skb(
    session: Session,
    program: AttachableProgram,
    *,
    cgroup: CgroupArg,
    direction: Direction,
    mode: CgroupMode | None = None,
    mechanism: CgroupMechanism | None = None,
    before: BeforeArg | None = None,
    after: BeforeArg | None = None,
) -> Link:
    """As ``attach_cgroup``, for a section that leaves the direction open."""
    kind = _DIRECTIONS[choice_option(program.name, "direction", value=direction, among=_DIRECTIONS)]
    target, path = open_cgroup(session, cgroup, who=program.name)
    place = _Place(target, path, kind, order_of(program, before=before, after=after))
    return _attach(session, program, place=place, mode=mode, mechanism=mechanism)


def attach_lsm_cgroup(
    session: Session,
    program: AttachableProgram,
    *,
    cgroup: CgroupArg,
    before: BeforeArg | None = None,
    after: BeforeArg | None = None,
) -> Link:
    """As ``attach_cgroup``; LSM programs have no modes."""
    return attach_cgroup(session, program, cgroup=cgroup, before=before, after=after)


def _attach(
    session: Session,
    program: AttachableProgram,
    *,
    place: _Place,
    mode: CgroupMode | None,
    mechanism: CgroupMechanism | None,
) -> Link:
    if mechanism is not None:
        choice_option(program.name, "mechanism", value=mechanism, among=("link", "attach"))
    if mode is not None:
        choice_option(program.name, "mode", value=mode, among=_MODES)
        if mechanism == "link":
            raise BpfUsageError(
                f"{program.name}: a link on a control group has no mode; mode= goes with mechanism='attach'"
            )
        if place.order.flags and mode != "multi":
            raise BpfUsageError(f"{program.name}: before= and after= need mode='multi'")
    if mechanism != "attach" and mode is None:
        op = LinkCreate(
            program.handle, place.type, target=place.target, flags=place.order.flags, extra=place.order.extra(session)
        )
        made = session.attempt(op, Made)
        if isinstance(made, Made):
            link = Mechanism.CGROUP_LINK
            return Link(session, program=program, target=place.path, mechanism=link, handles=(made.handle,))
        if mechanism == "link" or made.errno not in _UNKNOWN:
            _check_order(program, made, order=place.order)
            session.checked(op, made, kind=Made)
    return _without_link(session, program, place=place, mode=_MODES[mode or "multi"])


def _without_link(session: Session, program: AttachableProgram, *, place: _Place, mode: int) -> Link:
    order = place.order
    op = ProgAttach(program.handle, place.target, place.type, flags=mode | order.flags, relative=order.relative)
    answer = session.attempt(op, Done)
    if isinstance(answer, Failed):
        _check_order(program, answer, order=order)
        _raise(session, op, failed=answer, path=place.path)

    def put(new: Handle, old: Handle) -> None:
        flags, replaced = (mode | AttachFlag.REPLACE, old) if mode == AttachFlag.ALLOW_MULTI else (mode, None)
        session.one(ProgAttach(new, place.target, place.type, flags=flags, replace=replaced), Done)

    def remove(current: Handle) -> None:
        session.attempt(ProgDetach(current, place.target, place.type), Done)

    attachment = ReplaceableAttachment(program.handle, put=put, remove=remove)
    return Link(session, program=program, target=place.path, mechanism=Mechanism.CGROUP, attachment=attachment)


def _check_order(program: AttachableProgram, failed: Failed, *, order: Order) -> None:
    if order.flags and failed.errno in _UNKNOWN:
        raise PlanError(
            f"{program.name}: before= and after= on control groups came with Linux 6.17 ({failed.text})",
            feature="order of programs on control groups",
            since="6.17",
            hint="Older kernels run the programs of a group in the order in which they were attached.",
        )


def _raise(session: Session, op: ProgAttach, *, failed: Failed, path: str) -> None:
    try:
        session.checked(op, failed, kind=Done)
    except KernelCallError as error:
        if error.errno == errno.EPERM:
            error.hint = (
                f"{path} or a group above it has a program in a mode that does not allow this one: with mode='single' "
                "no other may be attached below, with mode='override' one in its place, and one group has one mode."
            )
        raise


def open_cgroup(session: Session, group: object, *, who: str) -> tuple[Handle, str]:
    """The open directory of a group from ``bpf.cgroup()`` or of a path, and its path. ``who`` begins the messages."""
    if isinstance(group, Cgroup):
        return group.handle, group.path
    if not isinstance(group, str):
        raise BpfUsageError(f"{who}: cgroup= expects a cgroup from bpf.cgroup() or its path, got {group!r}")
    try:
        return session.make(OpenFile(group)), group
    except KernelCallError as error:
        if error.errno == errno.ENOENT:
            close = nearest_paths(session, group)
            error.hint = f"{who}: there is no cgroup {group}; {close or 'bpf.cgroup() makes one'}"
        raise
