"""Records of a ring buffer or perf event array, as the program that wrote them meant them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Handle, PerfDrain, Records, Region, RingDrain
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.events.match import matches
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import MapType

if TYPE_CHECKING:
    from pytest_ebpf.btf.parse import Btf
    from pytest_ebpf.obj.object import MapDef

__all__ = ["EventStream", "named_type", "record_type", "type_named_like"]

_MOST_SHOWN = 8
_AYA_LOGS = "AYA_LOGS"  # the map of aya-log-ebpf


class EventStream:
    """Drains one map. Records that nobody took yet wait here; ``lost`` and ``discarded`` add up what never came."""

    def __init__(self, session: Session, *, handle: Handle, definition: MapDef, btf: Btf | None) -> None:
        self._session = session
        self._handle = handle
        self._definition = definition
        self._btf = btf
        self._waiting: list[bytes] = []
        self._types: dict[tuple[int, str | None], int] = {}
        self.lost = 0
        self.discarded = 0

    def take(self, *, timeout: float, at_least: int | None, type: str | None) -> list[object]:
        """Everything that came since the last call, after waiting for ``at_least`` records."""
        return [self.decode(raw, type=type) for raw in self.take_raw(timeout=timeout, at_least=at_least)]

    def take_raw(self, *, timeout: float, at_least: int | None) -> Sequence[bytes] | Region:
        """As ``take``, records as they came. A ring buffer's stay in one piece until they are asked for."""
        wanted = at_least if at_least is not None else (1 if timeout > 0 else 0)
        drained = self._read(timeout=timeout, at_least=max(wanted - len(self._waiting), 0))
        taken, self._waiting = self._waiting, []
        records = drained if isinstance(drained, Region) else drained.records
        return [*taken, *records] if taken else records

    def expect(self, wanted: object, *, timeout: float, type: str | None) -> object:
        """The first record that matches; the others keep waiting."""
        import time

        deadline = time.monotonic() + timeout * self._session.target.time_scale
        self._drain(timeout=0, at_least=0)
        seen = 0
        while True:
            for index, raw in enumerate(self._waiting[seen:], seen):
                record = self.decode(raw, type=type)
                if matches(record, wanted):
                    del self._waiting[index]
                    return record
            seen = len(self._waiting)
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(self._nothing(wanted, timeout=timeout, type=type))
            self._drain(timeout=left / self._session.target.time_scale, at_least=1)

    def _drain(self, *, timeout: float, at_least: int) -> None:
        self._waiting += self._read(timeout=timeout, at_least=at_least).records

    def _read(self, *, timeout: float, at_least: int) -> Records | Region:
        milliseconds = round(timeout * self._session.target.time_scale * 1000) if at_least else 0
        op: PerfDrain | RingDrain
        if self._definition.type == MapType.PERF_EVENT_ARRAY:
            op = PerfDrain(self._handle, at_least=at_least, timeout_ms=milliseconds)
        else:
            op = RingDrain(self._handle, at_least=at_least, timeout_ms=milliseconds)
        answer = self._session.run([op])[0]
        drained = answer if isinstance(answer, Region) else self._session.checked(op, answer, kind=Records)
        self.lost += drained.lost
        self.discarded += drained.discarded
        return drained

    def give_back(self, records: Sequence[bytes]) -> None:
        """Put records that were taken, and not used, before all others."""
        self._waiting[:0] = records

    @property
    def time_scale(self) -> float:
        """How much slower than real hardware the kernel is."""
        return self._session.target.time_scale

    def decode(self, raw: bytes, *, type: str | None) -> object:
        """One record, by the type that was asked for or found; an aya-log record as ``AyaRecord``."""
        if self._definition.name == _AYA_LOGS and type is None:
            return self._aya_record(raw)
        if self._btf is None:
            if type is not None:
                raise BpfUsageError(f"map {self._definition.name!r}: the object has no BTF, so there is no {type!r}")
            return raw
        key = len(raw), type
        type_id = self._types.get(key, -1)
        if type_id < 0:
            type_id = record_type(self._btf, size=len(raw), definition=self._definition, wanted=type)
            self._types[key] = type_id
        if not type_id:
            return raw
        from pytest_ebpf.btf.codec import decode

        return decode(self._btf, type_id, data=raw)

    def _aya_record(self, raw: bytes) -> object:
        from pytest_ebpf.events.aya_log import parse_aya_record

        order = self._session.target.described.byteorder
        try:
            return parse_aya_record(raw, byteorder=order, from_perf=self._definition.type == MapType.PERF_EVENT_ARRAY)
        except ValueError:
            return raw  # somebody else's map of that name, or a format that is newer than this code

    def _nothing(self, wanted: object, *, timeout: float, type: str | None) -> str:
        name = self._definition.name
        lines = [f"no record of map {name!r} matched {wanted!r} within {timeout:g} s"]
        shown = [f"  {self.decode(raw, type=type)!r}" for raw in self._waiting[-_MOST_SHOWN:]]
        if not shown:
            lines.append("  nothing came at all: was the program attached, and did it run?")
        elif len(self._waiting) > len(shown):
            lines.append(f"  ... {len(self._waiting) - len(shown)} before, then")
        lines += shown
        if self.lost:
            lines.append(f"  the kernel dropped {self.lost} records: the buffer is too small")
        return "\n".join(lines)


