"""Records of a ring buffer or perf event array, as the program that wrote them meant them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Handle, PerfDrain, Records, RingDrain
from pytest_ebpf.errors import UsageError
from pytest_ebpf.events.match import matches
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.btf.parse import Btf
    from pytest_ebpf.obj.object import MapDef

__all__ = ["EventStream", "record_type"]

_PERF_EVENT_ARRAY = 4
_MOST_SHOWN = 8


class EventStream:
    """Drains one map. Records that nobody took yet wait here; ``lost`` and ``discarded`` add up what never came."""

    def __init__(self, session: Session, *, handle: Handle, definition: MapDef, btf: Btf | None) -> None:
        self._session = session
        self._handle = handle
        self._definition = definition
        self._btf = btf
        self._waiting: list[bytes] = []
        self.lost = 0
        self.discarded = 0

    def take(self, *, timeout: float, at_least: int | None, type: str | None) -> list[object]:
        """Everything that came since the last call, after waiting for ``at_least`` records."""
        wanted = at_least if at_least is not None else (1 if timeout > 0 else 0)
        self._drain(timeout=timeout, at_least=max(wanted - len(self._waiting), 0))
        taken, self._waiting = self._waiting, []
        return [self._decode(raw, type=type) for raw in taken]

    def expect(self, wanted: object, *, timeout: float, type: str | None) -> object:
        """The first record that matches; the others keep waiting."""
        import time

        deadline = time.monotonic() + timeout * self._session.target.time_scale
        self._drain(timeout=0, at_least=0)
        seen = 0
        while True:
            for index, raw in enumerate(self._waiting[seen:], seen):
                record = self._decode(raw, type=type)
                if matches(record, wanted):
                    del self._waiting[index]
                    return record
            seen = len(self._waiting)
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(self._nothing(wanted, timeout=timeout, type=type))
            self._drain(timeout=left / self._session.target.time_scale, at_least=1)

    def _drain(self, *, timeout: float, at_least: int) -> None:
        milliseconds = round(timeout * self._session.target.time_scale * 1000) if at_least else 0
        op: PerfDrain | RingDrain
        if self._definition.type == _PERF_EVENT_ARRAY:
            op = PerfDrain(self._handle, at_least=at_least, timeout_ms=milliseconds)
        else:
            op = RingDrain(self._handle, at_least=at_least, timeout_ms=milliseconds)
        drained = self._session.one(op, Records)
        self._waiting += drained.records
        self.lost += drained.lost
        self.discarded += drained.discarded

    def _decode(self, raw: bytes, *, type: str | None) -> object:
        if self._btf is None:
            if type is not None:
                raise UsageError(f"map {self._definition.name!r}: the object has no BTF, so there is no {type!r}")
            return raw
        type_id = record_type(self._btf, size=len(raw), map_name=self._definition.name, wanted=type)
        if not type_id:
            return raw
        from pytest_ebpf.btf.codec import decode

        return decode(self._btf, type_id, data=raw[: self._btf.size(type_id)])

    def _nothing(self, wanted: object, *, timeout: float, type: str | None) -> str:
        name = self._definition.name
        lines = [f"no record of map {name!r} matched {wanted!r} within {timeout:g} s"]
        shown = [f"  {self._decode(raw, type=type)!r}" for raw in self._waiting[-_MOST_SHOWN:]]
        if not shown:
            lines.append("  nothing came at all: was the program attached, and did it run?")
        elif len(self._waiting) > len(shown):
            lines.append(f"  ... {len(self._waiting) - len(shown)} before, then")
        lines += shown
        if self.lost:
            lines.append(f"  the kernel dropped {self.lost} records: the buffer is too small")
        return "\n".join(lines)


def record_type(btf: Btf, *, size: int, map_name: str, wanted: str | None) -> int:
    """The BTF type of a record of ``size`` bytes: the one asked for, else the struct named like the map ("events" ->
    ``struct event``), else the only struct of that size; 0 when it is not clear. Perf records are padded to 8 bytes
    (less 4), so a size may be up to 7 bytes larger than its struct.

    ``UsageError`` for a name that is not in the BTF.
    """
    if wanted is not None:
        found = _named(btf, wanted)
        if not found:
            raise UsageError(f"the object has no type {wanted!r}", hint=f"Its structs: {', '.join(_structs(btf))}.")
        return found
    for name in (map_name, map_name.removesuffix("s"), f"{map_name.removesuffix('s')}_t"):
        found = _named(btf, name)
        if found and _fits(btf.size(found), size):
            return found
    same = [type_id for type_id in _structs(btf).values() if btf.size(type_id) == size]
    return same[0] if len(same) == 1 else 0


def _fits(size: int, got: int) -> bool:
    return size <= got < size + 8


def _named(btf: Btf, name: str) -> int:
    from pytest_ebpf.btf.types import Kind

    plain = name.removeprefix("struct ").removeprefix("union ").strip()
    for kind in (Kind.STRUCT, Kind.UNION, Kind.TYPEDEF, Kind.INT):
        if found := btf.find(plain, kind):
            return found[0]
    return 0


def _structs(btf: Btf) -> dict[str, int]:
    """Named structs of the object that have members (map definitions are anonymous), by name."""
    from pytest_ebpf.btf.types import Struct

    return {
        type.name: type_id
        for type_id, type in btf
        if isinstance(type, Struct) and type.name and type.members and not type.is_union
    }
