"""Guests to look at: consoles in files, failed guests that stay and can be entered, debuggers, a shell."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TESTS = """
    def test_says(bpf_vm):
        bpf_vm.write_file("/dev/kmsg", "<4>said by the first\\n")
    def test_fails(bpf_vm):
        bpf_vm.write_file("/dev/kmsg", "<4>said by the second\\n")
        bpf_vm.run(["sh", "-c", "echo left-behind > /tmp/evidence"])
        assert 0
    def test_next(bpf_vm):
        assert "evidence" not in bpf_vm.list_dir("/tmp")
"""


def enter(command: str, *typed: str) -> str:
    """What a shell answers to what is typed."""
    argv = [sys.executable, "-c", "from pytest_ebpf.cli import main; main()", *shlex.split(command)[1:]]
    text = "".join(f"{line}\n" for line in typed)
    return subprocess.run(argv, input=text.encode(), capture_output=True, timeout=120, check=True).stdout.decode()


def test_a_failed_guest_stays_as_it_is_and_each_test_has_its_console(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_look=TESTS)
    options = ("--bpf-kernels=6.1", "--bpf-accel=tcg", "--bpf-keep-vm", "--bpf-console=consoles", "--bpf-gdb")
    result = pytester.runpytest_subprocess(*options)
    result.assert_outcomes(passed=2, failed=1)
    text = result.stdout.str()
    found = re.search(r"enter it: (pytest-ebpf shell --enter (\S+)) \(kill (\d+) ends it\)", text)
    assert found, text
    try:
        said = enter(found[1], "cat /tmp/evidence", "uname -r")
        assert "left-behind" in said
        assert "6.1.0-" in said
    finally:
        os.kill(int(found[3]), signal.SIGTERM)
    consoles = {path.name: path.read_text() for path in (pytester.path / "consoles").iterdir()}
    assert sorted(consoles) == [f"test_look.py_test_{name}[6.1].log" for name in ("fails", "next", "says")]
    first, second = (consoles[f"test_look.py_test_{name}[6.1].log"] for name in ("says", "fails"))
    assert "said by the first" in first
    assert "said by the second" not in first
    assert "said by the second" in second
    assert "said by the first" not in second
    debugger = re.findall(r"^6\.1: gdb (\S+vmlinux) -ex 'target remote (\S+)'$", text, re.MULTILINE)
    assert len(debugger) == 2
    assert Path(debugger[0][0]).exists()


def test_a_shell_has_this_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of-the-host").write_text("shared\n")
    monkeypatch.chdir(tmp_path)
    said = enter("pytest-ebpf shell 6.1 --accel tcg", "cat of-the-host", "echo $((6*7))")
    assert "shared" in said
    assert "42" in said


def test_a_shell_that_is_not_there_is_one_message() -> None:
    argv = [sys.executable, "-c", "from pytest_ebpf.cli import main; main()", "shell", "--enter", "/nowhere/shell.sock"]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "pytest-ebpf: /nowhere/shell.sock: No such file or directory: no guest runs there\n"
