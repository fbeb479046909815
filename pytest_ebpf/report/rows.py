"""The rows of the matrix from a document: a test with its result on each kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.report.document import Document
from pytest_ebpf.report.record import EVERY_KERNEL

__all__ = ["Row", "matrix_rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """``results``: kernel id -> result of the document. A test that got no kernel has its result under each."""

    test: str
    results: Mapping[str, Any]

    @property
    def file(self) -> str:
        return self.test.partition("::")[0]

    @property
    def name(self) -> str:
        return self.test.partition("::")[2] or self.test

    def outcomes(self) -> set[str]:
        return {result["outcome"] for result in self.results.values()}


def matrix_rows(document: Document) -> list[Row]:
    """By file in the order they ran, in a file by line."""
    kernels = [kernel["id"] for kernel in document["kernels"]]
    found: dict[str, dict[str, Any]] = {}
    places: dict[str, tuple[int, int, int]] = {}
    files: dict[str, int] = {}
    for number, result in enumerate(document["results"]):
        test = result["test"]
        everywhere = result["kernel"] == EVERY_KERNEL
        for kernel in kernels if everywhere else [result["kernel"]]:
            found.setdefault(test, {}).setdefault(kernel, result)
        file = files.setdefault(test.partition("::")[0], len(files))
        places.setdefault(test, (file, result["line"], number))
    return [Row(test, found[test]) for test in sorted(places, key=lambda test: places[test]) if test in found]
