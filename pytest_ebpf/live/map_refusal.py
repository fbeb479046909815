"""Why a kernel refused a map, for a load and for ``verify`` in the same words."""

from __future__ import annotations

import errno

from pytest_ebpf.agent.ops import Failed, MapCreate, MapSet, Ref
from pytest_ebpf.errors import EbpfError, KernelCallError, PlanError, errno_name
from pytest_ebpf.features import probe_feature
from pytest_ebpf.live.maps.kinds import MAP_KINDS, kind_of
from pytest_ebpf.live.session import Target
from pytest_ebpf.plan.planned import Plan, PlannedMap
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.flags import MapCreateFlag
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["inner_refusal", "map_refusal"]

_NO_JUMP_TABLES = "Or compile with -fno-jump-tables, or -mcpu=v3: clang makes a jump table of a switch."
_INVALID = (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP)  # how kernels say "what is that?"


def map_refusal(target: Target, plan: Plan, *, op: MapCreate, failed: Failed, hint: str) -> EbpfError | None:
    """``PlanError`` when the kernel has no maps of this type at all, in the words of the probe; ``KernelCallError``
    names the map. None when the kernel was not asked."""
    kind = kind_of(op.type).name
    name = next((planned.name for planned in plan.maps if planned.op >= 0 and plan.ops[planned.op] is op), op.name)
    if failed.errno in _INVALID and op.type in MAP_KINDS:
        answer = probe_feature(target, name=f"map:{kind}")
        if answer.supported is False:
            if op.type == MapType.INSN_ARRAY:
                hint = f"{hint}\n{_NO_JUMP_TABLES}".strip()
            message = f"{plan.obj.name}: map {name!r}: {answer.message}"
            return PlanError(message, feature=kind, since=answer.since, hint=hint)
    if not failed.errno:
        return None
    return KernelCallError(
        f"map {name!r} was refused: {errno_name(failed.errno)}", op=failed.op, errno=failed.errno, hint=hint
    )


# kernel/bpf/map_in_map.c: bpf_map_meta_equal(); arraymap.c: array_map_meta_equal()
_MUST_EQUAL = ("type", "key_size", "value_size", "flags")
_OF_FIXED_SIZE = (MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.PROG_ARRAY, MapType.PERF_EVENT_ARRAY)


def inner_refusal(plan: Plan, *, op: MapSet, failed: Failed) -> KernelCallError | None:
    """The error for a map that an object puts into another and that does not fit there: it names the field that
    differs. None when the kernel refused it for something else."""
    outer, other = _made_by(plan, op.map), _made_by(plan, op.value)
    wanted = outer.definition.inner if outer is not None else None
    if outer is None or other is None or wanted is None or failed.errno != errno.EINVAL:
        return None
    found = other.definition
    fields: tuple[str, ...] = _MUST_EQUAL
    if wanted.type in _OF_FIXED_SIZE and not wanted.flags & MapCreateFlag.INNER_MAP:
        fields = (*fields, "max_entries")
    pairs = [(name, getattr(found, name), getattr(wanted, name)) for name in fields]
    words = [f"its {name} is {_shown(name, own)}, not {_shown(name, want)}" for name, own, want in pairs if own != want]
    if not words:
        return None
    return KernelCallError(
        f"map {outer.name!r} cannot hold map {other.name!r}: {', '.join(words)}",
        op=failed.op,
        errno=failed.errno,
        hint=f"Maps in {outer.name!r} are like the inner map that it is declared with.",
    )


def _shown(name: str, value: int) -> str:
    if name == "type":
        return kind_of(value).name
    return hex(value) if name == "flags" else str(value)


def _made_by(plan: Plan, obj: object) -> PlannedMap | None:
    """The map of the plan that an op of the batch refers to."""
    return next((m for m in plan.maps if isinstance(obj, Ref) and m.op == obj.index), None)
