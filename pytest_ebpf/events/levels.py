"""The levels of aya-log: those of Rust's crate ``log``, as the variable AYA_LOG_LEVEL of a program counts them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.suggest import did_you_mean

__all__ = ["LEVEL_VARIABLE", "LOG_LEVELS", "level_name"]

LEVEL_VARIABLE = "AYA_LOG_LEVEL"  # of aya-log-ebpf: messages above it are not written
LOG_LEVELS: Mapping[str, int] = MappingProxyType({"error": 1, "warn": 2, "info": 3, "debug": 4, "trace": 5})


def level_name(given: str, *, what: str) -> str:
    """The name of a level, given in letters of any case. ``BpfUsageError`` says where it was given and what is near."""
    name = given.lower()
    if name not in LOG_LEVELS:
        raise BpfUsageError(f"{what}={given!r}: not a level of aya-log", hint=did_you_mean(name, LOG_LEVELS))
    return name
