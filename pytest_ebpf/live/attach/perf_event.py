"""Attaching to perf events: clocks, counters of the processor and of the kernel, caches, breakpoints, tracepoints, any
event source that sysfs lists. What their names mean is in ``live.perf_events``."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping

from pytest_ebpf.agent.ops import Close, Done, Failed, Handle, LinkCreate, Made, PerfAttach, PerfEventOpen
from pytest_ebpf.errors import BpfUsageError, EbpfError, KernelCallError, PlanError, errno_name
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.perf_event_spec import CACHE, HARDWARE, RAW, online_cpus, perf_event
from pytest_ebpf.live.inspect.executables import check_pid
from pytest_ebpf.live.session import Session

__all__ = ["attach_perf_event", "join_links", "on_perf_event"]

_BPF_PERF_EVENT = 41  # enum bpf_attach_type
_INHERIT, _IS_FREQUENCY = 1 << 1, 1 << 10  # bits of struct perf_event_attr


def attach_perf_event(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """On ``event``: a name of ``PERF_EVENTS`` ("cpu-clock", "L1-dcache-load-misses"), "raw:0x1a8",
    "tracepoint:sched/sched_switch", "breakpoint:0xffff…:w4", "pmu/event/" or a pair (type, config).

    ``period``: every so many events, or ``frequency``: so many times a second. ``pid`` and ``cpu``: of one process, on
    one processor; without both, on each processor. ``inherit``: its children too.
    """
    event = perf_event(session, program.name, given=named["event"])
    period, bits = _policy(program, named=named, counted=event.counted)
    pid, cpu = check_pid(session, named.get("pid"), who=program.name), _number(program, "cpu", named=named)
    bits |= _INHERIT if named.get("inherit") else 0
    everywhere = online_cpus(session) if pid is None and cpu is None else (-1 if cpu is None else cpu,)
    where = str(named["event"])
    ops = [
        PerfEventOpen(
            event.type,
            event.config,
            config1=event.config1,
            config2=event.config2,
            pid=-1 if pid is None else pid,
            cpu=one,
            sample_period=period,
            bits=bits,
            breakpoint=event.breakpoint,
        )
        for one in everywhere
    ]
    if len(ops) > 1:
        where = f"{where} on {len(ops)} processors"
    made = (on_perf_event(session, program, event=_open(session, program, op=op), where=where) for op in ops)
    return join_links(session, program, links=made, where=where)


def _open(session: Session, program: AttachableProgram, *, op: PerfEventOpen) -> Handle:
    try:
        return session.make(op)
    except KernelCallError as error:
        absent = (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV, errno.EINVAL)
        if op.type in (HARDWARE, CACHE, RAW) and error.errno in absent:
            raise PlanError(
                f"{program.name}: this processor does not count this event ({errno_name(error.errno)})",
                feature="perf:hardware",
                hint="Emulated processors and most virtual ones have no counters: use a software event (cpu-clock).",
            ) from error
        raise


def join_links(session: Session, program: AttachableProgram, *, links: Iterable[Link], where: str) -> Link:
    """Several attachments as one; those made are undone when the next one fails."""
    made: list[Link] = []
    try:
        for link in links:
            made.append(link)
    except EbpfError:
        for link in reversed(made):
            link.detach()
        raise
    if len(made) == 1:
        return made[0]

    def undo() -> None:
        for link in reversed(made):
            link.detach()

    return Link(session, program=program, target=where, mechanism=made[0].mechanism, undo=undo)


def on_perf_event(session: Session, program: AttachableProgram, *, event: Handle, where: str, cookie: int = 0) -> Link:
    """Links on perf events came with Linux 5.15 (b89fbfbb854c); before, an ioctl ties the program to the event, and
    there is no place for a cookie."""
    op = LinkCreate(program.handle, _BPF_PERF_EVENT, target=event, cookie=cookie)
    link = session.attempt(op, Made)
    if isinstance(link, Made):
        return Link(session, program=program, target=where, mechanism="perf event link", handles=(link.handle, event))
    if cookie:
        session.one(Close(event), Done)
        session.checked(op, link, kind=Made)
    tied = session.attempt(PerfAttach(event, program.handle), Done)
    if isinstance(tied, Failed):
        session.one(Close(event), Done)
        session.checked(PerfAttach(event, program.handle), tied, kind=Done)
    return Link(session, program=program, target=where, mechanism="perf event", handles=(event,))


def _policy(program: AttachableProgram, *, named: Mapping[str, object], counted: bool) -> tuple[int, int]:
    """(sample_period, bits). An event that is ``counted`` one by one needs no saying."""
    period, frequency = _number(program, "period", named=named), _number(program, "frequency", named=named)
    if period is None and frequency is None and counted:
        return 1, 0
    if (period is None) == (frequency is None):
        raise BpfUsageError(f"{program.name}: attach() needs either period= (events) or frequency= (times a second)")
    return (period, 0) if period is not None else (frequency or 0, _IS_FREQUENCY)


def _number(program: AttachableProgram, name: str, *, named: Mapping[str, object]) -> int | None:
    value = named.get(name)
    if value is not None and (not isinstance(value, int) or value < 0):
        raise BpfUsageError(f"{program.name}: {name}= is a number from 0, not {value!r}")
    return value
