"""Many guests lost in one session: by how much the memory and the descriptors of the pytest process grow.

Usage: ci/lose_many.py [how many [kernel [megabytes allowed]]]. Exit status 1 if a descriptor or more memory is kept.
The kernel "fake" is an agent in a process of this machine: what pytest itself keeps of a guest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from support.paths import ROOT

CONFTEST = """
import gc, json, os, pathlib
import pytest
FAKE = None
if os.environ["KERNEL"] == "fake":
    from support.fake_guests import install
    FAKE = install(setattr)
@pytest.fixture
def lose(bpf_kernel, bpf_vm):
    from pytest_ebpf.agent.ops import Describe
    def now():
        bpf_kernel.running.facts()
        if FAKE is None:
            bpf_vm.write_file("/proc/sysrq-trigger", "c")
        FAKE.lose("panic")
        bpf_kernel.running.kernel.run([Describe()])
    return now
FIGURES = pathlib.Path(os.environ["FIGURES"])
def figures():
    gc.collect()
    status = pathlib.Path("/proc/self/status").read_text()
    return {"kb": int(status.partition("VmRSS:")[2].split()[0]), "fds": len(os.listdir("/proc/self/fd"))}
@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid):
    with FIGURES.open("a") as file:
        print(json.dumps(figures()), file=file)
"""
SUITE = """
import os
import pytest
@pytest.mark.parametrize("number", range(int(os.environ["MANY"])))
def test_lost(lose, number):
    lose()
"""
_SETTLED = 10  # tests after which all is imported and cached


def main(arguments: list[str]) -> int:
    """Run it and print the figures."""
    many = int(arguments[0]) if arguments else 100
    kernel = arguments[1] if len(arguments) > 1 else "5.10"
    allowed = float(arguments[2]) if len(arguments) > 2 else 5.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "conftest.py").write_text(CONFTEST)
        (folder / "test_many.py").write_text(SUITE)
        environment = os.environ | {
            "FIGURES": str(folder / "figures"),
            "MANY": str(many + _SETTLED),
            "KERNEL": kernel,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        }
        argv = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--bpf-kernels={'6.1' if kernel == 'fake' else kernel}",
        ]
        done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        rows = [json.loads(line) for line in (folder / "figures").read_text().splitlines()]
    first, last = rows[_SETTLED - 1], rows[-1]
    grown, kept = (last["kb"] - first["kb"]) / 1024, last["fds"] - first["fds"]
    print(f"{kernel}: {len(rows) - _SETTLED} guests lost: memory {grown:+.1f} MB, descriptors {kept:+d}")
    print(done.stdout.splitlines()[-1] if done.stdout else done.stderr[-2000:])
    return int(grown >= allowed or kept != 0 or len(rows) != many + _SETTLED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
