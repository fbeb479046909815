"""Why a kernel refused a map, for a load and for ``verify`` in the same words."""

from __future__ import annotations

import errno

from pytest_ebpf.agent.ops import Failed, MapCreate
from pytest_ebpf.errors import EbpfError, KernelCallError, PlanError, errno_name
from pytest_ebpf.features import probe_feature
from pytest_ebpf.live.maps.kinds import MAP_KINDS, kind_of
from pytest_ebpf.live.session import Target
from pytest_ebpf.plan.planned import Plan
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["map_refusal"]

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
