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
    from pytest_ebpf.fixtures.baseline import BpfBaseline
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
    "pytest_report_header",
    "pytest_report_teststatus",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "pytest_terminal_summary",
]

_MARKERS = (
    'bpf_guest(memory=, cpus=, cmdline=): the guest of the test, such as bpf_guest(memory="2G", cpus=4, '
    'cmdline="nosmt"); it has no effect on host',
    "bpf_fresh_guest: a guest for this test alone, restored before it and ended after it",
    'bpf_kernel(spec): run on the kernels of the matrix that fit, such as bpf_kernel(">=5.15,<6.12")',
    "bpf_feature(name, ...): skip if a probe finds that the kernel lacks it, fail if it should have it: "
    'bpf_feature("ringbuf", "kfunc:bpf_dynptr_from_skb")',
    "bpf_budget(insns=, states=, stack=, limit=, growth=, prog=, ...): what verifying the programs of the test may "
    'cost, such as bpf_budget(insns={"6.1": 4000, "*": 3000}, growth="5%")',
)


class Hooks:
    """Hooks for a project's conftest.py. They are declared here because pytest needs them at start-up."""

    @staticmethod
    @pytest.hookspec
    def pytest_bpf_object_loaded(item: pytest.Item, loaded: BpfObject) -> None:
        """A program of an object file that is a test was loaded; it is run next if it has ``__retval``.

        The place to fill maps and set globals: ``loaded.maps["m"][0] = 28``. ``item.path`` is the object,
        ``item.name`` the program with its kernel.
        """


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
    """Register the hooks of this plugin."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--bpf-...`` options and ``bpf_...`` ini keys."""
    group = parser.getgroup("ebpf", "eBPF")
    group.addoption(
        "--bpf-kernels",
        metavar="SPEC,...",
        help="kernels to test on: host, a series (6.1), oldest, newest, rc, a bzImage or a built tree. "
        "Default: PYTEST_EBPF_KERNELS, ini bpf_kernels, then host if this process may call bpf()",
    )
    group.addoption("--bpf-mirror", metavar="URL", help="package archive for kernels. Default: the one of this system")
    group.addoption("--bpf-offline", action="store_true", help="use only kernels that are in the cache")
    group.addoption("--bpf-no-matrix", action="store_true", help="do not print the matrix at the end")
    group.addoption(
        "--bpf-smoke",
        metavar="GLOB,...",
        help="objects whose programs must all load, with or without tags: names or paths, such as 'build/*.bpf.o'",
    )
    parser.addini("bpf_smoke", "objects whose programs must all load, as for --bpf-smoke", type="args", default=[])
    parser.addini("bpf_kernels", "kernels to test on, as for --bpf-kernels", type="args", default=[])
    parser.addini("bpf_object_dirs", "directories searched for objects after that of the test", type="paths")
    parser.addini(
        "bpf_reduced_kernels", "kernels built without features that their release has", type="args", default=[]
    )
    parser.addini("bpf_mirror", "package archive for kernels, as for --bpf-mirror", default="")
    _add_guest_options(parser)
    _add_verifier_options(parser)


def _add_guest_options(parser: pytest.Parser) -> None:
    """Options about guests: how they start and what they have."""
    group = parser.getgroup("ebpf", "eBPF")
    group.addoption(
        "--bpf-accel",
        choices=("auto", "kvm", "tcg"),
        default="auto",
        help="how guests run: auto (default) uses KVM if a guest boots under it, else emulation (tcg)",
    )
    group.addoption(
        "--bpf-boot",
        choices=("warm", "cold", "stock"),
        default="warm",
        help="how guests start: warm (default) from a state saved when the kernel was first booted, cold from nothing, "
        "stock as virtme-ng starts one",
    )
    group.addoption("--bpf-require-kvm", action="store_true", help="fail rather than fall back to emulation")
    group.addoption("--bpf-cache-dir", metavar="DIR", help="directory for kernels. Default: the user's cache")
    group.addoption(
        "--bpf-boot-timeout",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="seconds until a boot has failed, on real hardware; several times as long under emulation. Default: 20",
    )
    group.addoption("--bpf-memory", default="1G", metavar="SIZE", help="memory of a guest, such as 2G. Default: 1G")
    group.addoption(
        "--bpf-cpus", type=int, default=0, metavar="N", help="CPUs of a guest. Default: 1 if emulated, 2 under KVM"
    )
    group.addoption(
        "--bpf-cmdline", default="", metavar="WORDS", help="more words for the command line of guest kernels"
    )


