"""A run of pytest that loses its first guest, in one of four ways at one of seven moments, and what has to come of it.

Each loss is real: a crash by sysrq, an agent that is stopped or killed in the guest, a QEMU that is killed. ci/losses
runs all on several kernels, tests/vm some.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.paths import ROOT

__all__ = ["MOMENTS", "WAYS", "Loss", "run", "wrong"]

WAYS = ("panic", "hang", "killed", "closed")
MOMENTS = ("boot", "between calls", "in a call", "in a batch", "behind the last call", "teardown", "session end")

CONFTEST = """
import os, signal, threading, time
import pytest
import pytest_ebpf.kernels.boot as boot
import pytest_ebpf.vm.guest.machine as machine
from pytest_ebpf.agent.ops import Spawn
HOW, AT, SOON = os.environ["LOSE_HOW"], os.environ["LOSE_AT"], 0.3
guests = []

def script(kernel):
    agent = kernel.hello.pid
    return {"panic": "echo c >/proc/sysrq-trigger", "hang": f"kill -STOP {agent}", "closed": f"kill -KILL {agent}"}[HOW]

def lose_soon():
    running = guests[0]
    if HOW == "killed":
        threading.Timer(SOON, os.kill, (running.machine.pid, signal.SIGKILL)).start()
    else:
        late = f"sleep {SOON}; {script(running.kernel)}"
        (done,) = running.kernel.run([Spawn(("/usr/bin/setsid", "-f", "/bin/sh", "-c", late), timeout=9.0)])
        assert done.returncode == 0, done

class Moments:
    def now(self, moment):
        return moment == AT and len(guests) == 1
    def reach(self, moment):
        if self.now(moment):
            lose_soon()
            limit = time.monotonic() + 5.0
            while guests[0].machine.alive() and time.monotonic() < limit - 3.0 * (HOW == "hang"):
                time.sleep(0.05)
    def during(self, moment):
        if self.now(moment):
            lose_soon()

@pytest.fixture
def moments():
    return Moments()

@pytest.fixture
def torn_down(bpf_kernel, moments):
    yield
    moments.reach("teardown")

@pytest.hookimpl(trylast=True)
def pytest_sessionfinish():
    Moments().reach("session end")

real_boot, real_start, real_greet = boot.boot_guest, machine.start, machine.greet
def boot_guest(*args, **named):
    running = real_boot(*args, **named)
    guests.append(running)
    return running
boot.boot_guest = boot_guest
tries = []
def start(launch, **named):
    parts = real_start(launch, **named)
    tries.append(parts)
    if AT == "boot" and HOW == "killed" and len(tries) == 1:
        os.kill(parts.qemu.pid, signal.SIGKILL)
    return parts
machine.start = start
def greet(parts, launch, **named):
    if AT == "boot" and HOW == "closed":
        parts.stream.fail()
    return real_greet(parts, launch, **named)
machine.greet = greet
"""
SUITE = """
from pytest_ebpf.agent.ops import Describe, Spawn
SLEEP = Spawn(("/bin/sleep", "4"), timeout=9.0)
def test_lost(bpf_vm, bpf_kernel, moments, torn_down):
    kernel = bpf_kernel.running.kernel
    kernel.run([Describe()])
    moments.reach("between calls")
    kernel.run([Describe()])
    moments.during("in a call")
    if moments.now("in a call"):
        kernel.run([SLEEP])
    moments.during("in a batch")
    if moments.now("in a batch"):
        kernel.run([Describe(), SLEEP, Describe()])
    moments.reach("behind the last call")
def test_after(bpf_vm, bpf_kernel):
    bpf_vm.run(["true"]).check()
def test_plain():
    pass
"""


@dataclass(frozen=True, slots=True)
class Loss:
    """One case."""

    kernel: str
    how: str
    at: str

    @property
    def arguments(self) -> list[str]:
        """Of a guest that does not come up again and again: no words for a warm start."""
        if self.at != "boot":
            return []
        more = {"panic": ["--bpf-cmdline=rdinit=/nowhere root=none"], "hang": ["--bpf-boot-timeout=0.03"]}
        return ["--bpf-boot=cold", *more.get(self.how, [])]


def run(loss: Loss, folder: Path) -> subprocess.CompletedProcess[str]:
    """pytest in ``folder`` with the loss."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(SUITE)
    environment = {
        **os.environ,
        "LOSE_HOW": loss.how,
        "LOSE_AT": loss.at,
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    argv = [sys.executable, "-m", "pytest", f"--bpf-kernels={loss.kernel}", "-p", "no:cacheprovider", "-rA"]
    return subprocess.run(
        [*argv, *loss.arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def wrong(loss: Loss, done: subprocess.CompletedProcess[str]) -> str:
    """What is not as it should be, "" when all is."""
    out = done.stdout
    last = "test_after" if loss.at == "session end" else "test_lost"
    counts = dict(reversed(pair) for pair in re.findall(r"(\d+) (\w+)", out.splitlines()[-1] if out else ""))
    cell = dict(re.findall(r"^  (test_\w+) +(\S)", out, re.MULTILINE))
    others = {"test_lost", "test_after"} - {last}
    if loss.at == "boot" and loss.how != "killed":  # infrastructure, again and again
        expected, sign, status, others = {"passed": "1", "errors": "2"}, "E", 6, set()
    elif loss.how == "killed":
        expected, sign, status = {"passed": "3", "flaky": "1"}, "f", 0
    else:
        counted = "3" if loss.at in ("teardown", "session end") else "2"
        expected, sign, status = {"passed": counted, "error": "1"}, "E", 1
    problems = []
    if done.returncode != status:
        problems.append(f"exit status {done.returncode}, not {status}")
    if counts != expected:
        problems.append(f"{counts}, not {expected}")
    if cell.get(last) != sign or any(cell.get(name) != "✓" for name in others):
        problems.append(f"cells {cell}, not {sign} for {last}")
    if "INTERNALERROR" in out or "Traceback" in done.stderr:
        problems.append("an error from inside")
    return "; ".join(problems)
