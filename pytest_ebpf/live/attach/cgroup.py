"""Attaching to control groups: by a link (Linux 5.7), or without one, in one of three modes."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from pytest_ebpf.agent.ops import Done, Failed, Handle, LinkCreate, Made, OpenFile, ProgAttach, ProgDetach
from pytest_ebpf.errors import BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.options import Order, choose, order_of
from pytest_ebpf.live.inspect.suggest import nearest_paths
from pytest_ebpf.live.machine.cgroup import Cgroup
from pytest_ebpf.live.session import Session

__all__ = ["attach_cgroup", "cgroup_target", "open_cgroup"]

_WAYS = ("link", "attach")
_OVERRIDE, _MULTI, _REPLACE = 1, 2, 4  # BPF_F_ALLOW_OVERRIDE, BPF_F_ALLOW_MULTI, BPF_F_REPLACE
_MODES: Mapping[str, int] = MappingProxyType({"single": 0, "override": _OVERRIDE, "multi": _MULTI})
_DIRECTIONS: Mapping[str, int] = MappingProxyType({"ingress": 0, "egress": 1})  # enum bpf_attach_type
_UNKNOWN = (errno.EINVAL, errno.EOPNOTSUPP, errno.E2BIG, 524)


class _Place(NamedTuple):
    target: Handle
    path: str
    type: int
    order: Order


def attach_cgroup(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """``way`` "link" or "attach"; by default a link where the kernel has them. ``mode`` is for programs without link
    ("single": none below, "override": one below may take its place, "multi"); links are always of the last kind."""
    target, path = cgroup_target(session, program, group=named["cgroup"])
    mechanism = choose(program, "mechanism", named=named, among=_WAYS, default="any")
    mode = choose(program, "mode", named=named, among=_MODES, default="multi")
    if named.get("mode") is not None:
        if mechanism == "link":
            raise BpfUsageError(
                f"{program.name}: a link on a control group has no mode; mode= goes with mechanism='attach'"
            )
        mechanism = "attach"
    place = _Place(target, path, _attach_type(program, named), order_of(program, named))
    if place.order.flags and mode != "multi":
        raise BpfUsageError(f"{program.name}: before= and after= need mode='multi'")
    if mechanism != "attach":
        op = LinkCreate(program.handle, place.type, target=target, flags=place.order.flags, extra=place.order.extra)
        made = session.attempt(op, Made)
        if isinstance(made, Made):
            return Link(session, program=program, target=path, mechanism="cgroup link", handles=(made.handle,))
        if mechanism == "link" or made.errno not in _UNKNOWN:
            _refused_order(program, made, order=place.order)
            session.checked(op, made, kind=Made)
    return _without_link(session, program, place=place, mode=_MODES[mode])


def _attach_type(program: AttachableProgram, named: Mapping[str, object]) -> int:
    spec = program.definition.spec
    assert spec is not None
    if spec.prefix in ("cgroup/skb", "cgroup_skb"):  # the section leaves it open
        return _DIRECTIONS[choose(program, "direction", named=named, among=_DIRECTIONS)]
    return spec.attach_type


def _without_link(session: Session, program: AttachableProgram, *, place: _Place, mode: int) -> Link:
    op = ProgAttach(
        program.handle, place.target, place.type, flags=mode | place.order.flags, relative=place.order.relative
    )
    answer = session.attempt(op, Done)
    if isinstance(answer, Failed):
        _refused_order(program, answer, order=place.order)
        _say_why(session, op, failed=answer, path=place.path)
    current = [program.handle]

    def undo() -> None:
        session.attempt(ProgDetach(current[0], place.target, place.type), Done)

    def swap(new: Handle, old: Handle) -> None:
        exchange = ProgAttach(new, place.target, place.type, flags=mode | _REPLACE, replace=old)
        session.one(exchange if mode == _MULTI else ProgAttach(new, place.target, place.type, flags=mode), Done)
        current[0] = new

    return Link(session, program=program, target=place.path, mechanism="cgroup without link", undo=undo, swap=swap)


def _refused_order(program: AttachableProgram, failed: Failed, *, order: Order) -> None:
    if order.flags and failed.errno in _UNKNOWN:
        raise PlanError(
            f"{program.name}: before= and after= on control groups came with Linux 6.17 ({failed.text})",
            feature="order of programs on control groups",
            since="6.17",
            hint="Older kernels run the programs of a group in the order in which they were attached.",
        )


def _say_why(session: Session, op: ProgAttach, *, failed: Failed, path: str) -> None:
    try:
        session.checked(op, failed, kind=Done)
    except KernelCallError as error:
        if error.errno == errno.EPERM:
            error.hint = (
                f"{path} or a group above it has a program in a mode that does not allow this one: with mode='single' "
                "no other may be attached below, with mode='override' one in its place, and one group has one mode."
            )
        raise


def cgroup_target(session: Session, program: AttachableProgram, *, group: object) -> tuple[Handle, str]:
    """The open directory of a group from ``bpf.cgroup()`` or of a path, and its path."""
    return open_cgroup(session, group, who=program.name)


def open_cgroup(session: Session, group: object, *, who: str) -> tuple[Handle, str]:
    """As ``cgroup_target``; ``who`` asks, in messages."""
    if isinstance(group, Cgroup):
        return group.handle, group.path
    if not isinstance(group, str):
        raise BpfUsageError(f"{who}: cgroup= is a group from bpf.cgroup() or a path, not {group!r}")
    try:
        return session.make(OpenFile(group)), group
    except KernelCallError as error:
        if error.errno == errno.ENOENT:
            close = nearest_paths(session, group)
            error.hint = f"{who}: there is no cgroup {group}; {close or 'bpf.cgroup() makes one'}"
        raise
