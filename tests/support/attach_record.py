"""A pytest plugin that writes down what became of each test marked ``attach_kind``: one JSON line per test and kernel.

``ci/program_types.py`` runs the tests with it and makes docs/program-types.md of the lines. Nothing is recorded without
``--attach-record``.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pytest_ebpf.fixtures.kernel_matrix import Kernel, kernel_of_item, specifiers_of

__all__ = ["pytest_addoption", "pytest_runtest_makereport"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--attach-record", metavar="FILE", help="append what became of the tests of attach kinds")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    file = item.config.getoption("--attach-record")
    kernel = kernel_of_item(item)
    if not file or not isinstance(kernel, Kernel) or (report.when != "call" and report.passed):
        return
    for mark in item.iter_markers("attach_kind"):
        line = {
            "kind": mark.args[0],
            "option": mark.kwargs.get("option", ""),
            "test": item.nodeid.partition("[")[0],
            "kernel": kernel.id,
            "release": _release(item),
            "outcome": report.outcome,
            "reason": _reason(report),
            "needs": specifiers_of(item),
        }
        with Path(file).open("a") as out:
            out.write(json.dumps(line) + "\n")


def _release(item: pytest.Item) -> str:
    found = getattr(item, "funcargs", {}).get("bpf_kernel")
    return found.release if found is not None else ""


def _reason(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        return (crash.message if crash is not None else str(report.longrepr)).strip().splitlines()[0]
    return ""
