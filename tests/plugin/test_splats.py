"""Warnings of the kernel fail the test during which they appear (issue 14, A3). The log is scripted here; ci/losses and
tests/vm have real ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_ebpf.agent.ops import Kmsg, KmsgSince
from pytest_ebpf.agent.protocol.execute import EXECUTE
from support.kernel_log import Log

Run = Callable[[str], pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Tests with a fixture ``log``, whose ``warn()`` lets the kernel warn."""
    log = Log()
    monkeypatch.setitem(EXECUTE, KmsgSince, log.read)

    class Plugin:
        @pytest.fixture
        def log(self) -> Log:
            return log

        def pytest_runtest_logfinish(self, nodeid: str) -> None:
            if "test_warns_later" in nodeid:
                log.warn()

    def run(tests: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=tests)
        result = pytester.runpytest_inprocess("--bpf-kernels=host", "-p", "no:cacheprovider", plugins=[Plugin()])
        result.stdout.no_fnmatch_line("*INTERNALERROR*")
        return result

    return run


def test_a3_a_warning_fails_the_test_during_which_it_appears(run: Run) -> None:
    result = run(
        """
        import pytest
        def test_before(bpf): pass
        def test_warns(bpf, log): log.warn()
        def test_after(bpf): pass
        @pytest.mark.xfail
        def test_expected(bpf, log):
            log.warn()
            assert 0
        @pytest.fixture
        def late(bpf, log):
            yield
            log.warn()
        def test_torn_down(late): pass
        """
    )
    assert result.parseoutcomes() == {"passed": 3, "failed": 2, "errors": 1}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.re_match_lines(
        [
            r"_+ test_warns\[host\] _+",
            r"kernel host warned during this test: watchdog: BUG: soft lockup - CPU#0 stuck for 4s! \[python3:312\]",
            r"-+ kernel log of host -+",
            r"\[   10.000001\] watchdog: BUG: soft lockup.*",
            r"\[   10.000002\] Call Trace:",
            r"  test_before +✓",
            r"  test_warns +✗",
            r"  test_after +✓",
            r"  test_expected +✗",
            r"  test_torn_down +E",
        ]
    )


def test_a3_between_two_tests_it_is_the_first_one_that_errs(run: Run) -> None:
    result = run("def test_warns_later(bpf): pass\ndef test_next(bpf): pass")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_warns_later*"])
    result.stdout.re_match_lines([r"  test_warns_later +E", r"  test_next +✓"])


def test_a3_only_what_the_kernel_itself_says_counts(run: Run) -> None:
    run("def test_writes(bpf, log): log.warn(facility=1)").assert_outcomes(passed=1)


def test_a3_a_known_warning_may_be_allowed_up_to_a_date(run: Run) -> None:
    result = run(
        """
        import pytest
        known = pytest.mark.bpf_allow_splat("soft lockup", reason="issue 7")
        @known
        def test_known(bpf, log): log.warn()
        @pytest.mark.bpf_allow_splat("soft lockup", reason="issue 7", expires="2999-01-01")
        def test_in_time(bpf, log): log.warn()
        @pytest.mark.bpf_allow_splat("soft lockup", reason="issue 7", expires="2020-01-01")
        def test_over(bpf, log): log.warn()
        @pytest.mark.bpf_allow_splat("refcount", reason="issue 7")
        def test_another(bpf, log): log.warn()
        @pytest.mark.bpf_allow_splat("(", reason="issue 7")
        def test_wrong(bpf, log): pass
        @pytest.mark.bpf_allow_splat("x", reason="issue 7", expires="soon")
        def test_no_date(bpf, log): pass
        @pytest.mark.bpf_allow_splat("x")
        def test_no_reason(bpf, log): pass
        """
    )
    assert result.parseoutcomes() == {"passed": 2, "failed": 2, "errors": 3}
    result.stdout.fnmatch_lines(
        [
            "bpf_allow_splat('('): missing ), unterminated subpattern at position 0",
            "expires='soon' is not a date such as \"2027-06-30\":*",
            "bpf_allow_splat needs a reason:*",
            "*bpf_allow_splat allowed this until 2020-01-01*",
        ],
    )


def test_a3_a_log_that_may_not_be_read_fails_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(op: KmsgSince, batch: object) -> Kmsg:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setitem(EXECUTE, KmsgSince, refused)
    run("def test_a(bpf): pass\ndef test_b(bpf): pass").assert_outcomes(passed=2)
