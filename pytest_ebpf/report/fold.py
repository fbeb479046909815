"""A large matrix made shorter: tests with the same result on all kernels become one row per file and result."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_ebpf.report.record import EVERY_KERNEL, RunRecord

__all__ = ["differing", "fold"]

_LAST = 1 << 30  # behind all lines of a file
_QUIET = ("passed", "skipped", "xfailed")


def differing(records: Sequence[RunRecord], *, kernels: Sequence[str]) -> frozenset[str]:
    """The tests with different outcomes on the kernels that they ran on. ``records``: one per test and kernel."""
    return frozenset(test for test, found in _outcomes(records, kernels).items() if len(set(found) - {""}) > 1)


def fold(records: Sequence[RunRecord], *, kernels: Sequence[str], most_rows: int) -> list[RunRecord]:
    """Where there are more than ``most_rows`` tests: what failed or differs as it is, and one record per file, outcome
    and kernel for the rest, whose name says how many tests it stands for. ``records``: one per test and kernel."""
    outcomes = _outcomes(records, kernels)
    if len(outcomes) <= most_rows:
        return list(records)
    same = {test: found[0] for test, found in outcomes.items() if len(set(found)) == 1 and found[0] in _QUIET}
    groups: dict[tuple[str, str], list[str]] = {}
    for test, outcome in same.items():
        groups.setdefault((test.partition("::")[0], outcome), []).append(test)
    alone = {tests[0] for tests in groups.values() if len(tests) == 1}
    kept = [record for record in records if record["test"] not in same or record["test"] in alone]
    for (file, outcome), tests in groups.items():
        if len(tests) > 1:
            name = f"{file}::{len(tests)} {outcome} on all kernels"
            kept += [
                RunRecord(test=name, kernel=kernel, outcome=outcome, kind="", reason="", line=_LAST, programs=[])
                for kernel in kernels
            ]
    return kept


def _outcomes(records: Sequence[RunRecord], kernels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Test -> its outcome on each kernel, "" where it did not run."""
    found: dict[str, dict[str, str]] = {}
    for record in records:
        found.setdefault(record["test"], {})[record["kernel"]] = record["outcome"]
    return {
        test: tuple(by_kernel.get(kernel) or by_kernel.get(EVERY_KERNEL, "") for kernel in kernels)
        for test, by_kernel in found.items()
    }
