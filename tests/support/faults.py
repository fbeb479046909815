"""Runs of ci/fault_suite, and what is wrong with what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.fault_cases import CASES, Case
from support.paths import ROOT

__all__ = ["FaultRun", "left_behind", "problems", "run_suite"]

SUITE = ROOT / "ci" / "fault_suite"
_CASES = {case.name: case for case in CASES}


@dataclass(frozen=True, slots=True)
class FaultRun:
    """One session: a kernel, how its guests start ("warm", "cold"), the short form, words that choose cases."""

    kernel: str
    boot: str
    short: bool = False
    words: str = ""


def run_suite(run: FaultRun, folder: Path) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """pytest, with its temporary files in ``folder``; the lines of the suite, one for each phase of a test."""
    out = folder / "lines.json"
    out.touch()
    shutil.copy(ROOT / "sample_programs" / "built" / "xdp_firewall.bpf.o", folder)  # a guest sees this directory
    environment = os.environ | {
        "FAULTS_OUT": str(out),
        "FAULTS_SHORT": "1" if run.short else "",
        "FAULTS_WORDS": run.words,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(folder / "tmp")]
    argv += [f"--bpf-kernels={run.kernel}", f"--bpf-boot={run.boot}", "-c", os.devnull, "--rootdir", str(SUITE)]
    done = subprocess.run(
        [*argv, str(SUITE)], env=environment, cwd=folder, capture_output=True, text=True, timeout=3000, check=False
    )
    return done, [json.loads(line) for line in out.read_text().splitlines()]


def problems(lines: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """(test, what is wrong with it) for each fault, "" for nothing; and for each witness that something reached."""
    tests: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        tests.setdefault(line["test"], []).append(line)
    for test, phases in tests.items():
        name = re.search(r"\[(?:[^\]]*-)?(?P<case>[^\]]+), (?P<moment>[^,\]]+?)(?:-[\w.]+)?\]", test)
        if test.startswith("test_fault") and name is not None:
            case = _CASES.get(name["case"])
            yield test, _wrong(case, phases) if case is not None else "no such case"
        elif any(phase["outcome"] != "passed" for phase in phases):
            failed = next(phase for phase in phases if phase["outcome"] != "passed")
            yield test, f"{failed['when']} {failed['outcome']}: {failed['text'][-300:]}"


def _wrong(case: Case, phases: list[dict[str, Any]]) -> str:
    failed = [phase for phase in phases if phase["outcome"] == "failed"]
    if case.expected.kind == "infrastructure":
        told = any(phase["flaky"] for phase in phases)
        return "" if told and not failed else f"not told as flaky: {[phase['text'][-200:] for phase in failed]}"
    if not case.expected.kind:
        return "" if not failed else f"{failed[0]['when']}: {failed[0]['text'][-300:]}"
    if len(failed) != 1:
        return f"{len(failed)} phases failed, not one: {[phase['text'][-200:] for phase in failed]}"
    (one,) = failed
    if one["kind"] != case.expected.kind:
        return f"told as {one['kind'] or 'nothing'}, not {case.expected.kind}: {one['text'][-300:]}"
    return "" if re.search(case.expected.words, one["text"]) else f"its cause is not told: {one['text'][-300:]}"


def left_behind(folder: Path) -> list[str]:
    """Processes of a run that live after its end: each has its environment."""
    mark = f"FAULTS_OUT={folder / 'lines.json'}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(f"process {entry.name}: {(entry / 'comm').read_text().strip()}")
        except OSError:
            continue
    return found
