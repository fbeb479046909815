"""Records of a map as they come: ``for`` and ``async for``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Self

from pytest_ebpf.live.maps.events import EventStream

__all__ = ["Coming", "Following"]

_PAUSE = 0.005  # seconds between two looks, while other coroutines run


class Coming:
    """For ``async for``, under asyncio or trio: what ``take`` gives, until it gave None for ``seconds``.

    It is no generator: after a ``break`` the event loop closes one late (asyncio) or complains of it (trio). Other
    coroutines get their turn before each record, also while records come without a pause.
    """

    def __init__(self, take: Callable[[], Any], *, seconds: float) -> None:
        self._take = take
        self._seconds = seconds

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        import anyio

        deadline = time.monotonic() + self._seconds
        await anyio.sleep(0)
        while (found := self._take()) is None:
            if time.monotonic() >= deadline:
                raise StopAsyncIteration
            await anyio.sleep(_PAUSE)
        return found


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

    def __aiter__(self) -> Coming:
        return Coming(self._next, seconds=self._timeout * self._stream.time_scale)

    def _next(self) -> Any:
        """The next record, None when there is none now."""
        raw = self._stream.take_one()
        return None if raw is None else self._stream.decode(raw, type=self._type)

    def _each(self, batch: list[bytes]) -> Iterator[Any]:
        done = 0
        try:
            for raw in batch:
                done += 1
                yield self._stream.decode(raw, type=self._type)
        finally:
            self._stream.give_back(batch[done:])
