"""pytest-xdist beside the plugin: B1 of "the plugin tells the truth"."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from pytest_ebpf.fixtures.neighbours.xdist_groups import kernel_in_id
from support.neighbours import TWO_COLUMNS, Neighbours

BODY = """
    import pytest
    @pytest.mark.parametrize("n", range(5))
    def test_a(bpf, n): bpf.load("config.bpf.o")
    @pytest.mark.parametrize("n", range(5))
    def test_b(n): pass
"""


@pytest.mark.parametrize(
    ("nodeid", "kernel"),
    [
        ("t.py::test_a[6.1]", "6.1"),
        ("t.py::test_a[6.12-x]", "6.12"),
        ("t.py::test_a[x-6.1-y]", "6.1"),
        ("t.py::test_a[6.1-x]@kernel-6.1", "6.1"),
        ("t.py::test_a[6.10]", ""),
        ("t.py::test_6.1", ""),
        ("t-6.1-x.py::test_a[x]", ""),
    ],
)
def test_b1_the_kernel_in_the_id_of_a_test(nodeid: str, kernel: str) -> None:
    assert kernel_in_id(nodeid, ["6.1", "6.12"]) == kernel


@pytest.mark.parametrize(
    "options", [["-n2", "--dist=loadgroup"], ["-n2"], ["--tx=2*popen", "--dist=load"]], ids=["loadgroup", "load", "tx"]
)
def test_b1_each_kernel_boots_once(
    pytester: pytest.Pytester, objects: Callable[..., None], neighbours: Neighbours, options: list[str]
) -> None:
    objects("config")
    pytester.makeconftest(TWO_COLUMNS)
    pytester.makepyfile(BODY)
    result = neighbours.run(*options)
    result.assert_outcomes(passed=20)
    boots = (pytester.path / "boots").read_text().splitlines()
    assert sorted(line.partition(" ")[0] for line in boots) == ["6.1", "6.12"], boots
    result.stdout.fnmatch_lines(["bpf kernels: *; the tests of a kernel run in one worker, and it boots once"])


def test_b1_a_worker_ends_a_kernel_after_the_first_test_of_the_next(
    pytester: pytest.Pytester, objects: Callable[..., None], neighbours: Neighbours
) -> None:
    objects("config")
    ends = """
    def retire(self, spec, guest=pool.PLAIN):
        if self.peek(spec, guest=guest) is not None:
            with open("boots", "a") as file:
                file.write(f"end of {spec}\\n")
            self.discard((spec, guest))
    pool.KernelPool.retire = retire
    """
    pytester.makeconftest(TWO_COLUMNS + ends)
    pytester.makepyfile(BODY)
    neighbours.run("-n1").assert_outcomes(passed=20)
    boots = [line.removesuffix(" gw0") for line in (pytester.path / "boots").read_text().splitlines()]
    assert boots == ["6.1", "6.12", "end of 6.1", "end of 6.12"], boots


def test_b1_other_distributions_say_what_they_cost(pytester: pytest.Pytester, neighbours: Neighbours) -> None:
    pytester.makepyfile("def test_a(bpf): pass")
    result = neighbours.run("-n2")
    result.stdout.fnmatch_lines(["bpf kernels: host*; each worker boots *--dist loadgroup boots each once"])


@pytest.mark.parametrize("distribution", ["load", "worksteal"])
def test_b1_the_matrix_has_the_order_of_collection(
    pytester: pytest.Pytester, neighbours: Neighbours, distribution: str
) -> None:
    """The first test of the file finishes last."""
    pytester.makepyfile(
        """
        import time, pytest
        @pytest.mark.parametrize("n", range(6))
        def test_a(bpf, n):
            time.sleep(0.5 if n == 0 else 0)
        """
    )
    result = neighbours.run("-n2", f"--dist={distribution}")
    result.assert_outcomes(passed=6)
    rows = re.findall(r"^  test_a\[(\d)\]", result.stdout.str(), re.M)
    assert rows == list("012345")


def test_b1_groups_of_the_user_stay_with_their_kernel(
    pytester: pytest.Pytester, objects: Callable[..., None], neighbours: Neighbours
) -> None:
    objects("config")
    pytester.makeconftest(TWO_COLUMNS)
    pytester.makepyfile(BODY.replace("def test_a", "@pytest.mark.xdist_group('mine')\n    def test_a"))
    neighbours.run("-n2", "--dist=loadgroup").assert_outcomes(passed=20)
    boots: Any = (pytester.path / "boots").read_text().splitlines()
    assert sorted(line.partition(" ")[0] for line in boots) == ["6.1", "6.12"], boots
