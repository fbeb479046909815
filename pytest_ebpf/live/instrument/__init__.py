"""Instrumented copies of loaded programs: doubles, records of calls, faults, coverage.

Most tests use none of it, so the room is imported on first use, through ``instrumenting``.
"""

from __future__ import annotations

from types import ModuleType

__all__ = ["instrumenting"]


def instrumenting() -> ModuleType:
    """``live.instrument.doubling``, which has what other rooms use."""
    from pytest_ebpf.live.instrument import doubling

    return doubling
