"""The group of all commands: each is imported when it is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import click

from pytest_ebpf.cli.commands import COMMANDS, EXIT_STATUS, NAME, PURPOSE
from pytest_ebpf.suggest import did_you_mean

__all__ = ["all_commands"]


class _Commands(Mapping[str, click.Command]):
    """Knows the names; imports a command when it is asked for it."""

    def __getitem__(self, name: str) -> click.Command:
        module, _, other = COMMANDS[name][0].partition(":")
        found = getattr(import_module(f"pytest_ebpf.cli.{module}"), other or name.replace("-", "_"))
        assert isinstance(found, click.Command)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """``click.UsageError`` with near names instead of None: only an unknown command asks for one in vain."""
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(f"No such command {name!r}. {did_you_mean(name, COMMANDS)}")
        return self[name] if name in COMMANDS else default

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def all_commands() -> click.Group:
    """``pytest-ebpf``."""
    commands: Any = _Commands()  # click reads it only
    return click.Group(NAME, commands=commands, help=PURPOSE, epilog=EXIT_STATUS, no_args_is_help=True)
