"""Programs on perf events: clocks, counters of the CPU and of the kernel, caches, breakpoints, any event source that
sysfs lists. The names of events are those of perf(1); they become the type and config of perf_event_open(2)."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Mapping
from itertools import product
from types import MappingProxyType

from pytest_ebpf.agent.ops import (
    Close,
    Data,
    Done,
    Failed,
    Handle,
    LinkCreate,
    ListDir,
    Made,
    PerfAttach,
    PerfEventOpen,
    ReadFile,
)
from pytest_ebpf.errors import BpfUsageError, EbpfError, KernelCallError, PlanError, errno_name
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.attach.arguments import EventArg
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.attach.options import U64, int_option
from pytest_ebpf.live.inspect.executables import check_pid
from pytest_ebpf.live.inspect.kallsyms import symbol_address
from pytest_ebpf.live.session import Session
from pytest_ebpf.suggest import did_you_mean
from pytest_ebpf.uapi.enums import AttachType
from pytest_ebpf.uapi.perf import Breakpoint, PerfCache, PerfCacheOp, PerfHardware, PerfSoftware, PerfType

__all__ = [
    "PERF_EVENTS",
    "PerfEvent",
    "attach_perf_event",
    "join_links",
    "on_perf_event",
    "perf_event",
    "probe_source",
]

_INHERIT, _IS_FREQUENCY = 1 << 1, 1 << 10  # bits of struct perf_event_attr
_SOURCES = "/sys/bus/event_source/devices"
# Where perf(1) does not use the kernel's name.
_PERF_NAMES: Mapping[str, str] = MappingProxyType(
    {"REF_CPU_CYCLES": "ref-cycles", "PAGE_FAULTS_MIN": "minor-faults", "PAGE_FAULTS_MAJ": "major-faults"}
)
_CACHES: Mapping[PerfCache, str] = MappingProxyType(
    {
        PerfCache.L1D: "L1-dcache",
        PerfCache.L1I: "L1-icache",
        PerfCache.LL: "LLC",
        PerfCache.DTLB: "dTLB",
        PerfCache.ITLB: "iTLB",
        PerfCache.BPU: "branch",
        PerfCache.NODE: "node",
    }
)
_CACHE_OPS: Mapping[PerfCacheOp, tuple[str, str]] = MappingProxyType(
    {
        PerfCacheOp.READ: ("loads", "load"),
        PerfCacheOp.WRITE: ("stores", "store"),
        PerfCacheOp.PREFETCH: ("prefetches", "prefetch"),
    }
)
_ACCESS: Mapping[str, Breakpoint] = MappingProxyType(
    {"r": Breakpoint.R, "w": Breakpoint.W, "rw": Breakpoint.R | Breakpoint.W, "x": Breakpoint.X}
)
_MEMORY = re.compile(r"mem:(?P<place>\w+)(?:/(?P<size>[1248]))?(?::(?P<access>rw?|w|x))?")
_SOURCE = re.compile(r"(?P<source>[^/]+)/(?P<terms>[^/]*)/")


@dataclass(frozen=True, slots=True)
class PerfEvent:
    """Fields of struct perf_event_attr. ``breakpoint``: its bp_type. ``counted``: sample every event by default."""

    type: int
    config: int = 0
    config1: int = 0
    config2: int = 0
    breakpoint: int = 0
    counted: bool = False


def _cache_names() -> dict[str, tuple[int, int]]:
    """ "L1-dcache-loads", "L1-dcache-load-misses", … -> type, and config: which cache, access, hit or miss."""
    found = {}
    for (cache, name), (op, (all_of, one)) in product(_CACHES.items(), _CACHE_OPS.items()):
        found[f"{name}-{all_of}"] = (int(PerfType.HW_CACHE), cache | op << 8)
        found[f"{name}-{one}-misses"] = (int(PerfType.HW_CACHE), cache | op << 8 | 1 << 16)
    return found


def _perf_name(name: str) -> str:
    return _PERF_NAMES.get(name, name.lower().replace("_", "-"))


PERF_EVENTS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {_perf_name(each.name): (int(PerfType.HARDWARE), int(each)) for each in PerfHardware}
    | {_perf_name(each.name): (int(PerfType.SOFTWARE), int(each)) for each in PerfSoftware}
    | _cache_names()
)


def attach_perf_event(
    session: Session,
    program: AttachableProgram,
    *,
    event: EventArg,
    period: int | None = None,
    frequency: int | None = None,
    pid: int | None = None,
    cpu: int | None = None,
    inherit: bool = False,
) -> Link:
    """On ``event``: a name of ``PERF_EVENTS`` ("cpu-clock", "L1-dcache-load-misses"), "raw:0x1a8", "mem:ADDRESS/4:w",
    "pmu/event/" or a pair (type, config). ``period``: once per that many events, or ``frequency``: times per second.
    ``pid`` and ``cpu``: one process, one CPU; without both, on each CPU. ``inherit``: child processes too."""
    found = perf_event(session, program.name, given=event)
    sample, bits = _policy(program, period=period, frequency=frequency, counted=found.counted)
    process = check_pid(session, pid, who=program.name)
    if cpu is not None:
        int_option(program.name, "cpu", value=cpu)
    everywhere = _online_cpus(session) if pid is None and cpu is None else (-1 if cpu is None else cpu,)
    ops = [
        PerfEventOpen(
            found.type,
            found.config,
            config1=found.config1,
            config2=found.config2,
            pid=-1 if process is None else process,
            cpu=one,
            sample_period=sample,
            bits=bits | (_INHERIT if inherit else 0),
            breakpoint=found.breakpoint,
        )
        for one in everywhere
    ]
    where = f"{event} on {len(ops)} CPUs" if len(ops) > 1 else str(event)
    made = (on_perf_event(session, program, event=_open(session, program, op=op), where=where) for op in ops)
    return join_links(session, program, links=made, where=where)


def _open(session: Session, program: AttachableProgram, *, op: PerfEventOpen) -> Handle:
    try:
        return session.make(op)
    except KernelCallError as error:
        absent = (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV, errno.EINVAL)
        if op.type in (PerfType.HARDWARE, PerfType.HW_CACHE, PerfType.RAW) and error.errno in absent:
            raise PlanError(
                f"{program.name}: this CPU does not count this event ({errno_name(error.errno)})",
                feature="perf:hardware",
                hint="Emulated CPUs and most virtual ones have no counters: use a software event (cpu-clock).",
            ) from error
        raise


def join_links(session: Session, program: AttachableProgram, *, links: Iterable[Link], where: str) -> Link:
    """Several attachments as one link; when one fails, those before it are detached."""
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
    """Attach to an open perf event: a link (Linux 5.15, b89fbfbb854c); before, an ioctl, which takes no cookie."""
    op = LinkCreate(program.handle, AttachType.PERF_EVENT, target=event, cookie=cookie)
    link = session.attempt(op, Made)
    if isinstance(link, Made):
        return Link(
            session, program=program, target=where, mechanism=Mechanism.PERF_EVENT_LINK, handles=(link.handle, event)
        )
    if cookie:
        session.one(Close(event), Done)
        session.checked(op, link, kind=Made)
    tied = session.attempt(PerfAttach(event, program.handle), Done)
    if isinstance(tied, Failed):
        session.one(Close(event), Done)
        session.checked(PerfAttach(event, program.handle), tied, kind=Done)
    return Link(session, program=program, target=where, mechanism=Mechanism.PERF_EVENT, handles=(event,))


def _policy(program: AttachableProgram, *, period: int | None, frequency: int | None, counted: bool) -> tuple[int, int]:
    """(sample_period, bits). An event that is ``counted`` needs neither option."""
    if period is None and frequency is None and counted:
        return 1, 0
    if (period is None) == (frequency is None):
        raise BpfUsageError(f"{program.name}: attach() needs either period= (events) or frequency= (times a second)")
    if period is not None:
        return int_option(program.name, "period", value=period, limit=U64), 0
    return int_option(program.name, "frequency", value=frequency, limit=U64), _IS_FREQUENCY


def probe_source(session: Session, source: str, *, who: str, at_return: bool) -> tuple[int, int]:
    """The perf type of "kprobe" or "uprobe", and the config: its format has the bit for "at return" ("config:0")."""
    folder = f"{_SOURCES}/{source}"
    read = session.attempt(ReadFile(f"{folder}/type"), Data)
    if isinstance(read, Failed):
        raise PlanError(
            f"{who}: this kernel cannot attach {source}s (no {folder})",
            feature=source,
            hint=f"It is built without CONFIG_{source.upper()}_EVENTS; mark the test bpf_feature({source!r}).",
        )
    if not at_return:
        return int(read.data), 0
    text = session.one(ReadFile(f"{folder}/format/retprobe"), Data).data.decode().strip()
    return int(read.data), 1 << int(text.rpartition(":")[2])


def perf_event(session: Session, who: str, *, given: object) -> PerfEvent:
    """The event that ``event=`` names. ``BpfUsageError`` with the most similar names for an unknown one."""
    if isinstance(given, tuple) and len(given) == 2 and all(isinstance(part, int) for part in given):
        return PerfEvent(*given)
    if isinstance(given, str):
        if given in PERF_EVENTS:
            return PerfEvent(*PERF_EVENTS[given])
        if found := re.fullmatch(r"raw:(0x[0-9a-fA-F]+|\d+)|r([0-9a-fA-F]+)", given):
            return PerfEvent(PerfType.RAW, int(found[1], 0) if found[1] else int(found[2], 16))
        if found := _MEMORY.fullmatch(given):
            return _breakpoint(session, who, found=found)
        if found := _SOURCE.fullmatch(given):
            return _of_source(session, who, source=found["source"], terms=found["terms"])
        if given.startswith("tracepoint:"):
            _not_a_tracepoint(who, event=given.removeprefix("tracepoint:"))
    raise BpfUsageError(
        f"{who}: unknown perf event {given!r} in event=",
        hint=f"{did_you_mean(str(given), PERF_EVENTS)}; others: raw:0x1a8, mem:ADDRESS/4:w, msr/tsc/ (a source of "
        f"{_SOURCES}), (type, config).",
    )


def _not_a_tracepoint(who: str, *, event: str) -> None:
    """kernel/events/core.c: __perf_event_set_bpf_prog()."""
    raise BpfUsageError(
        f"{who} is a perf_event program, and the kernel runs only tracepoint programs on tracepoints",
        hint=f'Write SEC("tp/{event or "sched/sched_switch"}") instead of SEC("perf_event").',
    )


def _breakpoint(session: Session, who: str, *, found: re.Match[str]) -> PerfEvent:
    """``mem:ADDRESS/SIZE:ACCESS``; the address may be the name of a variable or function of the kernel."""
    place, access = found["place"], found["access"] or "rw"
    numeric = re.fullmatch(r"0x[0-9a-fA-F]+|\d+", place)
    address = int(place, 0) if numeric else symbol_address(session, place, who=who)
    size = int(found["size"] or (8 if access == "x" else 4))
    return PerfEvent(PerfType.BREAKPOINT, 0, address, size, breakpoint=_ACCESS[access], counted=True)


def _of_source(session: Session, who: str, *, source: str, terms: str) -> PerfEvent:
    """``source/term,term=value/`` as sysfs defines it: events/NAME holds terms, format/NAME the bits of a term."""
    read = session.attempt(ReadFile(f"{_SOURCES}/{source}/type"), Data)
    if isinstance(read, Failed):
        raise PlanError(
            f"{who}: this machine has no event source {source}",
            feature=f"perf:{source}",
            hint=f"known: {', '.join(_names(session, _SOURCES))}",
        )
    folder, fields = f"{_SOURCES}/{source}", [0, 0, 0]
    for term in filter(None, terms.split(",")):
        for name, _, value in (each.partition("=") for each in _spelled(session, folder, term=term)):
            _fill(session, who, folder=folder, fields=fields, term=(name, int(value or "1", 0)))
    return PerfEvent(int(read.data), config=fields[0], config1=fields[1], config2=fields[2])


def _spelled(session: Session, folder: str, *, term: str) -> list[str]:
    """The terms of the event that ``term`` names, else the term itself."""
    read = session.attempt(ReadFile(f"{folder}/events/{term}"), Data)
    return read.data.decode().strip().split(",") if isinstance(read, Data) else [term]


def _fill(session: Session, who: str, *, folder: str, fields: list[int], term: tuple[str, int]) -> None:
    """Put a value into the bits that its format names: "config1:0-7,32-35"."""
    name, value = term
    read = session.attempt(ReadFile(f"{folder}/format/{name}"), Data)
    if isinstance(read, Failed):
        known = _names(session, f"{folder}/events") + [f"{each}=" for each in _names(session, f"{folder}/format")]
        raise BpfUsageError(f"{who}: {folder} has no event or term {name!r}", hint=f"known: {', '.join(known)}")
    field, _, places = read.data.decode().strip().partition(":")
    which = int(field.removeprefix("config") or 0)
    for place in places.split(","):
        low, _, high = place.partition("-")
        width = int(high or low) - int(low) + 1
        fields[which] |= (value & ((1 << width) - 1)) << int(low)
        value >>= width


def _names(session: Session, folder: str) -> list[str]:
    listed = session.attempt(ListDir(folder), Data)
    return [name for name in listed.data.decode().split("\0") if name] if isinstance(listed, Data) else []


def _online_cpus(session: Session) -> list[int]:
    """The numbers of the CPUs that are online."""
    text = session.one(ReadFile("/sys/devices/system/cpu/online"), Data).data.decode().strip()
    ranges = [part.partition("-") for part in text.split(",")]
    return [cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)]
