"""A recording of the frames that arrive at an interface."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from pytest_ebpf.agent.ops import Close, Done, Handle, PacketDrain, PacketOpen, Records
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.handles import close_after
from pytest_ebpf.live.session import Session
from pytest_ebpf.packets import Packet, parse_packet

__all__ = ["Capture", "Wanted"]

T = TypeVar("T")
_SILENCE = 1.0  # seconds to wait for a frame
_SURE = 0.8  # of them, before it is asked whether one can still come
Wanted = Callable[[Packet], bool] | str | None


class Capture:
    """Records the frames that arrive at an interface, from now on until ``close()``, the end of a ``with`` block, or
    the end of the test."""

    def __init__(self, session: Session, interface: str, *, netns: Handle, protocols: Sequence[int] = ()) -> None:
        self._session = session
        self.handle: Handle = session.make(PacketOpen(interface, netns, tuple(protocols)))
        self.lost = 0

    def take(self, *, timeout: float | None = None, count: int = 0, filter: Wanted = None) -> list[Packet]:
        """The frames since the last call that match ``filter``, in order. It returns as soon as there are ``count``, or
        without ``count`` after ``timeout`` (seconds, longer where the CPU is emulated).

        Without ``timeout`` and ``count`` it returns when the frames that were sent have arrived, which marker frames
        behind them tell (programs of the test do not see those), or after one second where a process of the test runs,
        which may send more. What comes later (a queue that delays frames, a retransmission) needs ``timeout`` or
        ``count``: nothing is waited for longer than they say, a second for ``count``, unless something may still come.
        """
        wanted = _wanted(filter)

        def keep(frame: bytes) -> list[Packet]:
            packet = parse_packet(frame)
            return [packet] if wanted(packet) else []

        return self._collect(keep, timeout=timeout, count=count)

    def frames(self, *, timeout: float | None = None, count: int = 0) -> list[bytes]:
        """As ``take``, but bytes and without a filter: for thousands of frames."""
        return self._collect(lambda frame: [frame], timeout=timeout, count=count)

    def _collect(self, keep: Callable[[bytes], list[T]], *, timeout: float | None, count: int) -> list[T]:
        if count < 0 or isinstance(count, bool):
            raise BpfUsageError(f"count= must be a number of packets, got {count!r}")
        scale = self._session.target.time_scale if timeout is not None or count else 1.0
        start, seconds = time.monotonic(), _SILENCE if timeout is None else timeout
        deadline = start + seconds * scale
        quiet = start + (seconds if timeout is not None else _SURE if count else 0.0)
        found: list[T] = []
        while True:
            left = max(0.0, deadline - time.monotonic())
            limit = count - len(found) if count else 0
            drained = self._drain(at_least=limit or 1 << 30, seconds=left, limit=limit, quiet=quiet - time.monotonic())
            found += [kept for frame in drained.records for kept in keep(frame)]
            if left <= 0 or not limit or len(drained.records) < limit or len(found) >= count:
                return found

    def _drain(self, *, at_least: int, seconds: float, limit: int, quiet: float) -> Records:
        op = PacketDrain(self.handle, at_least, round(seconds * 1000), limit, max(0, round(quiet * 1000)))
        drained = self._session.one(op, Records)
        self.lost += drained.lost
        return drained

    def close(self) -> None:
        """Stop recording."""
        self._session.attempt(Close(self.handle), Done)

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.close)


def _wanted(filter: Wanted) -> Callable[[Packet], bool]:
    if filter is None:
        return lambda packet: True
    if isinstance(filter, str):
        return lambda packet: filter in packet
    if not callable(filter):
        raise BpfUsageError(f'filter= expects the name of a header ("udp") or a function of a packet, got {filter!r}')
    return filter
