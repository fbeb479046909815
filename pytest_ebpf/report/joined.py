"""Several runs as one: records of JSON documents, and of JUnit files with the failures that those know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.report.document import Document, records_of
from pytest_ebpf.report.junit import Case, Merged
from pytest_ebpf.report.record import FailureRecord, RunRecord

__all__ = ["Joined", "join_documents", "join_junit"]


@dataclass(frozen=True, slots=True)
class Joined:
    """Each test on each kernel once; ``kernels`` are the columns; ``notes`` are for the user."""

    records: tuple[RunRecord, ...]
    kernels: tuple[str, ...]
    notes: tuple[str, ...]


def join_documents(documents: Sequence[tuple[str, Document]]) -> Joined:
    """``documents``: the name of each file and what is in it. Of a test that several have, the last counts."""
    found: dict[tuple[str, str], RunRecord] = {}
    twice = 0
    for _, document in documents:
        for record in records_of(document):
            key = (record["test"], record["kernel"])
            twice += key in found
            found[key] = record
    kernels = dict.fromkeys(kernel["id"] for _, document in documents for kernel in document["kernels"])
    order = {kernel: place for place, kernel in enumerate(kernels)}
    records = sorted(found.values(), key=lambda record: order.get(record["kernel"], -1))
    notes = (f"{twice} tests are in several files: the last one counts",) if twice else ()
    return Joined(tuple(records), tuple(kernels), notes)


def join_junit(merged: Merged) -> Joined:
    """The same of JUnit files, whose failures are a message and a text."""
    return Joined(tuple(_records(merged.cases)), merged.kernels, merged.notes)


def _records(cases: Iterable[Case]) -> Iterable[RunRecord]:
    for case in cases:
        if case.record is None:
            continue
        if case.result in ("failure", "error"):
            test = case.record["test"]
            yield RunRecord(
                **{
                    **case.record,
                    "failure": FailureRecord(
                        headline=case.message.partition("\n")[0],
                        message=case.message,
                        sections=[
                            {"title": title, "text": text}
                            for title, text in (("test", case.text), ("output", case.output))
                            if text.strip()
                        ],
                        repeat=f"pytest '{test}' --bpf-kernels={case.record['kernel']}",
                    ),
                }
            )
        else:
            yield case.record
