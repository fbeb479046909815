"""Guests under the plugin: one that is lost costs one test, and none outlives pytest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

Objects = Callable[..., None]
KERNEL = "6.1"

LOSSES = """
    import os, signal
    def test_before(bpf):
        bpf.load("config.bpf.o")
    def test_panic(bpf, bpf_vm):
        bpf.load("config.bpf.o")
        bpf_vm.write_file("/proc/sysrq-trigger", "c")
    def test_between(bpf):
        assert bpf.load("config.bpf.o")["police"].run(bytes(100)).retval == 2
    killed = []
    def test_killed(bpf, bpf_kernel):
        if not killed:
            killed.append(bpf_kernel.running.machine.pid)
            os.kill(killed[0], signal.SIGKILL)
        bpf.load("config.bpf.o")
    def test_after(bpf, bpf_vm, bpf_kernel):
        assert bpf_vm.run(["uname", "-r"]).stdout.decode().strip() == bpf_kernel.release
        assert bpf_kernel.release.startswith("6.1")
"""


def test_a_lost_guest_costs_one_test(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config")
    pytester.makepyfile(test_loss=LOSSES)
    result = pytester.runpytest_subprocess(f"--bpf-kernels={KERNEL}")
    assert result.parseoutcomes() == {"passed": 4, "errors": 1, "flaky": 1}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.re_match_lines(
        [
            r"_+ ERROR at call of test_panic\[6.1\] _+",
            r"E +pytest_ebpf.errors.GuestLost: kernel 6.1 was lost during WriteFile: .*sysrq triggered crash.*",
            r"-+ console -+",
            r".*Kernel panic - not syncing: sysrq triggered crash",
            r"  test_before +✓ \d+",
            r"  test_panic +E \d+",
            r"  test_between +✓ \d+",
            r"  test_killed +f \d+",
            r"  test_after +✓",
            r"6.1  6\.1\S+  (TCG|KVM), booted in \d+\.\d \+ \d+\.\d \+ \d+\.\d s  ✓ 3  E 1  f 1",
        ]
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


SLEEPS = """
    import pathlib
    def test_sleeps(bpf_vm, bpf_kernel):
        pathlib.Path("qemu.pid").write_text(str(bpf_kernel.running.machine.pid))
        bpf_vm.run(["sleep", "600"], timeout=900)
"""


@pytest.fixture
def session(pytester: pytest.Pytester) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """pytest with a test that waits in a guest, and the pid of its QEMU."""
    pytester.makepyfile(test_sleeps=SLEEPS)
    argv = [sys.executable, "-m", "pytest", f"--bpf-kernels={KERNEL}", "-p", "no:cacheprovider"]
    child = subprocess.Popen(argv, cwd=pytester.path, start_new_session=True)
    pid_file = Path(pytester.path, "qemu.pid")
    deadline = time.monotonic() + 120
    while not (pid_file.exists() and pid_file.read_text()):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    qemu = int(pid_file.read_text())
    yield child, qemu
    if child.poll() is None:
        child.kill()
    child.wait()


def gone(pid: int, *, within: float) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_interrupt_ends_the_guest(session: tuple[subprocess.Popen[bytes], int]) -> None:
    child, qemu = session
    time.sleep(0.5)
    os.kill(child.pid, signal.SIGINT)
    assert child.wait(timeout=30) == pytest.ExitCode.INTERRUPTED
    assert gone(qemu, within=5)


def test_killing_pytest_ends_the_guest(session: tuple[subprocess.Popen[bytes], int]) -> None:
    child, qemu = session
    child.kill()
    child.wait(timeout=30)
    assert gone(qemu, within=5)


def test_a_kernel_that_cannot_boot_is_told_once(pytester: pytest.Pytester) -> None:
    """Each test errs, and only the first waits for it."""
    (pytester.path / "bzImage").write_bytes(b"not a kernel")
    pytester.makepyfile("def test_a(bpf): pass\ndef test_b(bpf): pass\ndef test_c(): pass")
    result = pytester.runpytest_subprocess("--bpf-kernels=./bzImage")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    result.stdout.re_match_lines(
        [r"_+ ERROR at setup of test_a\[bzImage\] _+", r"ImageError: .*bzImage.*"], consecutive=True
    )
    result.stdout.no_fnmatch_line("*traceback*")
