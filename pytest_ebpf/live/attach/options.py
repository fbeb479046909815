"""The options of ``attach``: their validators, and the order among the programs of one hook."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.errors import BpfUsageError, PlanError
from pytest_ebpf.features.probe import probe_feature
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.session import Session
from pytest_ebpf.suggest import did_you_mean
from pytest_ebpf.uapi.flags import AttachFlag

__all__ = ["U64", "Order", "choice_option", "int_option", "is_missing", "order_of"]

U64 = 1 << 64
_RELATIVE = "IIQ"  # link_create.tcx, .netkit, .cgroup: relative_id, padding, expected_revision
_ALL = "all"


class Order(NamedTuple):
    """A place among the programs of one hook: BEFORE or AFTER, and the id of the program or link it refers to."""

    flags: int = 0
    relative: int = 0

    def extra(self, session: Session) -> bytes:
        """As ``LinkCreate`` takes it."""
        layout = session.target.described.order + _RELATIVE
        return struct.pack(layout, self.relative, 0, 0) if self.flags else b""


def int_option(who: str, name: str, *, value: object, low: int = 0, limit: int = 1 << 32) -> int:
    """``value`` if it is an integer from ``low`` to ``limit`` - 1, else ``BpfUsageError``."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value < limit:
        return value
    kind = "an unsigned 64-bit integer" if (low, limit) == (0, U64) else f"an integer from {low} to {limit - 1}"
    raise BpfUsageError(f"{who}: {name}= must be {kind}, got {value!r}")


def choice_option(who: str, name: str, *, value: object, among: Iterable[str]) -> str:
    """``value`` if it is one of ``among``, else ``BpfUsageError`` with the most similar one."""
    known = tuple(among)
    if isinstance(value, str) and value in known:
        return value
    near = did_you_mean(value, known, most=1, otherwise="") if isinstance(value, str) else ""
    raise BpfUsageError(f"{who}: {name}= must be one of {', '.join(known)}, got {value!r}", hint=near)


def order_of(program: AttachableProgram, *, before: object, after: object) -> Order:
    """The place that ``before`` or ``after`` asks for: relative to a program or link attached there, or to "all"."""
    if before is not None and after is not None:
        raise BpfUsageError(f"{program.name}: before= and after= exclude each other")
    if before is None and after is None:
        return Order()
    name, value = ("before", before) if before is not None else ("after", after)
    flag = AttachFlag.BEFORE if before is not None else AttachFlag.AFTER
    if value == _ALL:
        return Order(flag)
    if isinstance(value, Link):
        if value.is_object:
            return Order(flag | AttachFlag.ID | AttachFlag.LINK, value.info.id)
        value = value.program
    handle, number = getattr(value, "handle", None), getattr(value, "id", None)
    if isinstance(handle, Handle) and handle.kind == "prog" and isinstance(number, int):
        return Order(flag | AttachFlag.ID, number)
    raise BpfUsageError(f'{program.name}: {name}= expects a program or link that is attached there, or "all", '
                        f"got {value!r}")  # fmt: skip


def is_missing(session: Session, feature: str) -> bool:
    """Whether a probe proves that this kernel lacks a way to attach. Called after that way has failed."""
    try:
        return probe_feature(session.target, name=f"attach:{feature}").supported is False
    except (PlanError, BpfUsageError):
        return False
