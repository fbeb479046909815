"""``pytest-ebpf completion``: the script that completes commands, options and kernels in a shell."""

from __future__ import annotations

import click

__all__ = ["completion"]

_VARIABLE = "_PYTEST_EBPF_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: pytest-ebpf completion bash > ~/.local/share/bash-completion/completions/pytest-ebpf
    zsh:  pytest-ebpf completion zsh > a file _pytest-ebpf in $fpath
    fish: pytest-ebpf completion fish > ~/.config/fish/completions/pytest-ebpf.fish
    """
    from click.shell_completion import get_completion_class

    from pytest_ebpf.cli.commands import NAME
    from pytest_ebpf.cli.group import all_commands

    made = get_completion_class(shell)
    assert made is not None, "click has these three"
    click.echo(made(all_commands(), {}, NAME, _VARIABLE).source())
