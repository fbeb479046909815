"""The batch of a plan: run it, once more without the BTF of the object where that helps, and say what stopped it.

Every load goes this way: ``bpf.load``, ``verify`` and the items of tagged objects.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from pytest_ebpf.agent.ops import (
    BtfLoad,
    Close,
    Failed,
    Handle,
    Made,
    MapCreate,
    MapSet,
    Op,
    ProgLoaded,
    Ref,
    Result,
    Try,
)
from pytest_ebpf.errors import EbpfError, KernelCallError, PlanError, errno_name
from pytest_ebpf.features import probe_feature
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.maps.kinds import MAP_KINDS, kind_of
from pytest_ebpf.live.session import Session, Target
from pytest_ebpf.plan.btf_needs import why_btf_is_needed
from pytest_ebpf.plan.planned import Plan, PlannedMap
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.flags import MapCreateFlag
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["Ran", "close_made", "made_by", "map_refusal", "run_batch", "stopped_by"]

_NOT_FAILED = Failed("", 0, "")
_MAKERS = (Made, ProgLoaded)
_INVALID = (errno.EINVAL, ENOTSUPP, errno.EOPNOTSUPP)  # how kernels say "what is that?"
_NOT_LOOKED_AT = (0, errno.EPERM, errno.ENOMEM, errno.EACCES)  # 0: the agent's own refusal
_NO_JUMP_TABLES = "Or compile with -fno-jump-tables, or -mcpu=v3: clang makes a jump table of a switch."

# kernel/bpf/map_in_map.c: bpf_map_meta_equal(); arraymap.c: array_map_meta_equal()
_MUST_EQUAL = ("type", "key_size", "value_size", "flags")
_OF_FIXED_SIZE = (MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.PROG_ARRAY, MapType.PERF_EVENT_ARRAY)


@dataclass(frozen=True, slots=True)
class Ran:
    """What ran: a plan with a result for each of its ops. ``refused``: why the kernel did not take the object's BTF,
    which ``plan`` does without; "" where it is as it was asked for."""

    plan: Plan
    results: Sequence[Result]
    refused: str = ""


def run_batch(
    session: Session,
    plan: Plan,
    *,
    without_btf: Callable[[], Plan],
    ops: Callable[[Plan], Sequence[Op]] = lambda plan: plan.ops,
) -> Ran:
    """Run the ``ops`` of a plan; when the kernel refuses the BTF of the object, or a map for its types, and nothing
    needs them, those of the plan ``without_btf``. What was made by the first batch is closed again then."""
    results = session.run(ops(plan))
    refused = _why_btf_is_refused(session, plan, results=results)
    if not refused or why_btf_is_needed(plan):
        return Ran(plan, results)
    close_made(session, results)
    again = without_btf()
    return Ran(again, session.run(ops(again)), refused)


def _why_btf_is_refused(session: Session, plan: Plan, *, results: Sequence[Result]) -> str:
    """ "" when it is not. libbpf tries a map once more without its types, too."""
    op, failed = _failed(plan, results)
    if isinstance(op, BtfLoad):
        return _btf_reason(failed) if _is_btf_refusal(failed) else ""
    if isinstance(op, MapCreate) and op.btf is not None and not op.kernel_value and failed.errno in _INVALID:
        error = _error(session, plan, op=op, failed=failed)
        return "" if isinstance(error, PlanError) else error.message
    return ""


def stopped_by(session: Session, plan: Plan, *, results: Sequence[Result]) -> EbpfError | None:
    """What stopped a batch, so that no program of it reached the verifier: as a rule a map that the kernel refused.
    None when nothing did; programs that are refused stop no batch."""
    op, failed = _failed(plan, results)
    return None if op is None else _error(session, plan, op=op, failed=failed)


def _failed(plan: Plan, results: Sequence[Result]) -> tuple[Op, Failed] | tuple[None, Failed]:
    for op, result in zip(plan.ops, results, strict=True):
        if isinstance(result, Failed) and not isinstance(op, Try):
            return op, result
    return None, _NOT_FAILED


def _error(session: Session, plan: Plan, *, op: Op, failed: Failed) -> EbpfError:
    refusal: EbpfError | None = None
    hint = session.advice(op, failed.errno, log=failed.log.decode(errors="replace"))
    if isinstance(op, MapCreate):
        refusal = map_refusal(session.target, plan, op=op, failed=failed, hint=hint)
    if isinstance(op, MapSet):
        refusal = _inner_refusal(plan, op=op, failed=failed)
    if isinstance(op, BtfLoad) and _is_btf_refusal(failed):
        refusal = _btf_refusal(plan, failed, hint=hint)
    return refusal or _failure(session, op, failed=failed)


def _failure(session: Session, op: Op, *, failed: Failed) -> EbpfError:
    try:
        session.checked(op, failed, kind=Made)
    except KernelCallError as error:
        return error
    raise AssertionError(failed)


def _btf_refusal(plan: Plan, failed: Failed, *, hint: str) -> KernelCallError:
    """The kernel's reason, and what in the object needs the BTF."""
    if need := why_btf_is_needed(plan):
        hint = f"{need[0].upper()}{need[1:]} cannot be loaded without BTF.\n{hint}".strip()
    message = f"the kernel refuses the object's BTF: {_btf_reason(failed)}"
    log = failed.log.decode(errors="replace")
    return KernelCallError(message, op=failed.op, errno=failed.errno, hint=hint, log=log)


def _is_btf_refusal(failed: Failed) -> bool:
    """Whether the kernel looked at the BTF and refused it; it may also lack memory, or the caller the permission."""
    return failed.errno not in _NOT_LOOKED_AT


def _btf_reason(failed: Failed) -> str:
    """The kernel's reason for refusing BTF: the last line of its log, else the errno."""
    lines = [line.strip() for line in failed.log.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else failed.text


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


def _inner_refusal(plan: Plan, *, op: MapSet, failed: Failed) -> KernelCallError | None:
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


def made_by(results: Sequence[Result]) -> tuple[Handle, ...]:
    """The handles of what a batch made."""
    return tuple(result.handle for result in results if isinstance(result, _MAKERS))


def close_made(session: Session, results: Sequence[Result]) -> None:
    """Close what a batch made, the last first."""
    if handles := made_by(results):
        session.run([Try(Close(handle)) for handle in reversed(handles)])
