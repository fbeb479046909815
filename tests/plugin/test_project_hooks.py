"""Hooks of a project's conftest.py: names of its kernels, warnings that it knows, more in its reports."""

from __future__ import annotations

import json

import pytest

from pytest_ebpf.events.kernel_log import Splat
from pytest_ebpf.fixtures.losses.allowances import splats_allowed


def test_names_for_kernels(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        def pytest_bpf_kernel_source(config, spec):
            return "host" if spec == "production" else None
        """
    )
    pytester.makepyfile(
        """
        def test_a(bpf_kernel):
            assert (bpf_kernel.id, bpf_kernel.spec) == ("production", "host")
            assert bpf_kernel.release
        """
    )
    result = pytester.runpytest("--bpf-kernels=production", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_a[[]production[]] PASSED*", " *production", "production  *this machine*"])


def test_more_columns(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        def pytest_bpf_report_columns(item, report):
            return {"owner": item.name.partition("[")[0][-1], "phase": report.when}
        """
    )
    pytester.makepyfile("def test_a(bpf_kernel): pass")
    pytester.runpytest("--bpf-kernels=host", "--bpf-json=run.json", "--bpf-report=out").assert_outcomes(passed=1)
    (result,) = json.loads((pytester.path / "run.json").read_text())["results"]
    assert result["columns"] == {"owner": "a", "phase": "call"}
    assert '"columns":{"owner":"a","phase":"call"}' in (pytester.path / "out/index.html").read_text()


def test_rules_for_warnings_of_the_kernel(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('def pytest_bpf_splat_rules(config): return ["hrtimer: interrupt took"]')
    (item,) = pytester.getitems("def test_a(): pass")
    (rule,) = splats_allowed(item)
    assert rule.covers(Splat("x", ("[1.0] hrtimer: interrupt took 7 ns",)))
    assert not rule.over


def test_a_rule_that_is_no_expression(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('def pytest_bpf_splat_rules(config): return ["("]')
    (item,) = pytester.getitems("def test_a(): pass")
    with pytest.raises(ValueError, match=r"pytest_bpf_splat_rules: '\('"):
        splats_allowed(item)
