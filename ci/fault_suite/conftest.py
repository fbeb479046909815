"""Faults done by tests of the suite: each at its moment, and a line of JSON for each phase of each test."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_ebpf.agent.ops import Describe, Spawn
from support.fault_cases import CASES, Case

SOON = 0.3
SHELL = "/bin/sh"


class Fault:
    """One case at one moment, on the kernel of the test."""

    def __init__(self, case: Case, moment: str, *, kernel: Any, vm: Any) -> None:
        self.case, self.moment = case, moment
        self._running, self._vm = kernel.running, vm

    def at(self, moment: str) -> None:
        """Do it, if this is its moment, and let it take effect."""
        if moment != self.moment:
            return
        if self.case.host:
            self._signal()
        elif self.case.ends_the_guest:
            self._vm.run(["setsid", "-f", SHELL, "-c", f"sleep {SOON}; {self._script()}"], check=True)
            self._wait()
        else:
            self._vm.run([SHELL, "-c", self._script()], cwd=Path.cwd())

    def during(self, moment: str, ops: list[Any]) -> None:
        """Do it while ``ops`` run, if this is its moment."""
        if moment != self.moment:
            return
        if not self.case.host and not self.case.ends_the_guest:
            self.at(moment)
            return
        if self.case.host:
            self._signal()
        else:
            self._vm.run(["setsid", "-f", SHELL, "-c", f"sleep {SOON}; {self._script()}"], check=True)
        self._running.kernel.run(ops)

    def _script(self) -> str:
        agent = self._running.kernel.hello.pid
        return self.case.script.replace("{agent}", str(agent))

    def _signal(self) -> None:
        os.kill(self._running.machine.pid, signal.Signals[f"SIG{self.case.host}"])
        self._wait()

    def _wait(self) -> None:
        limit = time.monotonic() + 2 + SOON
        while self._running.machine.alive() and time.monotonic() < limit:
            time.sleep(0.05)


@pytest.fixture
def fault(request: pytest.FixtureRequest, bpf_kernel: Any, bpf_vm: Any) -> Iterator[Fault]:
    """The case of the test. The first try only: what is tried again is left alone."""
    case, moment = request.param
    again = request.node.stash.setdefault(_DONE, [])
    fault = Fault(case, "" if again else moment, kernel=bpf_kernel, vm=bpf_vm)
    again.append(moment)
    yield fault
    fault.at("teardown")


_DONE = pytest.StashKey[list[str]]()


def rows() -> list[tuple[Case, str]]:
    """The cases of this run, each with a moment."""
    short = bool(os.environ.get("FAULTS_SHORT"))
    words = os.environ.get("FAULTS_WORDS", "").split()
    return [
        (case, moment)
        for case in CASES
        for moment in (case.moments[-1:] if short else case.moments)
        if not (short and case.slow) and all(word in f"{case.name} {moment}" for word in words)
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [f"{case.name}, {moment}" for case, moment in rows()]
    if "fault" in metafunc.fixturenames:
        metafunc.parametrize("fault", rows(), ids=names, indirect=True)
    elif "behind" in metafunc.fixturenames:
        metafunc.parametrize("behind", names)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what a machine should be like, then each fault with its witness."""
    first = [item for item in items if item.name.startswith("test_first")]
    faults = [item for item in items if item.name.startswith("test_fault")]
    witnesses = [item for item in items if item.name.startswith("test_witness")]
    items[:] = [*first, *(item for pair in zip(faults, witnesses, strict=True) for item in pair)]


@pytest.fixture(scope="session")
def state() -> dict[str, str]:
    """What a machine is like before any fault."""
    return {}


def pytest_runtest_logreport(report: Any) -> None:
    line = {
        "test": report.nodeid.partition("::")[2],
        "when": report.when,
        "outcome": report.outcome,
        "kind": str(getattr(report, "bpf_record", {}).get("kind", "")) if report.outcome == "failed" else "",
        "flaky": str(getattr(report, "bpf_flaky", "") or getattr(report, "bpf_retried", "")),
        "text": report.longreprtext if report.outcome != "passed" else "",
    }
    with Path(os.environ["FAULTS_OUT"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


BATCH = [Describe(), Spawn(("/bin/sleep", "4"), timeout=9.0), Describe()]
CALL = [Spawn(("/bin/sleep", "4"), timeout=9.0)]


@pytest.fixture
def calls() -> dict[str, list[Any]]:
    return {"in a call": CALL, "in a batch": BATCH}
