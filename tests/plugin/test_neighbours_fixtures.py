"""unittest, getfixturevalue, own parametrisation, Hypothesis and pytest-timeout: B2 and B4."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis.internal.conjecture import junkdrawer

from support.neighbours import Neighbours

Objects = Callable[..., None]

OTHER_WAYS = """
    import unittest
    import pytest
    class TestCase(unittest.TestCase):
        @pytest.fixture(autouse=True)
        def _take(self, bpf):
            self.bpf = bpf
        def test_a(self):
            self.assertIn("police", self.bpf.load("config.bpf.o"))
        def test_b(self):
            self.fail("no")
    def test_later(request):
        assert "police" in request.getfixturevalue("bpf").load("config.bpf.o")
    def test_later_fails(request):
        request.getfixturevalue("bpf")
        assert False
"""


def test_b2_unittest_and_getfixturevalue_are_in_the_matrix(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config")
    pytester.makepyfile(OTHER_WAYS)
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.re_match_lines(
        [
            r"  TestCase::test_a +✓ \d+",
            r"  TestCase::test_b +✗",
            r"  test_later +✓ \d+",
            r"  test_later_fails +✗",
            r"host .* ✓ 2  ✗ 2$",
        ]
    )


def test_b2_getfixturevalue_says_so_where_there_are_several_kernels(
    pytester: pytest.Pytester, objects: Objects
) -> None:
    objects("config")
    pytester.makepyfile(OTHER_WAYS)
    result = pytester.runpytest("--bpf-kernels=host,6.1", "-k", "later")
    result.assert_outcomes(failed=2, deselected=4)
    result.stdout.fnmatch_lines(["*cannot run this test once per kernel of the matrix (host, 6.1)*"])
    assert "AttributeError" not in result.stdout.str()


def test_b2_a_test_that_names_its_kernels(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config")
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("bpf_kernel", ["host"], indirect=True)
        def test_a(bpf): bpf.load("config.bpf.o")
        @pytest.mark.parametrize("bpf_kernel", ["hst"], indirect=True)
        def test_b(bpf): pass
        @pytest.mark.parametrize("bpf_kernel", [6.1], indirect=True)
        def test_c(bpf): pass
        @pytest.mark.parametrize("bpf_kernel", ["host"])
        def test_d(bpf): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(passed=1, errors=3)
    text = result.stdout.str()
    assert 'expected a kernel such as "host" or "6.1", got 6.1' in text
    assert "which is no kernel" in text
    assert "AttributeError" not in text
    result.stdout.re_match_lines([r"  test_a +✓ \d+"])


def test_b2_a_wrong_budget_is_one_message(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bpf_budget(insn=3)
        def test_a(bpf): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(errors=1)
    assert "During handling" not in result.stdout.str()
    result.stdout.fnmatch_lines(["bpf_budget: no budget for 'insn'", "did you mean insns?*"])


LOST = """
    import os, signal
    import pytest
    import pytest_ebpf.kernels.pool as pool
    from pytest_ebpf.kernels.host import open_agent_kernel
    from pytest_ebpf.kernels.running import GuestState, RunningKernel
    def open_host(self):
        state = GuestState()
        kernel = open_agent_kernel(name="host")
        told = kernel._on_lost
        def lost(loss):
            state.loss = told(loss)
            return state.loss
        kernel._on_lost = lost
        running = RunningKernel("host", kernel=kernel, accel="agent", state=state, cache=self._config.cache)
        running.agent = kernel._stream.pid
        return running
    pool.KernelPool._open_host = open_host
