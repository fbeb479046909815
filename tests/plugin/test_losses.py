"""A lost guest is an error of the test that ran last, at any moment (issue 14: A1, A2, A4). The guests here are agents
in processes of this machine; ci/losses does the same with kernels."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.fake_guests import FakeGuests, Fate, install
from support.paths import ROOT

Run = Callable[..., pytest.RunResult]

LOST = """
    import os, pytest
    from pytest_ebpf.agent.ops import Describe, Spawn
    def test_before(bpf, bpf_kernel):
        assert bpf_kernel.running.kernel.run([Describe()])
    def test_lost(bpf_vm, bpf_kernel, at, torn_down):
        kernel = bpf_kernel.running.kernel
        kernel.run([Describe()])
        at("between calls")
        kernel.run([Describe()])
        at("behind the last call")
    def test_after(bpf, bpf_kernel):
        assert bpf_kernel.running.kernel.run([Describe()])
"""
MOMENTS = ["between calls", "behind the last call", "teardown", "between tests"]


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> FakeGuests:
    return install(monkeypatch.setattr)


@pytest.fixture
def run(pytester: pytest.Pytester, guests: FakeGuests) -> Run:
    """Run tests in guests of which the first is lost."""

    def run(tests: str, *arguments: str, how: str = "panic", at: str = "") -> pytest.RunResult:
        pytester.makepyfile(test_it=tests)
        fate = Fate(guests, how=how, at=at)
        result = pytester.runpytest_inprocess(
            "--bpf-kernels=6.1", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments, plugins=[fate]
        )
        result.stdout.no_fnmatch_line("*INTERNALERROR*")
        return result

    return run


@pytest.mark.parametrize("at", MOMENTS)
@pytest.mark.parametrize("how", ["panic", "closed", "hang"])
def test_a1_a_loss_is_an_error_of_the_test_that_ran_last(run: Run, guests: FakeGuests, how: str, at: str) -> None:
    result = run(LOST, how=how, at=at)
    counted = at in ("teardown", "between tests")  # its call had passed
    result.assert_outcomes(passed=3 if counted else 2, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*ERROR at * of test_lost*", f"console: {how}"])
    result.stdout.no_fnmatch_line("booted")  # the console before the test began
    result.stdout.re_match_lines([r"  test_before +✓", r"  test_lost +E", r"  test_after +✓"])
    assert guests.boots == 2


@pytest.mark.parametrize("how", ["panic", "closed", "hang"])
def test_a1_at_the_end_of_the_session(run: Run, how: str) -> None:
    result = run(LOST, how=how, at="session end")
    result.assert_outcomes(passed=3, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_after*"])


@pytest.mark.parametrize("at", [*MOMENTS, "session end"])
def test_a4_qemu_ended_from_outside_is_flaky(run: Run, guests: FakeGuests, at: str) -> None:
    result = run(LOST, how="killed", at=at)
    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes() == {"passed": 3, "flaky": 1}
    name = "test_after" if at == "session end" else "test_lost"
    result.stdout.re_match_lines([rf"  {name} +f", r"f flaky.*", rf"f 6.1  {name}: .*QEMU was killed by.*"])
    assert guests.boots == (1 if at == "session end" else 2)


def test_a4_a_second_infrastructure_error_counts(run: Run, guests: FakeGuests) -> None:
    """Nothing but infrastructure failed: exit status 6."""
    guests.fail_next = 9
    result = run("def test_a(bpf): pass\ndef test_b(bpf): pass\ndef test_c(): pass")
    result.assert_outcomes(passed=1, errors=2)
    assert result.ret == 6
    assert guests.boots == 2  # the second error is kept


def test_a4_one_failed_boot_is_flaky(run: Run, guests: FakeGuests) -> None:
    guests.fail_next = 1
    result = run("def test_a(bpf): pass\ndef test_b(bpf): pass")
    assert (result.ret, result.parseoutcomes()) == (0, {"passed": 2, "flaky": 1})


def test_a4_with_another_failure_the_status_is_that_of_failed_tests(run: Run, guests: FakeGuests) -> None:
    guests.fail_next = 9
    assert run("def test_a(bpf): pass\ndef test_b(): assert 0").ret == 1


SATISFIED = """
    import pytest
    from pytest_ebpf.agent.ops import Describe
    @pytest.mark.xfail(reason="known")
    def test_xfail(bpf, bpf_kernel, at):
        at("between calls")
        bpf_kernel.running.kernel.run([Describe()])
