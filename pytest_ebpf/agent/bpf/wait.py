"""Waiting for event buffers: what the ring buffer and the perf buffers share."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable

__all__ = ["wait_for"]

# A program may reserve with BPF_RB_NO_WAKEUP, and a wake-up may be lost to a busy record: look again at least so often.
_SLICE = 0.05


def wait_for(fds: Iterable[int], timeout_ms: int, *, enough: Callable[[], bool]) -> None:
    """Return when ``enough()``, or when time is up. Waits in epoll; signals do not shorten the wait (PEP 475)."""
    if enough() or timeout_ms <= 0:
        return
    deadline = time.monotonic() + timeout_ms / 1000
    with select.epoll() as epoll:
        for fd in fds:
            epoll.register(fd, select.EPOLLIN)
        while (left := deadline - time.monotonic()) > 0:
            epoll.poll(min(left, _SLICE))
            if enough():
                return
