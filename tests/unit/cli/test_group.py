"""The list of commands: quick, complete, and the same as what each command says of itself."""

from __future__ import annotations

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


def test_a_near_name_is_suggested() -> None:
    result = CliRunner().invoke(all_commands(), ["veriyf"])
    assert result.exit_code == 2
    assert "No such command 'veriyf'. did you mean verify?" in result.output
