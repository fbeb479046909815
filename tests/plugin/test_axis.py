"""Which kernels a test runs on: ids, order, markers, and what is said when nothing fits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_ebpf.fixtures.kernel_matrix import columns_of, declared_axis

TWO_TESTS = """
    import pytest
    def test_plain(): pass
    def test_one(bpf): pass
    @pytest.mark.parametrize("size", [1, 2])
    def test_two(size, bpf_vm): pass
"""


def collected(pytester: pytest.Pytester, *args: str) -> list[str]:
    result = pytester.runpytest("--collect-only", "-q", *args)
    return [line for line in result.outlines if "::" in line]


def test_ids_and_order(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TWO_TESTS)
    module = "test_ids_and_order.py"
    assert collected(pytester, "--bpf-kernels=6.1,host") == [
        f"{module}::test_plain",
        f"{module}::test_one[6.1]",
        f"{module}::test_two[6.1-1]",
        f"{module}::test_two[6.1-2]",
        f"{module}::test_one[host]",
        f"{module}::test_two[host-1]",
        f"{module}::test_two[host-2]",
    ]


def test_files_are_grouped_by_kernel(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_a="def test_a(bpf): pass", test_b="def test_b(bpf_trace): pass")
    assert collected(pytester, "--bpf-kernels=5.10,6.1") == [
        "test_a.py::test_a[5.10]",
        "test_b.py::test_b[5.10]",
        "test_a.py::test_a[6.1]",
        "test_b.py::test_b[6.1]",
    ]


@pytest.mark.parametrize("source", ["option", "environment", "ini"])
def test_where_kernels_are_named(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    pytester.makepyfile("def test_a(bpf): pass")
    pytester.makeini("[pytest]\nbpf_kernels = 5.10" if source == "ini" else "[pytest]\nbpf_kernels = 6.12")
    if source == "environment":
        monkeypatch.setenv("PYTEST_EBPF_KERNELS", "5.10")
    args = ["--bpf-kernels=5.10"] if source == "option" else []
    assert [line.rpartition("::")[2] for line in collected(pytester, *args)] == ["test_a[5.10]"]


def test_an_alias_and_its_series_are_one_column(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(bpf): pass")
    first = collected(pytester, "--bpf-kernels=oldest")
    assert collected(pytester, "--bpf-kernels=oldest," + first[0].partition("[")[2].rstrip("]")) == first


@pytest.mark.parametrize(
    ("specifiers", "kernels"),
    [
        (">=5.15", ["6.1", "6.12"]),
        (">6.1", ["6.12"]),
        ("<=6.1", ["5.10", "6.1"]),
        ("==6.1", ["6.1"]),
        ("!=6.1", ["5.10", "6.12"]),
        (">=5.10,<6", ["5.10"]),
        ("==6.*", ["6.1", "6.12"]),
        ("<6.10", ["5.10", "6.1"]),
    ],
)
def test_marker_selects_kernels(pytester: pytest.Pytester, specifiers: str, kernels: list[str]) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.bpf_kernel({specifiers!r})\ndef test_a(bpf): pass")
    found = collected(pytester, "--bpf-kernels=5.10,6.1,6.12")
    assert [line.partition("[")[2].rstrip("]") for line in found] == kernels


def test_markers_of_class_and_function_both_count(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bpf_kernel(">=5.15")
        class TestThese:
            @pytest.mark.bpf_kernel("<6.12")
            def test_a(self, bpf): pass
        """
    )
    found = collected(pytester, "--bpf-kernels=5.10,6.1,6.12")
    assert [line.partition("[")[2].rstrip("]") for line in found] == ["6.1"]


