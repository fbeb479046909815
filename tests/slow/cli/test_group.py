"""The command as a process: what it imports, and completion by the shells."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from pytest_ebpf.cli.group import all_commands


def test_help_imports_no_command_and_no_click() -> None:
    code = """
import sys
sys.argv = ["x", "--help"]
from pytest_ebpf.cli import main
try:
    main()
except SystemExit:
    pass
print([name for name in sys.modules if name.startswith(("click", "rich", "pytest_ebpf."))], file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "['pytest_ebpf.cli', 'pytest_ebpf.cli.commands']"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    result = CliRunner().invoke(all_commands(), ["completion", shell])
    assert result.exit_code == 0
    assert "_PYTEST_EBPF_COMPLETE" in result.output
    words = {"_PYTEST_EBPF_COMPLETE": "bash_complete", "COMP_WORDS": "pytest-ebpf ver", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['pytest-ebpf']; from pytest_ebpf.cli import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", code], env=words | {"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True
    )
    assert found.stdout == "plain,verify\n"
