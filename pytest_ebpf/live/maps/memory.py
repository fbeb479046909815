"""Memory that a map shares with programs."""

from __future__ import annotations

from pytest_ebpf.agent.ops import Data, Done, Handle, MemRead, MemWrite
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import MapDef
from pytest_ebpf.uapi.enums import MapType

__all__ = ["MapMemory"]


class MapMemory:
    """``memory[0:8]`` reads bytes, ``memory[0:8] = data`` writes them, and nothing but them: what programs change
    beside them meanwhile stays. Reading or writing as a whole, without tearing, is sure for 1, 2, 4 or 8 bytes at a
    multiple of their size at most.

    Elements of an array lie one after the other, each at a multiple of 8 bytes. An arena has its pages in order; those
    that nobody allocated read as zeroes and are allocated by being written.
    """

    def __init__(self, session: Session, *, handle: Handle, definition: MapDef) -> None:
        self._session = session
        self._handle = handle
        self._definition = definition

    def __len__(self) -> int:
        definition = self._definition
        if definition.type == MapType.ARENA:
            return definition.max_entries * self._session.target.described.page_size
        return (definition.value_size + 7) // 8 * 8 * definition.max_entries

    def __getitem__(self, place: slice) -> bytes:
        start, size = self._range(place)
        return self._session.one(MemRead(self._handle, start, size), Data).data

    def __setitem__(self, place: slice, data: bytes) -> None:
        start, size = self._range(place)
        if len(data) != size:
            raise ValueError(f"{len(data)} bytes for {size} of map {self._definition.name!r}")
        self._session.one(MemWrite(self._handle, start, bytes(data)), Done)

    def _range(self, place: slice) -> tuple[int, int]:
        if not isinstance(place, slice) or place.step not in (None, 1):
            raise TypeError(f"memory is read and written in pieces: memory[0:8], not memory[{place!r}]")
        start, stop, _ = place.indices(len(self))
        return start, max(stop - start, 0)

    def __repr__(self) -> str:
        return f"<{len(self)} bytes of map {self._definition.name}>"
