"""Ops that read what programs and the kernel say: rings, perf buffers, trace_pipe, the kernel log."""

from __future__ import annotations

from pytest_ebpf.agent.ops.base import Obj
from pytest_ebpf.frozen import dataclass

__all__ = [
    "PERF_PAGES",
    "KmsgSince",
    "PerfDrain",
    "PerfOpen",
    "RingDrain",
    "TraceDrain",
    "TraceOpen",
]


@dataclass(frozen=True, slots=True)
class RingDrain:
    """Read a BPF_MAP_TYPE_RINGBUF -> Region. Waits in the agent until ``at_least`` records came or time is up.

    ``limit``: stop behind so many bytes (0: read all there is); the rest stays in the buffer.
    """

    map: Obj
    at_least: int = 0
    timeout_ms: int = 0
    limit: int = 0


PERF_PAGES = 64  # unless asked for others


@dataclass(frozen=True, slots=True)
class PerfOpen:
    """Open and map one perf buffer of ``pages`` pages per online CPU for a perf event array -> Done. Idempotent."""

    map: Obj
    pages: int = PERF_PAGES


@dataclass(frozen=True, slots=True)
class PerfDrain:
    """Read the perf buffers of a map -> Records. ``lost`` counts what the kernel dropped since the last look: with
    ``all_lost`` all of it (Linux 6.0), else what a later record told of."""

    map: Obj
    at_least: int = 0
    timeout_ms: int = 0


@dataclass(frozen=True, slots=True)
class TraceOpen:
    """Open trace_pipe, discarding what is in it -> Made."""

    site: str = ""


@dataclass(frozen=True, slots=True)
class TraceDrain:
    """Read trace_pipe -> Data: text lines since the last drain."""

    trace: Obj
    timeout_ms: int = 0


@dataclass(frozen=True, slots=True)
class KmsgSince:
    """Kernel log records with a sequence number >= ``mark`` -> Kmsg. ``mark`` -1 reads nothing, only the next mark."""

    mark: int = -1
