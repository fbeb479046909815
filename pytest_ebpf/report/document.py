"""The record of a whole run as one JSON document: what ``--bpf-json`` writes and every other report is made of.

``report-1.schema.json`` beside this file describes it. A change that a reader of the old form would not understand
raises ``VERSION`` and gets a schema of its own; new optional members do not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, TypedDict

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.outcome import Outcome
from pytest_ebpf.report.record import EVERY_KERNEL, KernelRecord, RunRecord, merge_kernels, merge_records

__all__ = ["FORMAT", "VERSION", "Document", "build_document", "parse_document", "records_of", "schema_text"]

FORMAT = "pytest-ebpf report"
VERSION = 1


class Document(TypedDict):
    """A run. ``kernels`` are the columns in order; ``results`` one per test and kernel, in the order they ran."""

    format: str
    version: int
    generator: str
    created: str
    kernels: list[KernelRecord]
    counts: dict[str, int]
    results: list[dict[str, Any]]


def build_document(
    records: Sequence[RunRecord], *, kernels: Sequence[str], created: str, generator: str = "pytest-ebpf"
) -> Document:
    """``created`` is the end of the run, as ISO 8601. Kernels that never started have an empty release."""
    merged = merge_records(records)
    machines = merge_kernels(records)
    named = (record["kernel"] for record in merged if record["kernel"] != EVERY_KERNEL)
    columns = dict.fromkeys((*kernels, *named))
    counts: dict[str, int] = {}
    for record in merged:
        counts[record["outcome"]] = counts.get(record["outcome"], 0) + 1
    return Document(
        format=FORMAT,
        version=VERSION,
        generator=generator,
        created=created,
        kernels=[machines.get(name) or _not_started(name) for name in columns],
        counts=counts,
        results=[_result(record) for record in merged],
    )


def _not_started(name: str) -> KernelRecord:
    return KernelRecord(id=name, release="", accel="", note="", boots=[])


def _result(record: RunRecord) -> dict[str, Any]:
    kind = record["kind"]
    result: dict[str, Any] = {
        "test": record["test"],
        "kernel": record["kernel"],
        "outcome": record["outcome"],
        "kind": kind,
        "fault": Outcome(kind).fault.value if kind else "",
        "reason": record["reason"],
        "line": record["line"],
        "programs": record["programs"],
    }
    for name in ("seconds", "baselines", "failure", "columns"):
        if name in record:
            result[name] = record[name]
    return result


def parse_document(text: str, *, name: str) -> Document:
    """A document from the text of a file. ``BpfUsageError`` for other JSON, or a version that is not known."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BpfUsageError(f"{name}: not JSON: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BpfUsageError(f"{name}: not a report of pytest-ebpf", hint="Name a file that --bpf-json wrote.")
    if found.get("version") != VERSION:
        raise BpfUsageError(
            f"{name}: version {found.get('version')} of the report, and this pytest-ebpf reads version {VERSION}",
            hint="Read it with the pytest-ebpf that wrote it, or run the tests again.",
        )
    return found  # type: ignore[return-value]  # its form was checked as far as a reader needs it


def records_of(document: Document) -> list[RunRecord]:
    """The records that ``build_document`` made the document of, one per test and kernel."""
    machines = {machine["id"]: machine for machine in document["kernels"] if machine["release"]}
    records: list[RunRecord] = []
    for result in document["results"]:
        record: Any = {name: value for name, value in result.items() if name != "fault"}
        if result["kernel"] in machines:
            record["machine"] = machines[result["kernel"]]
        records.append(record)
    return records


def schema_text() -> str:
    """The JSON Schema of the document."""
    return files("pytest_ebpf.report").joinpath("report-1.schema.json").read_text(encoding="utf-8")