def test_c13_a_marker_of_a_test_overrides_that_of_its_module(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.bpf_kernel(">=6.1")
        @pytest.mark.bpf_kernel("<6.1")
        def test_a(bpf): pass
        def test_b(bpf): pass
        class TestC:
            pytestmark = pytest.mark.bpf_kernel(">=6.12")
            def test_c(self, bpf): pass
        """
    )
    found = collected(pytester, "--bpf-kernels=5.10,6.1,6.12")
    names = [line.rpartition("::")[2] for line in found]
    assert set(names) == {"test_a[5.10]", "test_b[6.1]", "test_b[6.12]", "test_c[6.12]"}


def test_a_test_that_fits_no_kernel_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bpf_kernel(">=99")
        def test_future(bpf): pass
        def test_now(bpf_kernel): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*the test requires kernels >=99, and the matrix has only: host.*"])
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("marker", ["bpf_kernel('new')", "bpf_kernel()", "bpf_kernel(6.1)", "bpf_kernel('>=6', x=1)"])
def test_a_bad_spec_is_an_error(pytester: pytest.Pytester, marker: str) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_a(bpf): pass")
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*expected version specifiers, such as bpf_kernel(*"])


def test_an_unknown_marker_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bpf_kernle(">=5.15")
        def test_a(bpf): pass
        @pytest.mark.bpf_budgett(1)
        def test_b(): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*unknown marker bpf_kernle: known markers: bpf_allow_splat, bpf_*"])


def test_a_marker_on_a_test_without_kernel_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.bpf_kernel('>=5.15')\ndef test_a(): pass")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*bpf_ marker on a test without a kernel*"])


def test_a_marker_on_one_parameter_skips(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.bpf_kernel("<2.6"))])
        def test_a(bpf_kernel, x): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=host", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*kernel host is not <2.6*"])


def test_b5_an_unknown_kernel_is_one_usage_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(bpf): pass\ndef test_b(): pass")
    result = pytester.runpytest("--bpf-kernels=hst")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --bpf-kernels: unknown kernel series 'hst'", "*host*"])


def test_an_unknown_kernel_of_the_ini_file_is_the_error_of_each_test(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nbpf_kernels = host, 4.4")
    pytester.makepyfile("def test_a(bpf): pass\ndef test_b(): pass")
    result = pytester.runpytest()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*--bpf-kernels:*4.4*"])


@pytest.mark.parametrize("declared", ["5.10 6.12", "5.10,6.12", "5.10, 6.12"])
def test_b3_a_job_of_one_kernel_is_judged_by_the_matrix_that_the_project_declares(
    pytester: pytest.Pytester, declared: str
) -> None:
    pytester.makeini(f"[pytest]\nbpf_kernels = {declared}")
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bpf_kernel(">=6.1")
        def test_a(bpf): pass
        @pytest.mark.bpf_kernel(">=99")
        def test_b(bpf): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=5.10", "-rs")
    result.assert_outcomes(skipped=1, errors=1)
    result.stdout.fnmatch_lines(["*requires kernels >=6.1: runs on 6.12 of the ini key bpf_kernels*"])


def test_b3_a_feature_is_judged_by_the_matrix_that_the_project_declares(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nbpf_kernels = 5.10 6.12")
    config = pytester.parseconfig("--bpf-kernels=5.10")
    assert [kernel.id for kernel in declared_axis(config).kernels] == ["5.10", "6.12"]
    item: Any = SimpleNamespace(config=config, iter_markers_with_node=lambda name: iter(()))
    assert [kernel.id for kernel in columns_of(item)] == ["5.10", "6.12"]  # what "runs nowhere" is judged by


def test_c17_without_a_kernel_it_says_once_what_to_type(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_ebpf.fixtures.kernel_matrix.may_call_bpf", lambda: False)
    pytester.makepyfile("def test_a(bpf): pass\ndef test_b(bpf): pass\ndef test_plain(): pass")
    result = pytester.runpytest("--bpf-cache-dir=empty")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: no kernel to test on: *", "Run pytest --bpf-kernels=6.1*"])
    assert result.stderr.str().count("no kernel to test on") == 1
    pytester.runpytest("--bpf-cache-dir=empty", "-k", "test_plain").assert_outcomes(passed=1, deselected=2)


def test_c17_the_newest_kernel_in_the_cache_is_the_default(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_ebpf.fixtures.kernel_matrix.may_call_bpf", lambda: False)
    monkeypatch.setattr("pytest_ebpf.fixtures.kernel_matrix.newest_series", lambda cache: "6.12")
    pytester.makepyfile("def test_a(bpf): pass\ndef test_plain(): pass")
    result = pytester.runpytest("--collect-only", "-q")
    result.stdout.fnmatch_lines(["*::test_a[[]6.12[]]"])
    result = pytester.runpytest("-k", "test_plain", "-v")
    result.stdout.no_fnmatch_line("bpf kernels:*")
    result = pytester.runpytest("--collect-only")
    result.stdout.fnmatch_lines(["bpf kernels: 6.12 (the newest in the cache, as this process may not call bpf())"])


def test_the_default_is_the_host(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(bpf): pass")
    assert [line.rpartition("::")[2] for line in collected(pytester)] == ["test_a[host]"]


def test_header_names_the_kernels(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(): pass")
    pytester.runpytest("--bpf-kernels=host,6.1").stdout.fnmatch_lines(["bpf kernels: host, 6.1 (accel: auto)"])
    pytester.runpytest().stdout.no_fnmatch_line("bpf kernels*")


def test_a_test_may_name_its_kernels_itself(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture
        def bpf_kernel(): return "mine"
        def test_a(bpf_kernel): assert bpf_kernel == "mine"
        """
    )
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=1)
