"""The pytest plugin: options, markers, hooks and fixtures. A table of contents: what each does is in ``fixtures/``.

Everything of this package is imported inside the function that needs it, so that an installed plugin costs an
unrelated test run nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_ebpf.fixtures.aya_log import BpfLog
    from pytest_ebpf.fixtures.comparisons.baseline import BpfBaseline
    from pytest_ebpf.fixtures.features import BpfFeatures
    from pytest_ebpf.fixtures.matrix_fixture import BpfMatrix
    from pytest_ebpf.fixtures.shared import SharedBpf
    from pytest_ebpf.fixtures.values import BpfDmesg, BpfKernel, BpfTrace
    from pytest_ebpf.live.bpf_object import BpfObject
    from pytest_ebpf.live.datapath import BpfDatapath
    from pytest_ebpf.live.loader import Bpf
    from pytest_ebpf.live.machine.machine import BpfVm
    from pytest_ebpf.live.net.netns import Netns, Veth

__all__ = [
    "Hooks",
    "bpf",
    "bpf_baseline",
    "bpf_dmesg",
    "bpf_features",
    "bpf_kernel",
    "bpf_log",
    "bpf_netns",
    "bpf_datapath",
    "bpf_matrix",
    "bpf_shared",
    "bpf_trace",
    "bpf_veth",
    "bpf_vm",
    "pytest_addhooks",
    "pytest_addoption",
    "pytest_assertrepr_compare",
    "pytest_collect_file",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_report_collectionfinish",
    "pytest_report_header",
    "pytest_report_teststatus",
    "pytest_runtest_call",
    "pytest_runtest_setup",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
]

pytest_plugins = ("pytest_ebpf.plugin_instruments",)


class Hooks:
    """Hooks for a project's conftest.py. They are declared here because pytest needs them at start-up."""

    @staticmethod
    @pytest.hookspec
    def pytest_bpf_object_loaded(item: pytest.Item, loaded: BpfObject) -> None:
        """A program of an object file that is a test was loaded; it is run next if it has ``__retval``.

        The place to fill maps and set globals: ``loaded.maps["m"][0] = 28``. ``item.path`` is the object,
        ``item.name`` the program with its kernel.
        """

    @staticmethod
    @pytest.hookspec(firstresult=True)
    def pytest_bpf_kernel_source(config: pytest.Config, spec: str) -> str | Path | None:
        """Where the kernel ``spec`` of ``--bpf-kernels`` is: a bzImage, a built tree or another spec; None for specs
        that are not yours. ``spec`` names the column: a project's own names for its kernels."""

    @staticmethod
    @pytest.hookspec
    def pytest_bpf_splat_rules(config: pytest.Config) -> list[str] | None:
        """Regular expressions of warnings that the kernel may print during any test, as ``bpf_allow_splat`` for one."""

    @staticmethod
    @pytest.hookspec
    def pytest_bpf_report_columns(item: pytest.Item, report: pytest.TestReport) -> dict[str, str] | None:
        """More about a test on its kernel, by name: it is part of ``--bpf-json`` and of the HTML page."""


