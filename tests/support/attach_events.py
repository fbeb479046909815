"""What tests of attaching have in common: their objects, and how the events are made to happen."""

from __future__ import annotations

from typing import Any

from support.paths import TESTS

__all__ = ["BUILT", "PYTHON", "getpgid", "python"]

BUILT = TESTS / "data" / "attach" / "built"
PYTHON = ("/usr/bin/env", "python3")
_CALLS = """
import os
try:
    for _ in range({times}):
        os.getpgid(os.getpid())
except PermissionError:
    print('refused')
"""


def python(bpf_vm: Any, code: str) -> Any:
    """Run a script on the machine under test to its end."""
    return bpf_vm.run([*PYTHON, "-c", code])


def getpgid(bpf_vm: Any, times: int = 10) -> str:
    """Make the system call so often; "refused" when it was forbidden."""
    done = python(bpf_vm, _CALLS.format(times=times))
    assert done.returncode == 0, done.stderr
    text: str = done.stdout.decode().strip()
    return text