"""


def test_b2_fixtures_of_a_module_are_made_anew_after_a_loss(
    pytester: pytest.Pytester, objects: Objects, neighbours: Neighbours
) -> None:
    objects("config")
    pytester.makeconftest(LOST)
    pytester.makepyfile(
        """
        import os, signal
        import pytest
        @pytest.fixture(scope="module")
        def obj(bpf_shared):
            return bpf_shared.load("config.bpf.o")
        def test_a(obj): obj["police"].run(bytes(64))
        def test_lost(obj, bpf_kernel):
            os.kill(bpf_kernel.running.agent, signal.SIGKILL)
            obj["police"].run(bytes(64))
        def test_b(obj): obj["police"].run(bytes(64))
        def test_c(obj): obj["police"].run(bytes(64))
        """
    )
    result = neighbours.run("--bpf-cache-dir=cache")
    result.stdout.re_match_lines([r"  test_a +✓ \d+", r"  test_lost +E", r"  test_b +✓ \d+", r"  test_c +✓"])


def test_b2_after_a_timeout_nobody_waits_for_the_guest(
    pytester: pytest.Pytester, objects: Objects, neighbours: Neighbours
) -> None:
    """The command goes on for ten minutes; what follows its test neither waits for it nor is lost."""
    objects("config")
    pytester.makeconftest(LOST)
    pytester.makepyfile(
        """
        import pytest
        def test_a(bpf, bpf_vm):
            bpf.load("config.bpf.o")
            bpf_vm.run(["sleep", "600"], timeout=600)
        def test_b(bpf): bpf.load("config.bpf.o")
        """
    )
    result = neighbours.run("--timeout=3", "--timeout-method=signal", "--bpf-cache-dir=cache", plugins=("timeout",))
    assert result.duration < 300
    result.stdout.re_match_lines([r"E +Failed: Timeout.*", r"  test_a +[✗E]", r"  test_b +✓ \d+"])
    assert "pytest_ebpf/plugin.py" not in result.stdout.str()


def test_b2_a_timeout_that_ends_pytest_leaves_no_agent(
    pytester: pytest.Pytester, objects: Objects, neighbours: Neighbours
) -> None:
    """The method "thread" ends the process without any teardown; what it started for its kernel ends too."""
    objects("config")
    pytester.makeconftest(LOST)
    pytester.makepyfile(
        """
        def test_a(bpf, bpf_vm, bpf_kernel):
            bpf.load("config.bpf.o")
            with open("agent", "w") as file:
                file.write(str(bpf_kernel.running.agent))
            bpf_vm.run(["sleep", "600"], timeout=600)
        def test_b(bpf): bpf.load("config.bpf.o")
        """
    )
    result = neighbours.run("--timeout=3", "--timeout-method=thread", "--bpf-cache-dir=cache", plugins=("timeout",))
    assert result.duration < 300
    assert result.ret == 1
    text = result.stdout.str() + result.stderr.str()
    assert "Timeout" in text
    agent = (pytester.path / "agent").read_text()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{agent}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{agent}").exists()


GIVEN = """
    import time
    import pytest
    from hypothesis import given, settings, strategies as st
    import pytest_ebpf.live.loader as loader
    load = loader.Bpf.load
    def slowly(self, *args, **options):
        time.sleep(1.5)
        return load(self, *args, **options)
    loader.Bpf.load = slowly
    @given(st.binary(min_size=64, max_size=64))
    @settings(max_examples=5, deadline=300, database=None)
    def test_in_the_body(bpf_shared, data):
        bpf_shared.load("config.bpf.o")["police"].run(data)
    @pytest.fixture(scope="module")
    def police(bpf_shared):
        return bpf_shared.load("config.bpf.o", globals={"budget": 7})["police"]
    @given(st.binary(min_size=64, max_size=64))
    @settings(max_examples=5, deadline=300, database=None)
    def test_in_a_fixture(police, data):
        police.run(data)
"""


def test_b4_a_load_is_outside_the_deadline_of_hypothesis(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config")
    pytester.makepyfile(GIVEN)
    counted = [] if hasattr(junkdrawer, "_gc_cumulative_time") else ["-k", "in_a_fixture"]  # older ones count all
    result = pytester.runpytest_subprocess("--bpf-kernels=host", *counted)
    result.assert_outcomes(passed=1 if counted else 2, deselected=len(counted) // 2)


def test_b2_frames_of_the_product_are_not_in_health_checks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from hypothesis import given, strategies as st
        @given(st.integers().filter(lambda n: False))
        def test_a(bpf_shared, n): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "pytest_ebpf/plugin.py" not in text
    assert "pytest_ebpf/fixtures" not in text
