"""The outcome of one test on one kernel, and whose fault it is: one list for the matrix, JUnit, JSON and HTML."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

__all__ = ["ATTRIBUTE", "Fault", "Outcome", "with_outcome"]


class Fault(StrEnum):
    """Who has to act: nobody, who runs the machines, who makes the kernel, who writes the program or the test."""

    NOBODY = ""
    INFRASTRUCTURE = "infrastructure"
    KERNEL = "kernel"
    PROGRAM = "program"
    TEST = "test"


class Outcome(StrEnum):
    """What became of a test, in more detail than pytest's passed and failed. The values are plain words, for records.

    ``flaky``: infrastructure failed and the retry in a fresh guest passed. ``quarantined``: it failed, and its marker
    ``bpf_quarantine`` says that this does not fail the session. ``hang``: the guest gave no sign of life.
    ``splat``: the kernel warned (WARN, oops, lockdep, a stall). ``missing-feature``: a kernel lacks what a test needs.
    """

    PASSED = "passed"
    FAILED = "failed"
    REJECTED = "rejected"
    PACKET_DIFF = "packet-diff"
    MAP_DIFF = "map-diff"
    PANIC = "panic"
    HANG = "hang"
    SPLAT = "splat"
    LEAK = "leak"
    BUDGET = "budget"
    BASELINE = "baseline"
    MISSING_FEATURE = "missing-feature"
    INFRASTRUCTURE = "infrastructure"
    FLAKY = "flaky"
    QUARANTINED = "quarantined"

    @property
    def fault(self) -> Fault:
        """Whose fault it is."""
        return _FAULTS[self]


_FAULTS: Mapping[Outcome, Fault] = MappingProxyType(
    {
        Outcome.PASSED: Fault.NOBODY,
        Outcome.FAILED: Fault.TEST,
        Outcome.REJECTED: Fault.PROGRAM,
        Outcome.PACKET_DIFF: Fault.PROGRAM,
        Outcome.MAP_DIFF: Fault.PROGRAM,
        Outcome.PANIC: Fault.KERNEL,
        Outcome.HANG: Fault.KERNEL,
        Outcome.SPLAT: Fault.KERNEL,
        Outcome.LEAK: Fault.TEST,
        Outcome.BUDGET: Fault.PROGRAM,
        Outcome.BASELINE: Fault.PROGRAM,
        Outcome.MISSING_FEATURE: Fault.KERNEL,
        Outcome.INFRASTRUCTURE: Fault.INFRASTRUCTURE,
        Outcome.FLAKY: Fault.INFRASTRUCTURE,
        Outcome.QUARANTINED: Fault.TEST,
    }
)

ATTRIBUTE = "bpf_outcome"
E = TypeVar("E", bound=BaseException)


def with_outcome(error: E, outcome: Outcome) -> E:
    """The error, which says from now on what kind of failure it is: ``raise with_outcome(AssertionError(…), …)``."""
    setattr(error, ATTRIBUTE, outcome)
    return error
