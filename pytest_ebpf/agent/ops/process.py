"""Ops on processes that run beside the test."""

from __future__ import annotations

from pytest_ebpf.agent.ops.base import Obj
from pytest_ebpf.agent.ops.machine import Spawn
from pytest_ebpf.frozen import dataclass

__all__ = ["ProcessRead", "ProcessSignal", "ProcessWrite", "Start"]


@dataclass(frozen=True, slots=True)
class Start:
    """Start a command and leave it running -> Made. Its process group is killed when the handle closes. Its standard
    input is a pipe; ``command.timeout`` has no meaning here."""

    command: Spawn
    site: str = ""

    @property
    def argv(self) -> tuple[str, ...]:
        """For messages."""
        return self.command.argv


@dataclass(frozen=True, slots=True)
class ProcessRead:
    """What a process wrote, from byte ``out`` of its standard output and byte ``err`` of its standard error on -> Said.
    Waits up to ``timeout_ms`` until there is something, or with ``until="exit"`` until the process is over."""

    process: Obj
    out: int = 0
    err: int = 0
    until: str = "output"
    timeout_ms: int = 0


@dataclass(frozen=True, slots=True)
class ProcessWrite:
    """Write to the standard input of a process, and close it if this is the ``end`` -> Done. Failed with EAGAIN when
    the process does not read all of it within ``timeout_ms``."""

    process: Obj
    data: bytes
    end: bool = False
    timeout_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class ProcessSignal:
    """Send a signal to the process group of a process -> Done. Failed with ESRCH when it is over."""

    process: Obj
    signal: int
