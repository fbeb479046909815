"""The part of the pytest plugin about instrumented programs (faults, coverage, benchmarks), xdist and unittest.

A table of contents too.

PYTEST_DONT_REWRITE: fixtures/neighbours/plain_import.py says why; without these words pytest warns that it is too late.
"""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_ebpf.fixtures.instruments.benchmark import BpfBenchmark
    from pytest_ebpf.fixtures.instruments.faults import BpfFault
    from pytest_ebpf.fixtures.values import BpfKernel
    from pytest_ebpf.live.loader import Bpf

__all__ = [
    "bpf_benchmark",
    "bpf_fault",
    "pytest_addoption",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_generate_tests",
    "pytest_make_collect_report",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_terminal_summary",
    "pytest_xdist_make_scheduler",
]

_FAULTS = (
    "bpf_faults(object, program=, function=, errno=): run the test once for each call of the program that can fail, "
    "with this call failing: take the fixture bpf_fault"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--bpf-cov…`` and ``--bpf-benchmark…``."""
    group = parser.getgroup("ebpf", "eBPF")
    group.addoption("--bpf-cov", action="store_true", help="which lines, branches and instructions of programs ran")
    group.addoption("--bpf-cov-lcov", metavar="FILE", help="write that in lcov's format")
    group.addoption("--bpf-cov-cobertura", metavar="FILE", help="write that in Cobertura's format")
    group.addoption(
        "--bpf-cov-fail-under", type=float, metavar="PERCENT", help="fail if fewer lines of those that can run did"
    )
    group.addoption("--bpf-benchmark-save", metavar="FILE", help="store what bpf_benchmark measured")
    group.addoption("--bpf-benchmark-compare", metavar="FILE", help="compare with what was stored")
    group.addoption(
        "--bpf-benchmark-fail",
        "--bpf-benchmark-compare-fail",
        metavar="EXPR",
        help="fail a benchmark that is slower than the stored one, such as median:10%% or min:50ns",
    )
    for name, default in (("time", 0.0), ("shard", "0/1"), ("into", "")):  # of the command pytest-ebpf mutate
        group.addoption(f"--bpf-mutate-{name}", type=type(default), default=default, help=SUPPRESS)
    group.addoption("--bpf-mutate-fresh", action="store_true", help=SUPPRESS)


def pytest_configure(config: pytest.Config) -> None:
    """The markers; and what collects coverage, where it is asked for."""
    config.addinivalue_line("markers", _FAULTS)
    asked = ("bpf_cov", "bpf_cov_lcov", "bpf_cov_cobertura", "bpf_cov_fail_under")
    if any(config.getoption(name) is not None and config.getoption(name) is not False for name in asked):
        from pytest_ebpf.fixtures.instruments.coverage import begin_coverage

        begin_coverage(config)
    if config.getoption("bpf_mutate_into"):
        from pytest_ebpf.fixtures.instruments.mutation import begin_mutation

        begin_mutation(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with ``bpf_fault`` runs once for each call that can fail."""
    if "bpf_fault" in metafunc.fixturenames:
        from pytest_ebpf.fixtures.instruments.faults import parametrize_faults

        parametrize_faults(metafunc)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Methods of ``unittest.TestCase`` run once per kernel, too."""
    report = yield
    if isinstance(collector, pytest.Class) and any(
        "bpf_kernel" in getattr(item, "fixturenames", ()) for item in report.result
    ):
        from pytest_ebpf.fixtures.neighbours.unittest_methods import methods_per_kernel

        report.result = methods_per_kernel(collector, report.result)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A test that does not come to the call that should fail is skipped, since it says nothing."""
    yield
    if "bpf_fault" in getattr(item, "fixturenames", ()):
        from pytest_ebpf.fixtures.instruments.faults import skip_unreached

        skip_unreached(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test measured is on its report."""
    report = yield
    if call.when == "call" and "bpf_benchmark" in getattr(item, "fixturenames", ()):
        from pytest_ebpf.fixtures.instruments.benchmark import report_benchmarks

        report_benchmarks(report, item=item)
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What benchmarks measured."""
    if any(hasattr(report, "bpf_benchmarks") for found in terminalreporter.stats.values() for report in found):
        from pytest_ebpf.fixtures.instruments.benchmark import write_benchmarks

        write_benchmarks(terminalreporter, config=config)


@pytest.fixture
def bpf_fault(bpf: Bpf, request: pytest.FixtureRequest) -> Iterator[BpfFault]:
    """The call that fails in this test (marker ``bpf_faults``): ``.function``, ``.source_line``, ``.failed``."""
    from pytest_ebpf.fixtures.instruments.faults import open_fault

    yield from open_fault(bpf, request=request)


@pytest.fixture
def bpf_benchmark(bpf_kernel: BpfKernel, request: pytest.FixtureRequest) -> BpfBenchmark:
    """Measures a program: ``bpf_benchmark(prog, packet)`` gives ``.stats.median`` and others, in ns of the kernel."""
    from pytest_ebpf.fixtures.instruments.benchmark import BpfBenchmark

    return BpfBenchmark(bpf_kernel, request=request)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist whether it has kernels of its own."""
    node.workerinput["bpf_own_kernels"] = _groups_kernels(node.config)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of a kernel stay in one worker, so that it boots once."""
    if not _groups_kernels(config):
        return None
    from pytest_ebpf.fixtures.neighbours.xdist_groups import make_scheduler

    return make_scheduler(config, log)


def _groups_kernels(config: pytest.Config) -> bool:
    named = config.getoption("bpf_kernels") or config.getini("bpf_kernels")
    if config.getoption("dist") != "loadgroup" and not named:
        return False  # one kernel, if any
    from pytest_ebpf.fixtures.neighbours.xdist_groups import groups_kernels

    return groups_kernels(config)
