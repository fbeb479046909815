"""Test programs of other languages, run on a machine: their tests and how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.machine.commands import Commands, RunOptions
from pytest_ebpf.live.machine.results import CommandTimeoutError
from pytest_ebpf.suggest import did_you_mean
from pytest_ebpf.suites.case import SuiteRun
from pytest_ebpf.suites.read import FORMATS, read_suite

__all__ = ["SuiteFormat", "run_suite"]

SuiteFormat: TypeAlias = Literal["", "libtest", "go", "tap"]
_PATIENCE = 60.0  # seconds for a whole program, longer where the CPU is emulated


def run_suite(commands: Commands, argv: Sequence[str], *, format: str, options: RunOptions) -> SuiteRun:
    """Run a test program to its end, or until it takes too long. ``BpfUsageError`` for an unknown format."""
    if format and format not in FORMATS:
        raise BpfUsageError(f"format={format!r}: unknown format of test results", hint=did_you_mean(format, FORMATS))
    given: RunOptions = {"timeout": _PATIENCE, **options, "check": False}
    try:
        done = commands.run(argv, **given)
    except CommandTimeoutError as error:
        stdout, stderr = (data.decode(errors="replace") for data in (error.stdout, error.stderr))
        return read_suite(argv, stdout=stdout, stderr=stderr, format=format, hung=given["timeout"])
    stderr = done.stderr.decode(errors="replace")
    return read_suite(argv, stdout=done.text, stderr=stderr, status=done.returncode, format=format)
