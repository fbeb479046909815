"""What is remembered of earlier runs: one line of JSON per run, with instructions walked by program and kernel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypedDict

from pytest_ebpf.report.document import Document

__all__ = ["History", "append_run", "insns_of", "parse_history"]

_KEPT = 200  # runs


class History(TypedDict):
    """A run. ``insns``: "object/program@kernel" -> instructions walked, the most of any load in it."""

    created: str
    insns: dict[str, int]


def insns_of(document: Document) -> dict[str, int]:
    """Instructions walked of every program on every kernel, the most of any load."""
    found: dict[str, int] = {}
    for result in document["results"]:
        for program in result["programs"]:
            if program["insns"] < 0:
                continue
            file = program.get("row", {}).get("file_name", "")
            name = f"{file}/{program['name']}@{result['kernel']}".lstrip("/")
            found[name] = max(found.get(name, 0), program["insns"])
    return found


def parse_history(text: str) -> list[History]:
    """``ValueError`` for a file that is not of this kind."""
    runs: list[History] = []
    for number, line in enumerate(text.splitlines(), 1):
        found: Any = json.loads(line) if line.strip() else None
        if found is None:
            continue
        if not isinstance(found, dict) or not isinstance(found.get("insns"), dict) or "created" not in found:
            raise ValueError(f"line {number} is not a run that --bpf-history wrote")
        runs.append(History(created=str(found["created"]), insns=found["insns"]))
    return runs


def append_run(history: Sequence[History], document: Document) -> str:
    """The text of the file with this run at its end."""
    runs = [*history, History(created=document["created"], insns=insns_of(document))]
    return "".join(json.dumps(run, sort_keys=True) + "\n" for run in runs[-_KEPT:])
