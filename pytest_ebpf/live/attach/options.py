"""Named arguments of ``attach`` that several kinds of program take: choices, numbers, the order among programs."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.errors import BpfUsageError, PlanError
from pytest_ebpf.features.probe import probe_feature
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.session import Session

__all__ = ["Order", "choose", "lacking", "order_of", "whole"]

_BEFORE, _AFTER, _ID, _LINK = 1 << 3, 1 << 4, 1 << 5, 1 << 13  # BPF_F_*
_RELATIVE = struct.Struct("=IIQ")  # link_create.tcx, .netkit, .cgroup: relative_id, padding, expected_revision
ANY = "all"


class Order(NamedTuple):
    """A place among the programs of one hook: BPF_F_* bits and the id that they are about."""

    flags: int = 0
    relative: int = 0

    @property
    def extra(self) -> bytes:
        """As ``LinkCreate`` takes it."""
        return _RELATIVE.pack(self.relative, 0, 0) if self.flags else b""


def choose(
    program: AttachableProgram, name: str, *, named: Mapping[str, object], among: Iterable[str], default: str = ""
) -> str:
    """One of several words."""
    value, known = named.get(name), tuple(among)
    if value is None and default:
        return default
    if isinstance(value, str) and value in known:
        return value
    close = get_close_matches(str(value), known, n=1) if isinstance(value, str) else []
    near = f" (did you mean {close[0]}?)" if close else ""
    raise BpfUsageError(f"{program.name}: {name}= is one of {', '.join(known)}, not {value!r}{near}")


def whole(
    program: AttachableProgram, name: str, *, named: Mapping[str, object], default: int, limit: int = 1 << 32
) -> int:
    """A number from 0 on, below ``limit``."""
    value = named.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise BpfUsageError(f"{program.name}: {name}= is a number from 0 to {limit - 1}, not {value!r}")
    return value


def order_of(program: AttachableProgram, named: Mapping[str, object]) -> Order:
    """What ``before`` and ``after`` say: a program or link that is attached there, or "all"."""
    before, after = named.get("before"), named.get("after")
    if before is not None and after is not None:
        raise BpfUsageError(f"{program.name}: before= and after= exclude each other")
    if before is None and after is None:
        return Order()
    name, value = ("before", before) if before is not None else ("after", after)
    flag = _BEFORE if before is not None else _AFTER
    if value == ANY:
        return Order(flag)
    return _relative(program, name, value=value, flag=flag)


def _relative(program: AttachableProgram, name: str, *, value: object, flag: int) -> Order:
    if isinstance(value, Link):
        if value.is_object:
            return Order(flag | _ID | _LINK, value.info.id)
        value = value.program
    handle, number = getattr(value, "handle", None), getattr(value, "id", None)
    if isinstance(handle, Handle) and handle.kind == "prog" and isinstance(number, int):
        return Order(flag | _ID, number)
    raise BpfUsageError(f'{program.name}: {name}= is a program or link that is attached there, or "all", not {value!r}')


def lacking(session: Session, feature: str) -> bool:
    """Whether a probe says that this kernel does not have a way to attach. Asked when that way has failed."""
    try:
        return probe_feature(session.target, name=f"attach:{feature}").supported is False
    except (PlanError, BpfUsageError):
        return False
