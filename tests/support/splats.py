"""A run of pytest in which the kernel warns for real, and what has to come of it.

The warnings are made without harm: a program lingers in the kernel for seconds, longer than a watchdog likes whose
threshold was lowered for it. ci/splats runs this on several kernels, tests/vm on one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from support.paths import ROOT, TESTS

__all__ = ["run", "wrong"]

OBJECT = TESTS / "objects/built/long_run.bpf.o"
SUITE = f"""
import pytest

SOFT = {{"/proc/sys/kernel/softlockup_panic": 0, "/proc/sys/kernel/watchdog_thresh": 1}}
KNOWN = pytest.mark.bpf_allow_splat("soft lockup - CPU#. stuck for", reason="it is the test of it")

@pytest.fixture
def linger(bpf, bpf_vm):
    before = {{}}
    def linger(settings, seconds):
        for path, value in settings.items():
            before[path] = bpf_vm.run(["cat", path]).text.strip()
            bpf_vm.run(["sh", "-c", f"echo {{value}} >{{path}}"]).check()
        obj = bpf.load({str(OBJECT)!r})
        obj.globals["nanoseconds"] = round(seconds * 1e9)
        obj["linger"].run(bytes(64))
    yield linger
    for path, value in before.items():
        bpf_vm.run(["sh", "-c", f"echo {{value}} >{{path}}"]).check()

def test_before(bpf):
    pass
def test_soft_lockup(linger):
    linger(SOFT, 6)
def test_between(bpf):
    pass
@KNOWN
def test_known(linger):
    linger(SOFT, 6)
@pytest.mark.xfail(reason="not of a warning")
def test_expected(linger):
    linger(SOFT, 6)
    assert 0
def test_after(bpf, bpf_dmesg):
    assert bpf_dmesg.lines() == []
"""
EXPECTED = {
    "test_before": "✓",
    "test_soft_lockup": "✗",
    "test_between": "✓",
    "test_known": "✓",
    "test_expected": "✗",
    "test_after": "✓",
}


def run(kernel: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """pytest in ``folder`` on ``kernel``."""
    (folder / "test_it.py").write_text(SUITE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-m", "pytest", f"--bpf-kernels={kernel}", "-p", "no:cacheprovider"]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)


def wrong(done: subprocess.CompletedProcess[str]) -> str:
    """What is not as it should be, "" when all is."""
    out = done.stdout
    cells = dict(re.findall(r"^  (test_\w+) +(\S)", out, re.MULTILINE))
    problems = [f"{name}: {cells.get(name)}, not {sign}" for name, sign in EXPECTED.items() if cells.get(name) != sign]
    if done.returncode != 1:
        problems.append(f"exit status {done.returncode}, not 1")
    records = re.findall(r"^-+ kernel log of .*? -+\n(.*?)^-{5}", out, re.MULTILINE | re.DOTALL)
    if not any("soft lockup - CPU#" in record.splitlines()[0] for record in records):
        problems.append("no section begins with the record of the soft lockup")
    return "; ".join(problems)


def main(kernels: list[str]) -> int:
    """One run on each kernel; how many were not as they should be."""
    bad = 0
    for kernel in kernels:
        with tempfile.TemporaryDirectory() as folder:
            done = run(kernel, Path(folder))
        problems = wrong(done)
        print(f"{kernel}: {problems or 'as it should be'}", flush=True)
        bad += bool(problems)
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