def record_type(btf: Btf, *, size: int, definition: MapDef, wanted: str | None) -> int:
    """The BTF type of a record of ``size`` bytes: the one asked for, else that of the map's value, else the struct
    named like the map ("events" -> ``struct event``), else the only struct of that size; 0 when it is not clear. Perf
    records are padded to 8 bytes (less 4), so a size may be up to 7 bytes larger than its struct; where a struct ends
    in an array without a size, it may be any.

    ``BpfUsageError`` for a name that is not in the BTF.
    """
    if wanted is not None:
        return named_type(btf, wanted)
    for found in _likely(btf, definition):
        if _fits(btf, found, got=size):
            return found
    same = [type_id for type_id in _structs(btf).values() if btf.size(type_id) == size]
    return same[0] if len(same) == 1 else 0


def named_type(btf: Btf, name: str) -> int:
    """A type by its name, "struct event" or "event". ``BpfUsageError``: there is none."""
    found = _named(btf, name)
    if not found:
        raise BpfUsageError(f"the object has no type {name!r}", hint=f"Its structs: {', '.join(_structs(btf))}.")
    return found


def type_named_like(btf: Btf, definition: MapDef) -> int:
    """The type of a map's records by the map's own words, 0 when it has none."""
    return next(_likely(btf, definition), 0)


def _likely(btf: Btf, definition: MapDef) -> Iterator[int]:
    stem = definition.name.removesuffix("s")
    named = (_named(btf, name) for name in (definition.name, stem, f"{stem}_t"))
    yield from filter(None, (_value_type(btf, definition), *named))


def _value_type(btf: Btf, definition: MapDef) -> int:
    """0 where it says nothing: the value of a perf event array is an fd, though some give the type of its records."""
    from pytest_ebpf.btf.types import Struct

    type_id = definition.value_type
    if definition.type == MapType.PERF_EVENT_ARRAY and not isinstance(btf.type(btf.resolve(type_id)), Struct):
        return 0
    return type_id


def _fits(btf: Btf, type_id: int, *, got: int) -> bool:
    from pytest_ebpf.btf.layout import is_open_ended

    size = btf.size(type_id)
    return size <= got and (got < size + 8 or is_open_ended(btf, type_id))


def _named(btf: Btf, name: str) -> int:
    from pytest_ebpf.btf.types import Kind

    plain = name.removeprefix("struct ").removeprefix("union ").removeprefix("enum ").strip()
    for kind in (Kind.STRUCT, Kind.UNION, Kind.TYPEDEF, Kind.ENUM, Kind.ENUM64, Kind.INT, Kind.FLOAT):
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
