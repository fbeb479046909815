"""The operation that stopped the batch of an object, so that none of its programs reached the verifier."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_ebpf.agent.ops import BtfLoad, Failed, MapCreate, NotRun, Result, Try
from pytest_ebpf.errors import EbpfError, KernelCallError, PlanError, errno_name
from pytest_ebpf.live.hints import advise
from pytest_ebpf.live.load import btf_error, btf_reason, is_btf_refusal
from pytest_ebpf.live.map_refusal import map_refusal
from pytest_ebpf.live.session import Target
from pytest_ebpf.plan.btf_needs import why_btf_is_needed
from pytest_ebpf.plan.planned import Plan

__all__ = ["what_stopped"]


def what_stopped(plan: Plan, results: Sequence[Result], *, target: Target) -> EbpfError | None:
    """The operation that stopped the batch: as a rule a map that the kernel refused."""
    if not any(isinstance(result, NotRun) for result in results):
        return None
    for op, result in zip(plan.ops, results, strict=True):
        if isinstance(result, Failed) and not isinstance(op, Try):
            if isinstance(op, BtfLoad) and is_btf_refusal(result):
                message = f"the kernel refuses the object's BTF: {btf_reason(result)}"
                return btf_error(
                    KernelCallError(message, op=result.op, errno=result.errno), need=why_btf_is_needed(plan)
                )
            hint = advise(op, result.errno, target=target)
            if isinstance(op, MapCreate):
                refusal = map_refusal(target, plan, op=op, failed=result, hint=hint)
                if refusal is not None:
                    return refusal
            what = f"{result.op} failed"
            why = errno_name(result.errno) if result.errno else result.text
            return KernelCallError(f"{what}: {why}", op=result.op, errno=result.errno, hint=hint)
    return PlanError("the batch stopped, and no operation says why")
