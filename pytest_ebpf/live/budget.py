"""Checking a loaded program against its budget, with the source lines that cost most where it is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pytest_ebpf.errors import BpfUsageError, EbpfError
from pytest_ebpf.kernel_versions import fits
from pytest_ebpf.outcome import Outcome, with_outcome
from pytest_ebpf.verifier.compare.budget import Excess, excesses, figures_of, parse_budget
from pytest_ebpf.verifier.compare.cost import LineCost, line_costs, render_costs
from pytest_ebpf.verifier.log.values import VerifierStats

__all__ = ["BudgetedProgram", "check_within", "costs_text", "figures_of", "line_costs", "over_budget"]

_MOST_LINES = 5
_LARGE = 400_000  # instructions: a trace of more takes minutes in an emulated guest


class BudgetedProgram(Protocol):
    """A loaded program as far as its budget is concerned."""

    @property
    def name(self) -> str: ...
    @property
    def object_name(self) -> str: ...
    @property
    def release(self) -> str: ...
    @property
    def time_scale(self) -> float: ...
    @property
    def figures(self) -> Mapping[str, int]: ...
    @property
    def stats(self) -> VerifierStats: ...
    @property
    def costs(self) -> tuple[LineCost, ...]: ...


def check_within(program: BudgetedProgram, *, bounds: Mapping[str, object]) -> None:
    """``AssertionError`` when the program cost more than ``bounds`` say. ``BpfUsageError``: bounds that do not exist,
    or need a baseline (growth)."""
    if "growth" in bounds or "prog" in bounds:
        raise BpfUsageError(
            "prog.within() compares with figures alone",
            hint='For growth over a stored baseline: @pytest.mark.bpf_budget(growth="5%").',
        )
    version = program.release.partition("-")[0]
    budget = parse_budget(bounds, fits=lambda spec: fits(version, spec) is not False)
    found = excesses(budget, program.figures, limit=program.stats.limit)
    if found:
        raise with_outcome(AssertionError(over_budget(program, found)), Outcome.BUDGET)


def over_budget(program: BudgetedProgram, found: list[Excess]) -> str:
    """What is over, and the costliest source lines."""
    head = f"{program.object_name}: {program.name} is over its budget on {program.release}"
    return "\n".join([head, *(f"  {excess.text}" for excess in found), *costs_text(program)])


def costs_text(program: BudgetedProgram) -> list[str]:
    """The costliest source lines, or why they are not known. Loads the program once more, for its trace."""
    insns = program.stats.insns or 0
    if insns * program.time_scale > _LARGE:
        return [f"  ({insns} instructions: pytest-ebpf verify --lines counts them by source line, which takes a while)"]
    try:
        costs = program.costs
    except EbpfError as error:
        return [f"  (which source lines cost that is not known: {error.message})"]
    return ["the costliest source lines:", *(f"  {line}" for line in render_costs(costs, most=_MOST_LINES))]
