"""Test programs of other languages, run on a machine: their tests and how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.machine.commands import Commands, RunOptions
from pytest_ebpf.live.machine.results import CommandTimeoutError
from pytest_ebpf.suggest import did_you_mean
from pytest_ebpf.suites.case import SuiteRun
from pytest_ebpf.suites.libtest import parse_libtest_list
from pytest_ebpf.suites.read import FORMATS, add_unfinished, detect_format, read_suite

__all__ = ["SuiteFormat", "run_suite"]

SuiteFormat: TypeAlias = Literal["", "libtest", "go", "tap"]
_PATIENCE = 60.0  # seconds for a whole program, longer where the CPU is emulated
_LISTING = 10.0  # seconds for the list of its tests


def run_suite(commands: Commands, argv: Sequence[str], *, format: str, options: RunOptions) -> SuiteRun:
    """Run a test program to its end, or until it takes too long. ``BpfUsageError`` for an unknown format."""
    if format and format not in FORMATS:
        raise BpfUsageError(f"format={format!r}: unknown format of test results", hint=did_you_mean(format, FORMATS))
    given: RunOptions = {"timeout": _PATIENCE, **options, "check": False}
    status, hung = 0, 0.0
    try:
        done = commands.run(argv, **given)
        status, written = done.returncode, (done.stdout, done.stderr)
    except CommandTimeoutError as error:
        hung, written = given["timeout"], (error.stdout, error.stderr)
    stdout, stderr = (data.decode(errors="replace") for data in written)
    run = read_suite(argv, stdout=stdout, stderr=stderr, status=status, format=format, hung=hung)
    if run.ended and (format or detect_format(stdout)) == "libtest":
        return add_unfinished(run, _tests_of(commands, argv, options=given))
    return run


def _tests_of(commands: Commands, argv: Sequence[str], *, options: RunOptions) -> list[str]:
    """The tests that a binary of libtest would run, as it lists them; none when it does not."""
    listed = [*argv, "--list"]
    ignored = {"--ignored", "--include-ignored"}.isdisjoint(argv)
    not_run = _listed(commands, [*listed, "--ignored"], options=options) if ignored else []
    return [name for name in _listed(commands, listed, options=options) if name not in not_run]


def _listed(commands: Commands, argv: Sequence[str], *, options: RunOptions) -> list[str]:
    given: RunOptions = {**options, "timeout": _LISTING}
    try:
        done = commands.run(argv, **given)
    except CommandTimeoutError:
        return []
    return parse_libtest_list(done.text) if done.returncode == 0 else []
