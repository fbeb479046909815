"""The list of commands: quick, complete, and the same as what each command says of itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from pytest_ebpf.cli.commands import COMMANDS, EXIT_STATUS, NAME, render_help
from pytest_ebpf.cli.group import all_commands


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_has_help(name: str) -> None:
    result = CliRunner().invoke(all_commands(), [name, "--help"], prog_name=NAME)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: {NAME} {name}")


def test_the_help_without_click_is_that_of_click() -> None:
    result = CliRunner().invoke(all_commands(), ["--help"], prog_name=NAME, terminal_width=80)
    ours, clicks = render_help(), result.output
    assert ours.split("Commands:")[0] == clicks.split("Commands:")[0]
    for name in COMMANDS:
        assert f"\n  {name} " in ours
        assert f"\n  {name} " in clicks
    assert " ".join(EXIT_STATUS.split()) in " ".join(ours.split())
    assert max(map(len, render_help().splitlines())) <= 80


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


def test_a_near_name_is_suggested() -> None:
    result = CliRunner().invoke(all_commands(), ["veriyf"])
    assert result.exit_code == 2
    assert "No such command 'veriyf'. did you mean verify?" in result.output


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
