"""What a test program of another language said about each of its tests."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_ebpf.frozen import dataclass

__all__ = ["FAILED", "PASSED", "SKIPPED", "Case", "SuiteRun", "program_name"]

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
_BUILD = re.compile(r"-[0-9a-f]{16}$")


def program_name(argv: Sequence[str]) -> str:
    """What a program is called: its file, without the hash that cargo puts behind it, which each build may change."""
    return _BUILD.sub("", argv[0].rpartition("/")[2]) if argv else "program"


@dataclass(frozen=True, slots=True)
class Case:
    """One test. ``outcome``: "passed", "failed" or "skipped"; ``message``: what it printed, or why it was skipped or
    did not end; ``seconds``: as it says itself, 0 where it does not."""

    name: str
    outcome: str
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """The tests of one run of a program. ``ended``: "" when it ended by itself, else "it crashed: SIGSEGV"."""

    argv: tuple[str, ...]
    cases: tuple[Case, ...]
    ended: str = ""

    @property
    def failed(self) -> tuple[Case, ...]:
        """The tests that failed, those that a crash or a hang ended included."""
        return tuple(case for case in self.cases if case.outcome == FAILED)

    def check(self) -> SuiteRun:
        """Itself, or ``AssertionError`` that names the tests that failed."""
        if self.failed:
            raise AssertionError(_render_failures(self.argv, self.cases))
        return self

    def __getitem__(self, name: str) -> Case:
        """The test of that name. KeyError names those that are there."""
        for case in self.cases:
            if case.name == name:
                return case
        raise KeyError(f"{name}: there are {', '.join(case.name for case in self.cases)}")


def _render_failures(argv: Sequence[str], cases: Sequence[Case]) -> str:
    """``2 of 5 tests of ./suite failed``, and each with the end of what it printed."""
    failed = [case for case in cases if case.outcome == FAILED]
    lines = [f"{len(failed)} of {len(cases)} tests of {' '.join(argv)} failed"]
    for case in failed:
        lines.append(f"  {case.name}")
        lines += [f"    {line}" for line in case.message.strip().splitlines()[-12:]]
    return "\n".join(lines)