class _Cases:
    """Reports the tests of programs that ``bpf_vm.run_tests`` ran, in the process that writes the results."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """After the report of the test that ran them."""
        if hasattr(report, "bpf_cases"):
            from pytest_ebpf.fixtures.suite_reports import log_cases

            log_cases(report, config=self._config)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the hooks of this plugin. It is the first that pytest calls: modules imported before are rewritten."""
    from pytest_ebpf.fixtures.neighbours.plain_import import import_plainly

    import_plainly()
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--bpf-...`` options and ``bpf_...`` ini keys."""
    from pytest_ebpf.fixtures.options import add_options

    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    from pytest_ebpf.fixtures.options import MARKERS

    for line in MARKERS:
        config.addinivalue_line("markers", line)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Cases(config), "ebpf-cases")
    if config.getoption("bpf_kernels"):
        from pytest_ebpf.fixtures.kernel_matrix import read_axis

        if problem := read_axis(config).problem:
            raise pytest.UsageError(problem)
    if config.getoption("bpf_stats") or config.getoption("bpf_compare"):
        from pytest_ebpf.fixtures.comparisons.veristat_output import check_options

        check_options(config)
    if any(config.getoption(name) for name in ("bpf_json", "bpf_markdown", "bpf_report", "bpf_history")):
        from pytest_ebpf.fixtures.report_files import check_report_options

        check_report_options(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Objects whose programs have BTF test tags are test files."""
    if file_path.suffix != ".o":
        return None
    from pytest_ebpf.fixtures.objects.collector import collect_object

    return collect_object(file_path, parent)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that uses a kernel runs once per kernel of the matrix that fits its markers."""
    if "bpf_kernel" in metafunc.fixturenames:
        from pytest_ebpf.fixtures.kernel_matrix import parametrize

        parametrize(metafunc)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Kernel by kernel, so that each boots once: the groups before other plugins look at them, the order after they
    changed it."""
    if not any(map(_uses_kernel, items)):
        yield
    else:
        from pytest_ebpf.fixtures import kernel_matrix as matrix

        matrix.give_fresh_guests(items)
        matrix.mark_groups(items, config=config)
        yield
        matrix.refuse_without_kernels(items, config=config)
        matrix.group_by_kernel(items, config=config)
        from pytest_ebpf.fixtures.pool import start_ahead

        start_ahead(items, config=config)
        from pytest_ebpf.fixtures.hooks import register  # while the first guest boots

        register(config)
    if config.getoption("bpf_shard"):
        from pytest_ebpf.fixtures.runs.shard import pick_shard

        pick_shard(items, config=config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """What pytest's JUnit file says of the whole run, before pytest writes it; then the exit status."""
    config = session.config
    if config.getoption("xmlpath", None) and not hasattr(config, "workerinput"):
        from pytest_ebpf.fixtures.runs.junit import add_suite_properties

        add_suite_properties(config)
    if config.getoption("bpf_shard"):
        from pytest_ebpf.fixtures.runs.shard import excuse_empty

        excuse_empty(session)
    yield
    if session.testsfailed:
        from pytest_ebpf.fixtures.losses.exit_status import correct_status

        correct_status(session)


def _names_kernels(config: pytest.Config) -> bool:
    return bool(config.getoption("bpf_kernels") or config.getini("bpf_kernels"))


def _uses_kernel(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return "bpf_kernel" in names or "bpf_matrix" in names


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Unknown ``bpf_`` markers are errors; a feature that the kernel lacks skips the test."""
    if _uses_kernel(item) or any(mark.name.startswith("bpf_") for mark in item.iter_markers()):
        from pytest_ebpf.fixtures.setup import begin_test

        begin_test(item)
        if "bpf_kernel" in getattr(item, "fixturenames", ()) and item.get_closest_marker("bpf_budget"):
            from pytest_ebpf.fixtures.comparisons.budget import begin_budget

            begin_budget(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A feature that the kernel should have and lacks fails the test, and so does a program beyond its budget."""
    __tracebackhide__ = True
    if item.get_closest_marker("bpf_feature"):
        from pytest_ebpf.fixtures.features import fail_if_lost

        fail_if_lost(item)
    yield
    if item.get_closest_marker("bpf_budget"):
        from pytest_ebpf.fixtures.comparisons.budget import fail_if_over

        fail_if_over(item)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
    """Words of this plugin: a lost guest is an error and no failed assertion, a second try is flaky."""
    called_off = str(report.outcome) == "rerun" and not hasattr(report, "bpf_retried")  # later, by rerunfailures
    return None if called_off else getattr(report, "bpf_status", None)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The kernels, if the run names them; nothing otherwise."""
    if not _names_kernels(config):
        return []
    from pytest_ebpf.fixtures.kernel_matrix import header
    from pytest_ebpf.fixtures.neighbours.xdist_groups import workers_note

    return [header(config) + workers_note(config)]


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """The kernel that was chosen where nobody named one and this process may not call bpf()."""
    if not any(map(_uses_kernel, items)):
        return []
    from pytest_ebpf.fixtures.kernel_matrix import default_note

    return default_note(config)


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """The matrix, figures, baselines."""
    reports = [one for found in terminalreporter.stats.values() for one in found if hasattr(one, "bpf_record")]
    if reports:
        from pytest_ebpf.fixtures.neighbours.told import reports_as_told

        reports = reports_as_told(terminalreporter.stats)
    if reports and not config.getoption("bpf_no_matrix"):
        from pytest_ebpf.fixtures.summary import write_matrix

        write_matrix(terminalreporter, reports=reports, config=config)
    if reports:
        from pytest_ebpf.fixtures.summary import write_rest

        write_rest(terminalreporter, reports=reports, config=config)


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    """Maps and runs explain how they differ."""
    if not any(type(side).__module__.startswith("pytest_ebpf.") for side in (left, right)):
        return None
    from pytest_ebpf.fixtures.assert_repr import explain

    return explain(left, right, op=op, config=config)


@pytest.fixture(scope="session")
def bpf_kernel(request: pytest.FixtureRequest) -> BpfKernel:
    """The kernel this test runs on: ``.spec``, ``.release``, ``.machine``, ``.accel``. Booted on first use."""
    from pytest_ebpf.fixtures.values import kernel_of

    return kernel_of(request)


@pytest.fixture(scope="session")
def bpf_features(bpf_kernel: BpfKernel) -> BpfFeatures:
    """The features of the kernel: ``.has("ringbuf")``, ``.answer("tcx")``, ``.table()``. Probed and cached."""
    from pytest_ebpf.fixtures.features import BpfFeatures

    return BpfFeatures(bpf_kernel.column, runtime=bpf_kernel.runtime)


@pytest.fixture
def bpf_vm(bpf_kernel: BpfKernel, request: pytest.FixtureRequest) -> Iterator[BpfVm]:
    """The machine around the kernel: ``.run(argv)``, ``.start(argv)``, ``.call(function)``, files, users, mounts."""
    from pytest_ebpf.fixtures.values import open_vm

    yield from open_vm(bpf_kernel, request=request)


@pytest.fixture
def bpf(bpf_kernel: BpfKernel, request: pytest.FixtureRequest) -> Iterator[Bpf]:
    """The loader, bound to the kernel. What a test loads or attaches with it is removed when the test ends."""
    from pytest_ebpf.fixtures.values import open_loader

    yield from open_loader(bpf_kernel, request=request)


@pytest.fixture(scope="module")
def bpf_shared(bpf_kernel: BpfKernel, request: pytest.FixtureRequest) -> Iterator[SharedBpf]:
    """A loader for a whole module, for ``@given`` tests: loading an object again gives the same programs."""
    from pytest_ebpf.fixtures.shared import open_shared_loader

    yield from open_shared_loader(bpf_kernel, request=request)


@pytest.fixture
def bpf_trace(bpf_kernel: BpfKernel, request: pytest.FixtureRequest) -> Iterator[BpfTrace]:
    """What programs print with bpf_printk() during the test: ``.lines(timeout=)``, ``.expect(text, timeout=)``."""
    from pytest_ebpf.fixtures.values import open_trace

    yield from open_trace(bpf_kernel, request=request)


@pytest.fixture
def bpf_log(bpf: Bpf, request: pytest.FixtureRequest) -> Iterator[BpfLog]:
    """What Rust programs say with aya-log: ``.expect(text, level=)``, ``.records()``, ``.text``; also in ``caplog``."""
    from pytest_ebpf.fixtures.aya_log import open_log

    yield from open_log(request, time_scale=bpf.session.target.time_scale)


@pytest.fixture
def bpf_dmesg(bpf_kernel: BpfKernel, request: pytest.FixtureRequest) -> Iterator[BpfDmesg]:
    """The kernel log since the test began: ``.lines()``, ``.expect(text, timeout=)``."""
    from pytest_ebpf.fixtures.values import open_dmesg

    yield from open_dmesg(bpf_kernel, request=request)


@pytest.fixture
def bpf_baseline(bpf_kernel: BpfKernel, request: pytest.FixtureRequest) -> BpfBaseline:
    """Compares with the verifier results stored beside the test: ``.check(obj)``, ``prog.log == bpf_baseline``."""
    from pytest_ebpf.fixtures.comparisons.baseline import BpfBaseline

    return BpfBaseline(bpf_kernel, request=request)


@pytest.fixture
def bpf_matrix(request: pytest.FixtureRequest) -> BpfMatrix:
    """All kernels of the run in one test: ``bpf_matrix.verify("x.bpf.o")``, whose value has the assertions."""
    from pytest_ebpf.fixtures.matrix_fixture import BpfMatrix

    return BpfMatrix(request)


@pytest.fixture
def bpf_netns(bpf_kernel: BpfKernel, request: pytest.FixtureRequest) -> Iterator[Netns]:
    """A network namespace for this test: ``.veth()``, ``.route()``, ``.run()``, ``.listen()``, ``.connect()``."""
    from pytest_ebpf.fixtures.networks import open_netns

    yield from open_netns(bpf_kernel, request=request)


@pytest.fixture
def bpf_veth(bpf_netns: Netns) -> Veth:
    """A pair of interfaces in two namespaces: ``.send(packet)``, ``.sniff()``, ``.echo()``, ends ``.a`` and ``.b``."""
    from pytest_ebpf.fixtures.networks import open_veth

    return open_veth(bpf_netns)


@pytest.fixture(params=["test_run", "wire"])
def bpf_datapath(bpf_kernel: BpfKernel, request: pytest.FixtureRequest) -> Iterator[BpfDatapath]:
    """The test runs twice, by test runs and on a wire: ``.run(prog, packet)`` returns what happens to the packet."""
    from pytest_ebpf.fixtures.networks import open_datapath

    yield from open_datapath(bpf_kernel, request=request)
