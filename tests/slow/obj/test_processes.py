"""``pytest-ebpf inspect`` as a process, and what importing the room costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.paths import ROOT
from support.sample_object import sample


def test_it_runs_as_a_command(tmp_path: Path) -> None:
    path = tmp_path / "sample.o"
    path.write_bytes(sample())
    code = "from pytest_ebpf.cli.inspect import inspect; inspect()"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "main_prog" in done.stdout


def test_importing_the_room_is_cheap() -> None:
    """No ELF library, no rich: the plugin may import values early."""
    code = """
import sys, pytest_ebpf.obj.object, pytest_ebpf.obj.summary
print([name for name in sys.modules if name.split(".")[0] in ("elftools", "rich", "click")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
