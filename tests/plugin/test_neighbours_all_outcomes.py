"""Matrix and pytest agree on every test: all outcomes × reruns × xdist × unittest. 80 tests here, 200
in ci/neighbours (``OUTCOMES=200``)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from pytest_ebpf.outcome import Outcome
from support.many_outcomes import file_of_tests
from support.neighbours import Neighbours

COUNT = int(os.environ.get("OUTCOMES", "80"))
# What pytest told the terminal of each test, by the category that it counts: written by a conftest.
TOLD = """
    import json
    import pytest
    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(terminalreporter):
        told = {}
        for category, reports in terminalreporter.stats.items():
            for report in reports:
                if category in RANK and hasattr(report, "nodeid") and (
                    report.when == "call" or not report.passed or category == "flaky"
                ):
                    test = report.nodeid.replace("[host]", "").partition("@")[0]
                    told[test] = max(told.get(test, ""), category, key=RANK.index)
        with open("told.json", "w") as file:
            json.dump(told, file)
    RANK = ["", "passed", "xfailed", "skipped", "xpassed", "flaky", "quarantined", "failed", "error"]
"""


@pytest.mark.parametrize(
    "arguments", [("--reruns=1",), ("-n2",), ("--reruns=1", "-n2", "--dist=loadgroup")], ids=["reruns", "xdist", "both"]
)
def test_b2_the_matrix_and_pytest_agree_for_every_test(
    pytester: pytest.Pytester, objects: Callable[..., None], neighbours: Neighbours, arguments: tuple[str, ...]
) -> None:
    objects("config", "reject_null_value")
    pytester.makeconftest(TOLD)
    pytester.makepyfile(test_all=file_of_tests(COUNT, seed=len(arguments)))
    plugins = ("rerunfailures",) if "--reruns=1" in arguments else ()
    neighbours.run(*arguments, "--bpf-json=run.json", "--tb=no", plugins=plugins)
    told = json.loads((pytester.path / "told.json").read_text())
    assert len(told) == COUNT
    document = json.loads((pytester.path / "run.json").read_text())
    matrix = {result["test"]: result["outcome"] for result in document["results"]}
    assert matrix == told
    kinds = {result["kind"] for result in document["results"]}
    assert set(Outcome) - {Outcome.PASSED} <= kinds, "every outcome is among them"
