"""The output of a test program as its tests, whatever runner made it, and how it ended."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from pytest_ebpf.suites.case import FAILED, PASSED, SKIPPED, Case, SuiteRun, program_name
from pytest_ebpf.suites.golang import parse_go, parse_go_json
from pytest_ebpf.suites.libtest import parse_libtest, parse_libtest_json
from pytest_ebpf.suites.tap import parse_tap

__all__ = ["FORMATS", "add_unfinished", "detect_format", "read_suite"]

_KSFT_SKIP = 4  # the status of a kselftest program that does not apply
_LIBTEST = re.compile(r"^running \d+ tests?$", re.MULTILINE)
_NO_TESTS = re.compile(r'^running 0 tests$|^testing: warning: no tests to run$|"test_count": ?0\b', re.MULTILINE)
_GO = re.compile(r"^\x16?=== RUN |^testing: warning: no tests to run$", re.MULTILINE)
_TAP = re.compile(r"^(TAP version 1[34]|1\.\.\d+|(not )?ok \d+)", re.MULTILINE)
_OPEN = "it did not end"
_FIRST = 12  # lines of a panic
_TAIL = 2000  # characters of output that a test without a result shows


def _any_libtest(text: str) -> list[Case]:
    return parse_libtest_json(text) if '"type":' in text.replace(" ", "")[:4000] else parse_libtest(text)


def _any_go(text: str) -> list[Case]:
    return parse_go_json(text) if text.lstrip().startswith("{") else parse_go(text)


FORMATS: Mapping[str, Callable[[str], list[Case]]] = MappingProxyType(
    {"libtest": _any_libtest, "go": _any_go, "tap": parse_tap}
)


def detect_format(text: str) -> str:
    """The runner by what it prints; "" for a program that prints no results."""
    head = text.lstrip()
    if head.startswith("{"):
        return "go" if '"Action"' in head[:4000] else "libtest"
    if _LIBTEST.search(text):
        return "libtest"
    if _GO.search(text):
        return "go"
    return "tap" if _TAP.search(text) else ""


def read_suite(
    argv: Sequence[str], *, stdout: str, stderr: str = "", status: int = 0, format: str = "", hung: float = 0.0
) -> SuiteRun:
    """The tests of a program that printed this. ``status``: -N for signal N; ``hung``: after how many seconds it was
    killed. A program without results is one test, by its status, but for one that says that it has no tests; one that
    ended before its end has one more, failed."""
    name = format or detect_format(stdout)
    cases = FORMATS[name](stdout) if name else []
    ended = _ended(status, hung=hung)
    program = program_name(argv)
    shown = f"{stdout[-_TAIL:]}\n{stderr[-_TAIL:]}".strip()
    unfinished = [case for case in cases if case.outcome == FAILED and case.message.startswith(_OPEN)]
    if ended:
        cases = [_named(case, ended) if case in unfinished else case for case in cases]
        cases += [] if unfinished else [Case(program, FAILED, f"{ended}\n{shown}".strip())]
    elif not cases and not (status == 0 and name and _NO_TESTS.search(stdout)):
        outcome = SKIPPED if status == _KSFT_SKIP else FAILED if status else PASSED
        cases = [Case(program, outcome, shown if status else "")]
    elif status and unfinished:  # Go's runtime turns a signal or a panic into a status
        said = "\n".join(["", *stderr.strip().splitlines()[:_FIRST]])
        told = f"{_OPEN}: the program ended with status {status}"
        cases = [_named(case, told, after=said) if case in unfinished else case for case in cases]
    elif status and not any(case.outcome == FAILED for case in cases):
        cases += [Case(program, FAILED, f"every test passed, and it ended with status {status}\n{shown}".strip())]
    return SuiteRun(tuple(argv), tuple(_explained(cases, stderr)), ended)


def add_unfinished(run: SuiteRun, names: Sequence[str]) -> SuiteRun:
    """A run that a crash or a hang ended, with each test of ``names`` that has no result yet: with several threads
    libtest names a test when it is done, so the one to blame is among them."""
    known = {case.name for case in run.cases}
    missing = [name for name in names if name not in known]
    program = program_name(run.argv)
    whole = next((case for case in run.cases if case.name == program and case.message.startswith(run.ended)), None)
    if not missing or not run.ended:
        return run
    if whole is None:  # the runner has named the test to blame
        never = (Case(name, FAILED, f"not run: {run.ended}") for name in missing)
        return SuiteRun(run.argv, (*run.cases, *never), run.ended)
    among = f"; {len(missing)} tests had no result yet, --test-threads=1 tells which it was" if len(missing) > 1 else ""
    message = whole.message.replace(run.ended, f"{run.ended}{among}", 1)
    kept = tuple(case for case in run.cases if case is not whole)
    return SuiteRun(run.argv, (*kept, *(Case(name, FAILED, message) for name in missing)), run.ended)


def _explained(cases: list[Case], stderr: str) -> list[Case]:
    """A failure without a word gets what the program wrote to its standard error: Go's panics go there."""
    said = stderr.strip()[-_TAIL:]
    return [Case(c.name, c.outcome, said, c.seconds) if c.outcome == FAILED and not c.message else c for c in cases]


def _named(case: Case, ended: str, *, after: str = "") -> Case:
    return Case(case.name, FAILED, case.message.replace(_OPEN, ended, 1) + after, case.seconds)


def _ended(status: int, *, hung: float) -> str:
    if hung:
        return f"it hung: killed after {hung:g} s"
    number = -status if status < 0 else status - 128 if status > 128 else 0
    try:
        return f"it crashed: {signal.Signals(number).name}" if number else ""
    except ValueError:
        return ""
