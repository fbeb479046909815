"""Test programs of other languages: each of their tests is in pytest's results, in JUnit and in the matrix."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_ebpf.cli.exec import exec_

pytestmark = pytest.mark.slow

TAP = """#!/bin/sh
echo 1..3
echo ok 1 - loads
echo not ok 2 - attaches
echo ok 3 - pins '# SKIP needs Linux 6.6'
"""
HANGS = """#!/bin/sh
echo running 2 tests
echo test first ... ok
printf 'test second ... '
exec sleep 60
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "suite"
    path.write_text(TAP)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("options", [(), ("-n2",)])
def test_each_test_is_in_the_results(pytester: pytest.Pytester, program: Path, options: tuple[str, ...]) -> None:
    pytester.makepyfile(
        f"""
        def test_c_suite(bpf_vm):
            run = bpf_vm.run_tests([{str(program)!r}], format="tap", check=False)
            assert [case.name for case in run.failed] == ["attaches"]
            assert run["pins"].message == "needs Linux 6.6"
        """
    )
    result = pytester.runpytest("--bpf-kernels=host", "--junitxml=out.xml", *options)
    result.assert_outcomes(passed=2, failed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["*test_c_suite::attaches*✗*", "*test_c_suite::pins*s a*", "FAILED *test_c_suite::attaches[[]host[]]*"]
    )
    cases = {
        case.get("name"): [child.tag for child in case if child.tag != "properties"]
        for case in ET.parse(pytester.path / "out.xml").iter("testcase")
    }
    found = {str(name).removesuffix("[host]"): tags for name, tags in cases.items()}
    assert found == {"test_c_suite": [], "loads": [], "attaches": ["failure"], "pins": ["skipped"]}


def test_failures_fail_the_test_that_ran_them(pytester: pytest.Pytester, program: Path) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        from pytest_ebpf import BpfUsageError

        def test_c_suite(bpf_vm):
            bpf_vm.run_tests([{str(program)!r}])

        def test_a_wrong_format(bpf_vm):
            with pytest.raises(BpfUsageError, match="format='tapp'.*\\n.*tap"):
                bpf_vm.run_tests([{str(program)!r}], format="tapp")
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(passed=2, failed=2, skipped=1)
    result.stdout.fnmatch_lines(["*1 of 3 tests of */suite failed*"])


def test_a_hanging_program_costs_the_test_that_ran(pytester: pytest.Pytester, program: Path) -> None:
    program.write_text(HANGS)
    pytester.makepyfile(
        f"""
        def test_rust_suite(bpf_vm):
            run = bpf_vm.run_tests([{str(program)!r}], timeout=0.5, check=False)
            assert run.ended == "it hung: killed after 0.5 s"
            assert [(case.name, case.outcome) for case in run.cases] == [("first", "passed"), ("second", "failed")]
        """
    )
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=2, failed=1)


def run(*words: object) -> Result:
    return CliRunner().invoke(exec_, [*map(str, words)])


def test_the_command(program: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.xml"
    result = run("host", "--junit", out, "--", program)
    assert result.exit_code == 1
    assert "✗ suite::attaches on host" in result.output
    assert "✓ 1  ✗ 1  s 1" in result.output
    (suite,) = ET.parse(out).getroot()
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (
        "host",
        "3",
        "1",
        "1",
    )


def test_any_command_is_one_test() -> None:
    assert run("host", "--", sys.executable, "-c", "print('hello')").exit_code == 0
    crashed = run("host", "--", sys.executable, "-c", "import os; os.abort()")
    assert crashed.exit_code == 1
    assert "it crashed: SIGABRT" in crashed.output


def test_what_is_missing_is_said() -> None:
    assert "pytest-ebpf exec 6.1 newest -- ./tests" in run("host").output
    assert "pytest-ebpf exec 6.1 newest -- ./tests" in run("--", "true").output