def _add_verifier_options(parser: pytest.Parser) -> None:
    """Options about the results and costs of verification."""
    group = parser.getgroup("ebpf", "eBPF")
    group.addoption(
        "--bpf-stats", metavar="FILE", help="write the figures of all programs loaded, as the CSV of veristat"
    )
    group.addoption("--bpf-compare", metavar="FILE", help="compare them with a CSV file of veristat or of --bpf-stats")
    group.addoption(
        "--bpf-update",
        choices=("new", "changed", "all"),
        help="store baselines: missing ones (new), different ones (changed), or both (all)",
    )
    parser.addini("bpf_baseline_dir", "the directory of baselines, beside each test file", default="")
    _add_report_options(parser)


def _add_report_options(parser: pytest.Parser) -> None:
    """Options for reports besides the terminal's."""
    group = parser.getgroup("ebpf", "eBPF")
    group.addoption("--bpf-json", metavar="FILE", help="write the record of the run as JSON (docs/reports.md)")
    group.addoption("--bpf-markdown", metavar="FILE", help="write the matrix and the failures as Markdown")
    group.addoption("--bpf-report", metavar="DIR", help="write the run as one HTML page, DIR/index.html")
    group.addoption("--bpf-history", metavar="FILE", help="add this run's figures to FILE; the HTML page draws them")
    parser.addini("bpf_history", "the file of --bpf-history", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Cases(config), "ebpf-cases")
    if config.getoption("bpf_stats") or config.getoption("bpf_compare"):
        from pytest_ebpf.fixtures.veristat_output import check_options

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


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Kernel by kernel, so that each boots once."""
    if any("bpf_kernel" in getattr(item, "fixturenames", ()) for item in items):
        from pytest_ebpf.fixtures.kernel_matrix import give_fresh_guests, group_by_kernel

        give_fresh_guests(items)
        group_by_kernel(items, config=config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Unknown ``bpf_`` markers are errors; a feature that the kernel lacks skips the test."""
    uses_kernel = "bpf_kernel" in getattr(item, "fixturenames", ())
    if uses_kernel or any(mark.name.startswith("bpf_") for mark in item.iter_markers()):
        from pytest_ebpf.fixtures.setup import begin_test

        begin_test(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A feature that the kernel should have and lacks fails the test, and so does a program beyond its budget."""
    if item.get_closest_marker("bpf_feature"):
        from pytest_ebpf.fixtures.features import fail_if_lost

        fail_if_lost(item)
    yield
    if item.get_closest_marker("bpf_budget"):
        from pytest_ebpf.fixtures.budget import fail_if_over

        fail_if_over(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put verifier logs, consoles and the matrix record on the report."""
    if "bpf_kernel" not in getattr(item, "fixturenames", ()):
        return (yield)
    from pytest_ebpf.fixtures.reporting import annotate, shorten_traceback

    shorten_traceback(call, config=item.config)
    report = yield
    annotate(report, item=item, call=call)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
    """A lost guest is an error, not a failed assertion."""
    if getattr(report, "bpf_harness_error", "") and report.failed:
        return "error", "E", f"ERROR ({getattr(report, 'bpf_harness_error', '')})"
    return None


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The kernels, if the run names them; nothing otherwise."""
    if not config.getoption("bpf_kernels") and not config.getini("bpf_kernels"):
        return []
    from pytest_ebpf.fixtures.kernel_matrix import header

    return [header(config)]


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """The matrix, figures, baselines."""
    reports = [
        report for category in terminalreporter.stats.values() for report in category if hasattr(report, "bpf_record")
    ]
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
    from pytest_ebpf.fixtures.baseline import BpfBaseline

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
