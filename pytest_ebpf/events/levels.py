"""The levels of aya-log: those of Rust's crate ``log``, as the variable AYA_LOG_LEVEL of a program counts them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["LEVEL_VARIABLE", "LOG_LEVELS"]

LEVEL_VARIABLE = "AYA_LOG_LEVEL"  # of aya-log-ebpf: messages above it are not written
LOG_LEVELS: Mapping[str, int] = MappingProxyType({"error": 1, "warn": 2, "info": 3, "debug": 4, "trace": 5})
