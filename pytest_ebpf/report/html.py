"""A run as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pytest_ebpf.report.charts import program_charts
from pytest_ebpf.report.document import Document
from pytest_ebpf.report.history import History
from pytest_ebpf.report.record import EVERY_KERNEL, most_insns
from pytest_ebpf.report.rows import Row, matrix_rows

__all__ = ["render_html"]

_LONGEST = 20_000  # characters of a section on the page; the JSON file has all
_ROOM = 1_200_000  # characters of all sections together
_WORDS = {
    "passed": ("✓", "passed"),
    "failed": ("✗", "failed"),
    "error": ("!", "error"),
    "skipped": ("–", "skipped"),
    "xfailed": ("x", "expected failure"),
    "xpassed": ("X", "unexpected pass"),
    "flaky": ("f", "passed when it was tried again"),
    "quarantined": ("q", "failed in quarantine"),
}


class _Texts:
    """Texts of sections, each once: the log of a program is often the same on several kernels."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        self.used = 0

    def number(self, text: str) -> int:
        if len(text) > _LONGEST:
            text = f"[the first {len(text) - _LONGEST:,} characters are left out]\n{text[-_LONGEST:]}"
        if text not in self.kept and self.used + len(text) > _ROOM:
            text = "[left out to keep this page small: --bpf-json=FILE has all texts]"
        if text not in self.kept:
            self.used += len(text)
        return self.kept.setdefault(text, len(self.kept))


def render_html(document: Document, history: Sequence[History] = ()) -> str:
    """The page of a run; with ``history``, charts over the earlier runs too."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pytest_ebpf.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    kernels = [kernel["id"] for kernel in document["kernels"]]
    rows = matrix_rows(document)
    numbers = {id(result): number for number, result in enumerate(document["results"])}
    return environment.get_template("report.html").render(
        document=document,
        kernels=kernels,
        files=_by_file(rows, kernels=kernels, numbers=numbers),
        words=_WORDS,
        charts=program_charts(document, history),
        data=_embedded(_page_data(document)),
    )


def _by_file(rows: Sequence[Row], *, kernels: Sequence[str], numbers: dict[int, int]) -> dict[str, list[Any]]:
    files: dict[str, list[Any]] = {}
    for row in rows:
        cells = [_cell(row.results.get(kernel), numbers=numbers) for kernel in kernels]
        outcomes = sorted(row.outcomes())
        shown = {cell["text"] for cell in cells if cell is not None}
        differs = len({cell["state"] if cell else None for cell in cells}) > 1
        files.setdefault(row.file, []).append(
            {
                "name": row.name,
                "test": row.test,
                "cells": cells,
                "outcomes": outcomes,
                "differs": differs,
                "kinds": sorted({cell["kind"] for cell in cells if cell}),
                "texts": len(shown),
            }
        )
    return files


def _cell(result: Any, *, numbers: dict[int, int]) -> Any:
    if result is None:
        return None
    sign, word = _WORDS[result["outcome"]]
    insns = most_insns(result)
    kind = result["kind"] if result["kind"] not in ("", "passed", "failed") else ""
    return {
        "number": numbers[id(result)],
        "state": result["outcome"],
        "kind": kind,
        "word": kind or word,
        "sign": sign,
        "text": kind
        if kind and result["outcome"] in ("failed", "error")
        else f"{insns:,}"
        if insns is not None
        else "",
    }


def _page_data(document: Document) -> dict[str, Any]:
    """What the page's script opens: the results with numbers in place of texts, and the texts."""
    texts = _Texts()
    results = [_result(result, texts) for result in document["results"]]
    return {"results": results, "texts": list(texts.kept), "everywhere": EVERY_KERNEL}


def _result(result: Any, texts: _Texts) -> dict[str, Any]:
    kept = {name: result[name] for name in ("test", "kernel", "outcome", "kind", "fault", "reason", "line")}
    kept["seconds"] = result.get("seconds")
    kept["columns"] = result.get("columns", {})
    kept["programs"] = [
        {name: one[name] for name in ("name", "insns", "states", "stack")} | {"file": _file(one)}
        for one in result["programs"]
    ]
    if "failure" in result:
        failure = result["failure"]
        kept["failure"] = {
            "headline": failure["headline"],
            "repeat": failure["repeat"],
            "source": failure.get("source"),
            "sections": [[section["title"], texts.number(section["text"])] for section in failure["sections"]],
        }
    return kept


def _file(program: Any) -> str:
    return str(program.get("row", {}).get("file_name", ""))


def _embedded(data: dict[str, Any]) -> str:
    """JSON that can stand in a script element: no text of it ends the element."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
