"""Records of a map as they come: ``for`` and ``async for``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from pytest_ebpf.live.maps.events import EventStream

__all__ = ["Following", "pause"]

_PAUSE = 0.005  # seconds between two looks, while other coroutines run


async def pause() -> None:
    """Let other coroutines run for an instant, under asyncio or trio."""
    import anyio

    await anyio.sleep(_PAUSE)


class Following:
    """Iterates over records until none came for ``timeout`` seconds (longer under emulation).

    With ``for`` the agent waits; with ``async for`` it is asked again and again, so that other coroutines can use the
    same kernel meanwhile. Records that a loop left with ``break`` did not see stay for the next ``events``.
    """

    def __init__(self, stream: EventStream, *, timeout: float, type: str | None) -> None:
        stream.check_type(type)
        self._stream = stream
        self._timeout = timeout
        self._type = type

    def __iter__(self) -> Iterator[Any]:
        while batch := list(self._stream.take_raw(timeout=self._timeout, at_least=1)):
            yield from self._each(batch)

    async def __aiter__(self) -> AsyncIterator[Any]:
        import time

        limit = self._timeout * self._stream.time_scale
        last = time.monotonic()
        while time.monotonic() - last < limit:
            batch = list(self._stream.take_raw(timeout=0, at_least=0))
            if not batch:
                await pause()
                continue
            for record in self._each(batch):
                yield record
            last = time.monotonic()

    def _each(self, batch: list[bytes]) -> Iterator[Any]:
        done = 0
        try:
            for raw in batch:
                done += 1
                yield self._stream.decode(raw, type=self._type)
        finally:
            self._stream.give_back(batch[done:])
