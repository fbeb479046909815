"""Maps pinned by name: what is pinned already is used, if it is the same kind of map."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_ebpf.agent.ops import Done, Failed, Handle, Info, InfoByFd, Made, Mount, ObjGet, Op, Ref, Result, Try
from pytest_ebpf.errors import PlanError
from pytest_ebpf.frozen import replace
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import MapDef, ObjectFile
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.options import LoadOptions
from pytest_ebpf.plan.pins import BPFFS, differences, pinned_maps
from pytest_ebpf.plan.planned import Plan

__all__ = ["PinTakenError", "check_pins", "reuse_pinned"]


class PinTakenError(Exception):
    """Somebody pinned a map at the path between our look and our pin: look again."""


def reuse_pinned(session: Session, obj: ObjectFile, *, options: LoadOptions, facts: Facts) -> LoadOptions:
    """``options`` with the maps that are pinned already in the place of those of the object.

    PlanError when something else is pinned there.
    """
    wanted = pinned_maps(obj, facts, options=options)
    if not wanted:
        return options
    ops: list[Op] = [Try(Mount("bpf", BPFFS, "bpf"))]
    for _, path in wanted:
        ops += [Try(ObjGet(path)), Try(InfoByFd(Ref(len(ops))))]
    results = session.run(ops)[1:]
    maps: dict[str, Any] = dict(options.maps)
    for (definition, path), got, info in zip(wanted, results[::2], results[1::2], strict=True):
        if isinstance(got, Made):
            _check_compatible(definition, info, path=path, order=session.target.described.order)
            maps[definition.name] = _with_handle(maps.get(definition.name), got.handle)
        elif isinstance(got, Failed) and got.errno != errno.ENOENT:
            session.checked(ObjGet(path), got, kind=Made)
    return replace(options, maps=maps)


def _with_handle(override: Any, handle: Handle) -> Any:
    given = override if isinstance(override, Mapping) else {"max_entries": override} if override else {}
    return {**given, "handle": handle}


def _check_compatible(definition: MapDef, info: Result, *, path: str, order: str) -> None:
    if not isinstance(info, Info) or info.kind != "map":
        raise PlanError(f"map {definition.name!r}: what is pinned at {path} is no map")
    found = differences(definition, info.data, order=order)
    if found:
        raise PlanError(
            f"map {definition.name!r}: the map pinned at {path} has {', '.join(found)}",
            hint="Remove that pin, or pin elsewhere: bpf.load(..., pin_path='/sys/fs/bpf/mine').",
        )


def check_pins(session: Session, plan: Plan, *, results: Sequence[Result]) -> None:
    """``PinTakenError`` when a path was taken meanwhile, ``KernelCallError`` when it cannot be."""
    for planned in plan.maps:
        result = results[planned.pin_op] if planned.pin_op >= 0 else None
        if isinstance(result, Failed):
            if result.errno == errno.EEXIST:
                raise PinTakenError(planned.pin)
            session.checked(plan.ops[planned.pin_op], result, kind=Done)
