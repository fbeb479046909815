"""Attaching to perf events: clocks, counters of the processor and of the kernel, raw events."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Close, Done, Failed, Handle, LinkCreate, Made, PerfAttach, PerfEventOpen
from pytest_ebpf.errors import KernelCallError, UsageError
from pytest_ebpf.live.links import Link
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.program import Program

__all__ = ["PERF_EVENTS", "attach_perf_event", "on_perf_event"]

_BPF_PERF_EVENT = 41  # enum bpf_attach_type
_INHERIT, _IS_FREQUENCY = 1 << 1, 1 << 10  # bits of struct perf_event_attr
_HARDWARE, _SOFTWARE, _TRACEPOINT, _RAW = 0, 1, 2, 4  # enum perf_type_id

# Names as perf(1) has them -> type and config: enum perf_hw_id, enum perf_sw_ids (include/uapi/linux/perf_event.h).
PERF_EVENTS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "cpu-cycles": (_HARDWARE, 0),
        "instructions": (_HARDWARE, 1),
        "cache-references": (_HARDWARE, 2),
        "cache-misses": (_HARDWARE, 3),
        "branch-instructions": (_HARDWARE, 4),
        "branch-misses": (_HARDWARE, 5),
        "bus-cycles": (_HARDWARE, 6),
        "stalled-cycles-frontend": (_HARDWARE, 7),
        "stalled-cycles-backend": (_HARDWARE, 8),
        "ref-cycles": (_HARDWARE, 9),
        "cpu-clock": (_SOFTWARE, 0),
        "task-clock": (_SOFTWARE, 1),
        "page-faults": (_SOFTWARE, 2),
        "context-switches": (_SOFTWARE, 3),
        "cpu-migrations": (_SOFTWARE, 4),
        "minor-faults": (_SOFTWARE, 5),
        "major-faults": (_SOFTWARE, 6),
    }
)


def attach_perf_event(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """On ``event``: a name of ``PERF_EVENTS``, "raw:0x…", "tracepoint:ID" or a pair (type, config).

    ``period``: every so many events, or ``frequency``: so many times a second. ``pid`` and ``cpu``: of one process, on
    one processor; without both, on each processor.
    """
    kind, config = _event(program, given=named["event"])
    period, bits = _policy(program, named=named)
    pid, cpu = _number(program, "pid", named=named), _number(program, "cpu", named=named)
    bits |= _INHERIT if named.get("inherit") else 0
    everywhere = range(session.target.described.cpus) if pid is None and cpu is None else (-1 if cpu is None else cpu,)
    op = [
        PerfEventOpen(kind, config, pid=-1 if pid is None else pid, cpu=one, sample_period=period, bits=bits)
        for one in everywhere
    ]
    links: list[Link] = []
    try:
        for each in op:
            links.append(on_perf_event(session, program, event=session.make(each), where=str(named["event"])))
    except KernelCallError:
        for link in links:
            link.detach()
        raise
    if len(links) == 1:
        return links[0]
    where = f"{named['event']} on {len(links)} processors"

    def undo() -> None:
        for link in links:
            link.detach()

    return Link(session, program=program, where=where, way=links[0].way, undo=undo)


def on_perf_event(session: Session, program: Program, *, event: Handle, where: str, cookie: int = 0) -> Link:
    """Links on perf events came with Linux 5.15 (b89fbfbb854c); before, an ioctl ties the program to the event, and
    there is no place for a cookie."""
    op = LinkCreate(program.handle, _BPF_PERF_EVENT, target=event, cookie=cookie)
    link = session.attempt(op, Made)
    if isinstance(link, Made):
        return Link(session, program=program, where=where, way="perf event link", handles=(link.handle, event))
    if cookie:
        session.one(Close(event), Done)
        session.checked(op, link, kind=Made)
    tied = session.attempt(PerfAttach(event, program.handle), Done)
    if isinstance(tied, Failed):
        session.one(Close(event), Done)
        session.checked(PerfAttach(event, program.handle), tied, kind=Done)
    return Link(session, program=program, where=where, way="perf event", handles=(event,))


def _event(program: Program, *, given: object) -> tuple[int, int]:
    if isinstance(given, tuple) and len(given) == 2 and all(isinstance(part, int) for part in given):
        return given
    if isinstance(given, str):
        if given in PERF_EVENTS:
            return PERF_EVENTS[given]
        kind, colon, number = given.partition(":")
        if colon and kind in ("raw", "tracepoint"):
            try:
                return (_RAW if kind == "raw" else _TRACEPOINT), int(number, 0)
            except ValueError:
                pass
    from difflib import get_close_matches

    close = get_close_matches(str(given), PERF_EVENTS, n=3)
    known = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(PERF_EVENTS)}"
    raise UsageError(f"{program.name}: event= is no event: {given!r}", hint=known)


def _policy(program: Program, *, named: Mapping[str, object]) -> tuple[int, int]:
    """(sample_period, bits)."""
    period, frequency = _number(program, "period", named=named), _number(program, "frequency", named=named)
    if (period is None) == (frequency is None):
        raise UsageError(f"{program.name}: attach() needs either period= (events) or frequency= (times a second)")
    return (period, 0) if period is not None else (frequency or 0, _IS_FREQUENCY)


def _number(program: Program, name: str, *, named: Mapping[str, object]) -> int | None:
    value = named.get(name)
    if value is not None and (not isinstance(value, int) or value < 0):
        raise UsageError(f"{program.name}: {name}= is a number from 0, not {value!r}")
    return value
