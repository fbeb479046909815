"""The records of a test run, with builtin types only: xdist and JSON transport them unchanged.

A ``RunRecord`` belongs to one phase of one test on one kernel; ``merge_records`` makes one per test and kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NotRequired, TypedDict

__all__ = [
    "EVERY_KERNEL",
    "FailureRecord",
    "KernelRecord",
    "LineRecord",
    "ProgramRecord",
    "RunRecord",
    "SourceRecord",
    "merge_kernels",
    "merge_records",
    "most_insns",
    "worse_outcome",
]

EVERY_KERNEL = "*"  # the kernel of a record of a test that got none


class LineRecord(TypedDict):
    """A source line of a program: of how many instructions it consists, and how many of them the verifier walked,
    repeats counted."""

    file: str
    line: int
    text: str
    walked: int
    insns: int
    hits: NotRequired[int]


class ProgramRecord(TypedDict):
    """A program that a test loaded, or tried to. Counts are the verifier's; -1 stands for "this kernel did not say".
    ``row``: all figures, as ``verifier.veristat_csv`` has them, without the kernel.
    ``lines``: its source lines, where a report asked for their costs."""

    name: str
    insns: int
    states: int
    stack: int
    row: NotRequired[dict[str, str | int]]
    lines: NotRequired[list[LineRecord]]


class KernelRecord(TypedDict):
    """A kernel as one process used it. ``boots`` holds the seconds of each boot (none for the host).

    ``accel`` is KVM, TCG or, for the host, how its kernel was reached; ``note`` says why that."""

    id: str
    release: str
    accel: str
    note: str
    boots: list[float]


class SourceRecord(TypedDict):
    """A line of an eBPF program's source; ``file`` relative to pytest's root directory where it is in it."""

    file: str
    line: int
    text: str


class FailureRecord(TypedDict):
    """Why a test failed. ``headline``: what broke and what to do, in one line; ``message``: that of the exception;
    ``sections``: title and text of each, in order; ``repeat``: the command that runs it alone."""

    headline: str
    message: str
    sections: list[dict[str, str]]
    repeat: str
    source: NotRequired[SourceRecord]


class RunRecord(TypedDict):
    """``test`` is the node id without the kernel; ``outcome`` passed, failed, error, skipped, xfailed, xpassed,
    flaky (it passed when it was tried again in a fresh guest) or quarantined (it failed, and that fails nobody).

    ``kind`` is the value of its ``Outcome``; "" for a skip that no feature of the kernel is the reason of.
    ``reason`` says why it was skipped, or in a word why it failed ("guest lost"). ``line`` is the 0-based line of the
    test in its file, for ordering, ``place`` its place in the collection. ``baselines``: the files of baselines that it
    looked at, and what happened to them ("used", "new", "changed")."""

    test: str
    kernel: str
    outcome: str
    kind: str
    reason: str
    line: int
    programs: list[ProgramRecord]
    machine: NotRequired[KernelRecord]
    baselines: NotRequired[dict[str, str]]
    seconds: NotRequired[float]
    place: NotRequired[int]
    failure: NotRequired[FailureRecord]
    columns: NotRequired[dict[str, str]]


_RANK: Mapping[str, int] = MappingProxyType(
    {
        **{"passed": 0, "flaky": 1, "xfailed": 2, "skipped": 2, "quarantined": 3, "xpassed": 3},
        **{"failed": 4, "error": 5},
    }
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
            if "failure" in record:
                seen["failure"] = record["failure"]
        if "seconds" in record:
            seen["seconds"] = seen.get("seconds", 0.0) + record["seconds"]
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