"""
CAUGHT = """
    import pytest
    from pytest_ebpf.agent.ops import Describe
    def test_caught(bpf_vm, bpf_kernel, at):
        kernel = bpf_kernel.running.kernel
        at("between calls")
        with pytest.raises(Exception):
            kernel.run([Describe()])
        assert bpf_kernel.running.kernel is not kernel  # a new guest meanwhile
    def test_rejects(bpf, bpf_kernel):
        pass
"""
REJECTS = """
    def test_rejects(bpf, bpf_kernel, at):
        at("between calls")
        try:
            with bpf.rejects():
                bpf.load("config.bpf.o")
        except BaseException:
            pass
"""


@pytest.mark.parametrize("tests", [SATISFIED, CAUGHT, REJECTS], ids=["xfail", "raises", "rejects"])
@pytest.mark.parametrize("how", ["panic", "hang"])
def test_a2_a_lost_guest_satisfies_nothing(run: Run, tests: str, how: str, objects: Callable[..., None]) -> None:
    objects("config")
    result = run(tests, how=how, at="between calls")
    assert result.parseoutcomes().get("errors") == 1
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*GuestLost: kernel 6.1 was lost*"])


def test_a1_what_a_module_holds_is_set_up_again_in_the_fresh_guest(run: Run) -> None:
    result = run(
        """
        import pytest
        from pytest_ebpf.agent.ops import Describe
        @pytest.fixture(scope="module")
        def held(bpf_kernel):
            return bpf_kernel.running.kernel
        def test_lost(held, at):
            at("between calls")
            held.run([Describe()])
        def test_next(held):
            held.run([Describe()])
        """,
        at="between calls",
    )
    result.assert_outcomes(passed=1, errors=1)


def test_a4_a_panic_is_never_tried_again(run: Run, guests: FakeGuests) -> None:
    result = run("def test_a(bpf, at): at('behind the last call')", at="behind the last call")
    result.assert_outcomes(errors=1)
    assert guests.boots == 1


def test_a4_quarantine_until_a_date(run: Run) -> None:
    result = run(
        """
        import pytest
        @pytest.mark.bpf_quarantine(reason="issue 7", expires="2999-01-01")
        def test_excused(bpf): assert 1 == 2
        @pytest.mark.bpf_quarantine(reason="issue 7", expires="2020-01-01")
        def test_over(bpf): assert 1 == 2
        @pytest.mark.bpf_quarantine(reason="issue 7", expires="2999-01-01")
        def test_passes(bpf): pass
        @pytest.mark.bpf_quarantine(reason="issue 7")
        def test_endless(bpf): pass
        """
    )
    assert result.parseoutcomes() == {"passed": 1, "failed": 1, "errors": 1, "quarantined": 1}
    result.stdout.re_match_lines(
        [
            r"  test_excused +q",
            r"  test_over +✗",
            r"  test_passes +✓",
            r"  test_endless +E",
            r"q 6.1  test_excused: until 2999-01-01: issue 7",
        ]
    )
    result.stdout.fnmatch_lines(["*a quarantine has a reason and an end: bpf_quarantine(*"])


def test_a4_a_session_of_quarantined_failures_passes(run: Run) -> None:
    result = run(
        """
        import pytest
        pytestmark = pytest.mark.bpf_quarantine(reason="panics now and then", expires="2999-01-01")
        def test_lost(bpf_vm, at): at("behind the last call")
        """,
        at="behind the last call",
    )
    assert result.ret == pytest.ExitCode.OK


def test_a1_under_xdist(run: Run, guests: FakeGuests, pytester: pytest.Pytester) -> None:
    """A worker reports a loss between two tests too."""
    pytester.makeconftest(
        f"""
        import sys
        sys.path.insert(0, {str(ROOT / "tests")!r})
        from support.fake_guests import Fate, install
        def pytest_configure(config):
            if hasattr(config, "workerinput"):
                config.pluginmanager.register(Fate(install(setattr), how="panic", at="between tests"))
        """
    )
    pytester.makepyfile(test_it=LOST)
    result = pytester.runpytest_subprocess("--bpf-kernels=6.1", "-n1", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_lost*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a6_a_forked_child_has_no_use_of_its_parents_guest(run: Run) -> None:
    result = run(
        """
        import os
        from pytest_ebpf import BpfUsageError
        def test_fork(bpf_vm):
            child = os.fork()
            if child == 0:
                try:
                    bpf_vm.run(["true"])
                except BpfUsageError:
                    os._exit(7)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            bpf_vm.run(["true"]).check()
        """
    )
    result.assert_outcomes(passed=1)
