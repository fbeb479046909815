"""What the name of a perf event means: perf(1)'s notation -> the type and config of perf_event_open(2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

from pytest_ebpf.agent.ops import Data, Failed, ListDir, ReadFile
from pytest_ebpf.errors import BpfUsageError, PlanError
from pytest_ebpf.live.session import Session

__all__ = ["CACHE", "HARDWARE", "PERF_EVENTS", "RAW", "PerfEvent", "online_cpus", "perf_event"]

HARDWARE, SOFTWARE, CACHE, RAW, BREAKPOINT = 0, 1, 3, 4, 5  # enum perf_type_id (include/uapi/linux/perf_event.h)
_SOURCES = "/sys/bus/event_source/devices"
_HARDWARE_NAMES = (
    *("cpu-cycles", "instructions", "cache-references", "cache-misses", "branch-instructions", "branch-misses"),
    *("bus-cycles", "stalled-cycles-frontend", "stalled-cycles-backend", "ref-cycles"),
)  # enum perf_hw_id
_SOFTWARE_NAMES = (
    *("cpu-clock", "task-clock", "page-faults", "context-switches", "cpu-migrations", "minor-faults", "major-faults"),
    *("alignment-faults", "emulation-faults", "dummy", "bpf-output", "cgroup-switches"),
)  # enum perf_sw_ids
_CACHES = ("L1-dcache", "L1-icache", "LLC", "dTLB", "iTLB", "branch", "node")  # enum perf_hw_cache_id
_CACHE_OPS = (("loads", "load"), ("stores", "store"), ("prefetches", "prefetch"))  # enum perf_hw_cache_op_id
_ACCESS = MappingProxyType({"r": 1, "w": 2, "rw": 3, "x": 4})  # HW_BREAKPOINT_* (linux/hw_breakpoint.h)
_MEMORY = re.compile(r"mem:(?P<place>\w+)(?:/(?P<size>[1248]))?(?::(?P<access>rw?|w|x))?")
_SOURCE = re.compile(r"(?P<source>[^/]+)/(?P<terms>[^/]*)/")


@dataclass(frozen=True, slots=True)
class PerfEvent:
    """Fields of struct perf_event_attr. ``breakpoint``: its bp_type. ``counted``: each event matters, so that sampling
    every one of them needs no saying."""

    type: int
    config: int = 0
    config1: int = 0
    config2: int = 0
    breakpoint: int = 0
    counted: bool = False


def _cache_names() -> dict[str, tuple[int, int]]:
    """ "L1-dcache-loads", "L1-dcache-load-misses", … -> config: which cache, access, hit or miss."""
    found = {}
    for (cache, name), (op, (all_of, one)) in product(enumerate(_CACHES), enumerate(_CACHE_OPS)):
        found[f"{name}-{all_of}"] = (CACHE, cache | op << 8)
        found[f"{name}-{one}-misses"] = (CACHE, cache | op << 8 | 1 << 16)
    return found


PERF_EVENTS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {name: (HARDWARE, number) for number, name in enumerate(_HARDWARE_NAMES)}
    | {name: (SOFTWARE, number) for number, name in enumerate(_SOFTWARE_NAMES)}
    | _cache_names()
)


def perf_event(session: Session, who: str, *, given: object) -> PerfEvent:
    """What ``event=`` means. ``BpfUsageError`` with the nearest names for what means nothing."""
    if isinstance(given, tuple) and len(given) == 2 and all(isinstance(part, int) for part in given):
        return PerfEvent(*given)
    if isinstance(given, str):
        if given in PERF_EVENTS:
            return PerfEvent(*PERF_EVENTS[given])
        if found := re.fullmatch(r"raw:(0x[0-9a-fA-F]+|\d+)|r([0-9a-fA-F]+)", given):
            return PerfEvent(RAW, int(found[1], 0) if found[1] else int(found[2], 16))
        if found := _MEMORY.fullmatch(given):
            return _breakpoint(session, who, found=found)
        if found := _SOURCE.fullmatch(given):
            return _of_source(session, who, source=found["source"], terms=found["terms"])
        if given.startswith("tracepoint:"):
            _not_a_tracepoint(who, event=given.removeprefix("tracepoint:"))
    from difflib import get_close_matches

    close = get_close_matches(str(given), PERF_EVENTS, n=3)
    known = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(PERF_EVENTS)}"
    raise BpfUsageError(
        f"{who}: event= is no event: {given!r}",
        hint=f"{known} Others: raw:0x1a8, mem:ADDRESS/4:w, msr/tsc/ (a source of {_SOURCES}), (type, config).",
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
    address = int(place, 0) if numeric else _symbol(session, who, name=place)
    size = int(found["size"] or (8 if access == "x" else 4))
    return PerfEvent(BREAKPOINT, 0, address, size, breakpoint=_ACCESS[access], counted=True)


def _symbol(session: Session, who: str, *, name: str) -> int:
    read = session.attempt(ReadFile("/proc/kallsyms"), Data)
    text = read.data.decode(errors="replace") if isinstance(read, Data) else ""
    found = re.search(rf"^([0-9a-f]+) \w {re.escape(name)}(?:\t|$)", text, re.MULTILINE)
    if found is None or not int(found[1], 16):
        what = "has no address for" if found is None else "does not say (to this user) where it has"
        raise BpfUsageError(f"{who}: this kernel {what} {name!r}", hint="/proc/kallsyms lists what it has.")
    return int(found[1], 16)


def _of_source(session: Session, who: str, *, source: str, terms: str) -> PerfEvent:
    """``source/term,term=value/`` as sysfs describes it: events/NAME holds terms, format/NAME the bits of a term."""
    read = session.attempt(ReadFile(f"{_SOURCES}/{source}/type"), Data)
    if isinstance(read, Failed):
        raise PlanError(
            f"{who}: this machine has no event source {source}",
            feature=f"perf:{source}",
            hint=f"it has: {', '.join(_names(session, _SOURCES))}",
        )
    folder, fields = f"{_SOURCES}/{source}", [0, 0, 0]
    for term in filter(None, terms.split(",")):
        for name, _, value in (each.partition("=") for each in _spelled(session, folder, term=term)):
            _fill(session, who, folder=folder, fields=fields, term=(name, int(value or "1", 0)))
    return PerfEvent(int(read.data), config=fields[0], config1=fields[1], config2=fields[2])


def _spelled(session: Session, folder: str, *, term: str) -> list[str]:
    """The terms that the name of an event stands for, else the term itself."""
    read = session.attempt(ReadFile(f"{folder}/events/{term}"), Data)
    return read.data.decode().strip().split(",") if isinstance(read, Data) else [term]


def _fill(session: Session, who: str, *, folder: str, fields: list[int], term: tuple[str, int]) -> None:
    """Put a value into the bits that its format names: "config1:0-7,32-35"."""
    name, value = term
    read = session.attempt(ReadFile(f"{folder}/format/{name}"), Data)
    if isinstance(read, Failed):
        known = _names(session, f"{folder}/events") + [f"{each}=" for each in _names(session, f"{folder}/format")]
        raise BpfUsageError(f"{who}: {folder} has no event or term {name!r}", hint=f"it has: {', '.join(known)}")
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


def online_cpus(session: Session) -> list[int]:
    """The processors that run, by number."""
    text = session.one(ReadFile("/sys/devices/system/cpu/online"), Data).data.decode().strip()
    ranges = [part.partition("-") for part in text.split(",")]
    return [cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)]
