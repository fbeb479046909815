"""Records of a ring buffer or perf event array, as the program that wrote them meant them."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_ebpf.agent.ops import PERF_PAGES, Handle, PerfDrain, Records, Region, RingDrain
from pytest_ebpf.btf.cut import decode_cut
from pytest_ebpf.events.match import matches
from pytest_ebpf.live.maps.lost import drain_with_losses
from pytest_ebpf.live.maps.record_types import RecordType, named_type, record_type
from pytest_ebpf.live.maps.wanted import Wanted, check_wanted, untyped
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.typed.object_types import ObjectTypes
from pytest_ebpf.obj.object import MapDef
from pytest_ebpf.uapi.enums import MapType

__all__ = ["EventStream"]

_MOST_SHOWN = 8
_MOST_BYTES = 64  # of a record in a message
_AYA_LOGS = "AYA_LOGS"  # the map of aya-log-ebpf


class EventStream:
    """Drains one map. Records that nobody took yet wait here; ``discarded`` adds up what never came."""

    def __init__(self, session: Session, *, handle: Handle, definition: MapDef, types: ObjectTypes) -> None:
        self._session = session
        self._handle = handle
        self._definition = definition
        self._types = types
        self._waiting: list[bytes] = []
        self._found: dict[tuple[int, str | None], RecordType | None] = {}
        self._lost = 0
        self._all_lost = False  # whether the kernel counts a loss at once
        self.discarded = 0

    def take(self, *, timeout: float, at_least: int | None, type: str | None) -> list[object]:
        """Everything that came since the last call, after waiting for ``at_least`` records."""
        self.check_type(type)
        return [self.decode(raw, type=type) for raw in self.take_raw(timeout=timeout, at_least=at_least)]

    def take_raw(self, *, timeout: float, at_least: int | None) -> Sequence[bytes] | Region:
        """As ``take``, records as they came. A ring buffer's stay in one piece until they are asked for."""
        wanted = at_least if at_least is not None else (1 if timeout > 0 else 0)
        drained = self._read(timeout=timeout, at_least=max(wanted - len(self._waiting), 0))
        taken, self._waiting = self._waiting, []
        records = drained if isinstance(drained, Region) else drained.records
        return [*taken, *records] if taken else records

    def take_one(self) -> bytes | None:
        """The first record that nobody took, None when there is none now."""
        if not self._waiting:
            self._drain(timeout=0, at_least=0)
        return self._waiting.pop(0) if self._waiting else None

    def expect(self, wanted: object, *, timeout: float, type: str | None) -> object:
        """The first record that matches; the others keep waiting."""
        import time

        logs = self._definition.name == _AYA_LOGS and type is None
        looked_at = Wanted(wanted) if logs else check_wanted(self._types, self._definition, wanted=wanted, type=type)
        deadline = time.monotonic() + timeout * self._session.target.time_scale
        self._drain(timeout=0, at_least=0)
        seen = 0
        while True:
            for index, raw in enumerate(self._waiting[seen:], seen):
                record = self.decode(raw, type=type)
                if matches(record, looked_at.value):
                    del self._waiting[index]
                    return record
            seen = len(self._waiting)
            if (
                looked_at.needs_type
                and seen
                and all(isinstance(self.decode(raw, type=type), bytes) for raw in self._waiting)
            ):
                raise untyped(self._types, self._definition, wanted=wanted, size=len(self._waiting[-1]))
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(self._nothing(wanted, timeout=timeout, type=type))
            self._drain(timeout=left / self._session.target.time_scale, at_least=1)

    def check_type(self, type: str | None) -> None:
        """``BpfUsageError`` for the name of a type that the object does not have."""
        if type is not None:
            named_type(self._types, type)

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
        self._add_up(drained)
        return drained

    def _add_up(self, drained: Records | Region) -> None:
        self._lost += drained.lost
        self.discarded += drained.discarded
        if isinstance(drained, Records):
            self._all_lost = drained.all_lost

    @property
    def lost(self) -> int:
        """What the kernel has dropped by now."""
        if self._definition.type == MapType.PERF_EVENT_ARRAY:
            self._drain(timeout=0, at_least=0)
            if not self._all_lost:
                drained = drain_with_losses(self._session, self._handle)
                self._add_up(drained)
                self._waiting += drained.records
        return self._lost

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
        key = len(raw), type
        if key not in self._found:
            self._found[key] = record_type(self._types, size=len(raw), definition=self._definition, wanted=type)
        found = self._found[key]
        return raw if found is None else decode_cut(found.btf, found.type_id, data=raw)

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
        shown = [f"  {_shown(self.decode(raw, type=type))}" for raw in self._waiting[-_MOST_SHOWN:]]
        if not shown:
            lines.append("  nothing came at all: was the program attached, and did it run?")
        elif len(self._waiting) > len(shown):
            lines.append(f"  ... {len(self._waiting) - len(shown)} before, then")
        lines += shown
        if lost := self.lost:
            lines.append(f"  the kernel dropped {lost} records: the buffer is too small")
            if self._definition.type == MapType.PERF_EVENT_ARRAY:
                pages = self._definition.perf_pages or PERF_PAGES
                lines.append(f"  bpf.load(..., perf_pages={2 * pages}) makes it larger (now {pages} pages a processor)")
        return "\n".join(lines)


def _shown(record: object) -> str:
    """One line: bytes that nobody knows the type of can be many."""
    if isinstance(record, bytes) and len(record) > _MOST_BYTES:
        return f"{len(record)} bytes, without a type: {record[:_MOST_BYTES].hex(' ', 4)} …"
    return repr(record)
