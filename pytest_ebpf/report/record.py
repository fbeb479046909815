"""The records of a test run, with builtin types only: xdist and JSON transport them unchanged.

A ``RunRecord`` belongs to one phase of one test on one kernel; ``merge_records`` makes one per test and kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NotRequired, TypedDict

__all__ = [
    "EVERY_KERNEL",
    "KernelRecord",
    "ProgramRecord",
    "RunRecord",
    "merge_kernels",
    "merge_records",
    "most_insns",
    "worse_outcome",
]

EVERY_KERNEL = "*"  # the kernel of a record of a test that got none


class ProgramRecord(TypedDict):
    """A program that a test loaded, or tried to. Counts are the verifier's; -1 stands for "this kernel did not say".
    ``row``: all figures, as ``verifier.veristat_csv`` has them, without the kernel."""

    name: str
    insns: int
    states: int
    stack: int
    row: NotRequired[dict[str, str | int]]


class KernelRecord(TypedDict):
    """A kernel as one process used it. ``boots`` holds the seconds of each boot (none for the host).

    ``accel`` is KVM, TCG or, for the host, how its kernel was reached; ``note`` says why that."""

    id: str
    release: str
    accel: str
    note: str
    boots: list[float]


class RunRecord(TypedDict):
    """``test`` is the node id without the kernel; ``outcome`` passed, failed, error, skipped, xfailed or xpassed.

    ``kind`` is the value of its ``Outcome``; "" for a skip that no feature of the kernel is the reason of.
    ``reason`` says why it was skipped, or in a word why it failed ("guest lost"). ``line`` is the 0-based line of the
    test in its file, for ordering. ``baselines``: the files of baselines that it looked at, and what happened to them
    ("used", "new", "changed")."""

    test: str
    kernel: str
    outcome: str
    kind: str
    reason: str
    line: int
    programs: list[ProgramRecord]
    machine: NotRequired[KernelRecord]
    baselines: NotRequired[dict[str, str]]


_RANK: Mapping[str, int] = MappingProxyType(
    {"passed": 0, "xfailed": 1, "skipped": 1, "xpassed": 2, "failed": 3, "error": 4}
)


def worse_outcome(first: str, second: str) -> str:
    """The worse of the outcomes of two phases of a test."""
    return second if _RANK[second] > _RANK[first] else first


def merge_records(records: Iterable[RunRecord]) -> list[RunRecord]:
    """One record per test and kernel, in order of appearance: the worst outcome, and all programs."""
    merged: dict[tuple[str, str], RunRecord] = {}
    for record in records:
        key = (record["test"], record["kernel"])
        seen = merged.get(key)
        if seen is None:
            merged[key] = RunRecord(**{**record, "programs": list(record["programs"])})
            continue
        worst = worse_outcome(seen["outcome"], record["outcome"])
        if worst != seen["outcome"]:
            seen["outcome"], seen["kind"], seen["reason"] = worst, record["kind"], record["reason"]
        seen["programs"] += record["programs"]
    return list(merged.values())


def merge_kernels(records: Iterable[RunRecord]) -> dict[str, KernelRecord]:
    """Kernel id -> its record, with the boots of all processes. Every record repeats the boots that its
    process has seen so far; durations are measured to the nanosecond, so equal ones are the same boot."""
    merged: dict[str, KernelRecord] = {}
    for record in records:
        machine = record.get("machine")
        if machine is None:
            continue
        seen = merged.setdefault(machine["id"], KernelRecord(**{**machine, "boots": []}))
        seen["boots"] += [boot for boot in machine["boots"] if boot not in seen["boots"]]
        if machine["release"]:
            seen["release"], seen["accel"], seen["note"] = machine["release"], machine["accel"], machine["note"]
    return merged


def most_insns(record: RunRecord) -> int | None:
    """The largest instruction count of the programs of a test, None when it loaded none (or no count is known)."""
    counts = [program["insns"] for program in record["programs"] if program["insns"] >= 0]
    return max(counts, default=None)
