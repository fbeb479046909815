"""unittest.TestCase beside the plugin: B2 of "the plugin tells the truth"."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.neighbours import TWO_COLUMNS, Neighbours

CASES = """
    import unittest
    import pytest
    def note(text):
        with open("log", "a") as file:
            file.write(text + "\\n")
    class Base(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            note(f"set up {cls.__name__}")
        @classmethod
        def tearDownClass(cls):
            note(f"torn down {cls.__name__}")
        @pytest.fixture(autouse=True)
        def _take(self, bpf, bpf_kernel):
            self.bpf, self.kernel = bpf, bpf_kernel
        def test_a(self):
            self.assertIn("police", self.bpf.load("config.bpf.o"))
            note(f"{type(self).__name__} a {self.kernel.id}")
        def test_b(self):
            note(f"{type(self).__name__} b {self.kernel.id}")
    class Derived(Base):
        def test_c(self):
            self.fail("no")
    class Coroutines(unittest.IsolatedAsyncioTestCase):
        @pytest.fixture(autouse=True)
        def _take(self, bpf_shared):
            self.bpf = bpf_shared
        async def test_d(self):
            async with self.bpf.load("config.bpf.o") as obj:
                self.assertIn("police", obj)
        @pytest.mark.bpf_kernel(">=6.12")
        async def test_e(self):
            pass
        @unittest.expectedFailure
        def test_f(self):
            self.fail("as expected")
        @unittest.skip("not now")
        def test_g(self):
            pass
    class Plain(unittest.TestCase):
        def test_h(self):
            pass
"""


@pytest.fixture
def run(
    pytester: pytest.Pytester, objects: Callable[..., None], neighbours: Neighbours
) -> Callable[..., pytest.RunResult]:
    """In columns 6.1, 6.12 and host."""
    objects("config")
    pytester.makeconftest(TWO_COLUMNS)
    pytester.makepyfile(test_it=CASES)
    return neighbours.run


Run = Callable[..., pytest.RunResult]


@pytest.mark.parametrize(
    "arguments",
    [(), ("--reruns=1",), ("-n2",), ("-n2", "--dist=loadgroup")],
    ids=["alone", "reruns", "xdist", "groups"],
)
def test_b2_methods_run_once_per_kernel(run: Run, pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    result = run(*arguments, plugins=("rerunfailures",) if "--reruns=1" in arguments else ())
    outcomes = {"passed": 4 * 3 + 3 + 2 + 1, "failed": 3, "xfailed": 3, "skipped": 3}
    assert {name: result.parseoutcomes().get(name, 0) for name in outcomes} == outcomes
    result.stdout.re_match_lines(
        [
            r" +6\.1 +6\.12 +host",
            r"  Base::test_a +✓ \d+ +✓ \d+ +✓ \d+",
            r"  Base::test_b +✓ +✓ +✓",
            r"  Derived::test_c +✗ +✗ +✗",
            r"  Coroutines::test_d +✓ \d+ +✓ \d+ +✓ \d+",
            r"  Coroutines::test_e +- +✓ +✓",
            r"  Coroutines::test_f +x +x +x",
            r"  Coroutines::test_g +s a +s a +s a",
        ],
        consecutive=False,
    )
    assert "FAILED test_it.py::Derived::test_c[6.12]" in result.stdout.str()
    boots = (pytester.path / "boots").read_text().splitlines()
    assert sorted(line.partition(" ")[0] for line in boots) == ["6.1", "6.12"], boots


def test_b2_each_kernel_sets_up_its_class(run: Run, pytester: pytest.Pytester) -> None:
    run("-k", "Base").assert_outcomes(passed=6, deselected=21)
    expected = []
    for kernel in ("6.1", "6.12", "host"):
        expected += ["set up Base", f"Base a {kernel}", f"Base b {kernel}", "torn down Base"]
    assert (pytester.path / "log").read_text().splitlines() == expected


@pytest.mark.parametrize(
    ("chosen", "passed"),
    [
        (["test_it.py::Base::test_a[6.12]"], 1),
        (["test_it.py::Base::test_a"], 3),
        (["test_it.py::Derived::test_a[host]", "test_it.py::Base::test_a[host]"], 2),
        (["-k", "6.12 and test_e"], 1),
    ],
)
def test_b2_methods_are_chosen_by_their_ids(run: Run, chosen: list[str], passed: int) -> None:
    assert run(*chosen).parseoutcomes()["passed"] == passed


def test_b2_with_one_kernel_ids_are_those_of_pytest(pytester: pytest.Pytester, objects: Callable[..., None]) -> None:
    objects("config")
    pytester.makepyfile(test_it=CASES)
    result = pytester.runpytest("--bpf-kernels=host", "-k", "Base", "-v")
    result.assert_outcomes(passed=2, deselected=8)
    result.stdout.fnmatch_lines(["test_it.py::Base::test_a PASSED*", "test_it.py::Base::test_b PASSED*"])
