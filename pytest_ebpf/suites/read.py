"""The output of a test program as its tests, whatever runner made it, and how it ended."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from pytest_ebpf.suites.case import FAILED, PASSED, SKIPPED, Case, SuiteRun
from pytest_ebpf.suites.golang import parse_go, parse_go_json
from pytest_ebpf.suites.libtest import parse_libtest, parse_libtest_json
from pytest_ebpf.suites.tap import parse_tap

__all__ = ["FORMATS", "detect_format", "read_suite"]

_KSFT_SKIP = 4  # the status of a kselftest program that does not apply
_LIBTEST = re.compile(r"^running \d+ tests?$", re.MULTILINE)
_GO = re.compile(r"^\x16?=== RUN ", re.MULTILINE)
_TAP = re.compile(r"^(TAP version 1[34]|1\.\.\d+|(not )?ok \d+)", re.MULTILINE)
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
    killed. A program without results is one test, by its status; one that ended before its end has one more, failed."""
    name = format or detect_format(stdout)
    cases = FORMATS[name](stdout) if name else []
    ended = _ended(status, hung=hung)
    program = argv[0].rpartition("/")[2] if argv else "program"
    shown = f"{stdout[-_TAIL:]}\n{stderr[-_TAIL:]}".strip()
    if ended:
        unfinished = [case for case in cases if case.outcome == FAILED and case.message.startswith("it did not end")]
        cases = [_named(case, ended) if case in unfinished else case for case in cases]
        cases += [] if unfinished else [Case(program, FAILED, f"{ended}\n{shown}".strip())]
    elif not cases:
        outcome = SKIPPED if status == _KSFT_SKIP else FAILED if status else PASSED
        cases = [Case(program, outcome, shown if status else "")]
    elif status and not any(case.outcome == FAILED for case in cases):
        cases += [Case(program, FAILED, f"every test passed, and it ended with status {status}\n{shown}".strip())]
    return SuiteRun(tuple(argv), tuple(_explained(cases, stderr)), ended)


def _explained(cases: list[Case], stderr: str) -> list[Case]:
    """A failure without a word gets what the program wrote to its standard error: Go's panics go there."""
    said = stderr.strip()[-_TAIL:]
    return [Case(c.name, c.outcome, said, c.seconds) if c.outcome == FAILED and not c.message else c for c in cases]


def _named(case: Case, ended: str) -> Case:
    return Case(case.name, FAILED, case.message.replace("it did not end", ended, 1), case.seconds)


def _ended(status: int, *, hung: float) -> str:
    if hung:
        return f"it hung: killed after {hung:g} s"
    number = -status if status < 0 else status - 128 if status > 128 else 0
    try:
        return f"it crashed: {signal.Signals(number).name}" if number else ""
    except ValueError:
        return ""
