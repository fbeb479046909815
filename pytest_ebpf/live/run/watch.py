"""Who runs the ops of a program's test runs."""

from __future__ import annotations

from typing import Protocol, TypeVar

from pytest_ebpf.agent.ops import Op

__all__ = ["Watch"]

R = TypeVar("R")


class Watch(Protocol):
    """Runs the op of a test run, and does what an instrumented copy wants done around it."""

    def __call__(self, op: Op, kind: type[R], /) -> R: ...
