"""Attaching tracing programs: tracepoints, kprobes, raw tracepoints and trampolines."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import (
    Data,
    Done,
    Failed,
    Mount,
    PerfEventOpen,
    RawTracepointOpen,
    ReadFile,
)
from pytest_ebpf.errors import KernelCallError, PlanError, UsageError
from pytest_ebpf.live.attach_perf import on_perf_event
from pytest_ebpf.live.links import Link
from pytest_ebpf.live.nearby import nearest_functions, nearest_raw_tracepoints, nearest_tracepoints
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from pytest_ebpf.live.program import Program

__all__ = ["attach_kprobe", "attach_raw_tracepoint", "attach_tracepoint", "attach_tracing", "tracefs_root"]

_PERF_TYPE_TRACEPOINT = 2  # include/uapi/linux/perf_event.h
_PMU = "/sys/bus/event_source/devices/kprobe"
_TRACEFS = "/sys/kernel/tracing"


def attach_tracepoint(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """On ``category/name``, through a perf event. One event is enough: programs run for every processor and process
    (``perf_event_attach_bpf_prog`` puts them on the tracepoint itself)."""
    event = str(named["event"])
    category, slash, name = event.partition("/")
    if not slash:
        raise UsageError(
            f"{program.name}: event= is 'category/name', such as 'sched/sched_process_exec', not {event!r}"
        )
    tracefs = tracefs_root(session)
    read = session.attempt(ReadFile(f"{tracefs}/events/{category}/{name}/id"), Data)
    if isinstance(read, Failed):
        raise PlanError(
            f"{program.name}: this kernel has no tracepoint {event}",
            feature=f"tracepoint:{event}",
            hint=nearest_tracepoints(session, event, tracefs=tracefs)
            or f"bpf_vm.run(['ls', '{tracefs}/events']) lists what it has.",
        )
    perf = session.make(PerfEventOpen(_PERF_TYPE_TRACEPOINT, config=int(read.data)))
    return on_perf_event(session, program, event=perf, where=event, cookie=_cookie(program, named=named))


def attach_kprobe(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """On a kernel function (``offset`` bytes in), at its entry or, for kretprobe, at its return."""
    function, offset = str(named["function"]), named.get("offset", 0)
    if not isinstance(offset, int):
        raise UsageError(f"{program.name}: offset= is a number of bytes, not {offset!r}")
    cookie = _cookie(program, named=named)
    read = session.attempt(ReadFile(f"{_PMU}/type"), Data)
    if isinstance(read, Failed):
        raise PlanError(
            f"{program.name}: this kernel cannot attach kprobes (no {_PMU})",
            feature="kprobe",
            hint="It is built without CONFIG_KPROBE_EVENTS; mark the test bpf_feature('kprobe').",
        )
    config = _retprobe_bit(session) if "ret" in program.definition.section.partition("/")[0] else 0
    symbol = _symbol(session, program, function=function)
    op = PerfEventOpen(int(read.data), config=config, config1=symbol, config2=offset)
    try:
        event = session.make(op)
    except KernelCallError as error:
        if error.errno == errno.ENOENT:
            close = nearest_functions(session.target.facts().btf, symbol)
            error.hint = f"This kernel has no function {symbol}; {close or 'it may be inlined (see /proc/kallsyms)'}"
        raise
    return on_perf_event(session, program, event=event, where=function, cookie=cookie)


def attach_raw_tracepoint(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """On the tracepoint itself, arguments as they are."""
    event = str(named["event"])
    name = event.rpartition("/")[2]
    try:
        handle = session.make(RawTracepointOpen(program.handle, name=name))
    except KernelCallError as error:
        if error.errno == errno.ENOENT:
            close = nearest_raw_tracepoints(session.target.facts().btf, name)
            error.hint = f"This kernel has no tracepoint {name!r}; {close}" if close else error.hint
        raise
    return Link(session, program=program, where=event, way="raw tracepoint link", handles=(handle,))


def attach_tracing(session: Session, program: Program, *, named: Mapping[str, object]) -> Link:
    """On what the program was loaded for: the function, tracepoint or LSM hook of its section name."""
    assert program.definition.spec is not None
    handle = session.make(RawTracepointOpen(program.handle))
    where = program.definition.spec.target
    return Link(session, program=program, where=where, way=f"{program.definition.spec.prefix} link", handles=(handle,))


def tracefs_root(session: Session) -> str:
    """Where tracefs is mounted; where it is not, it is mounted now."""
    if isinstance(session.attempt(ReadFile(f"{_TRACEFS}/trace_clock"), Data), Failed):
        session.one(Mount("none", _TRACEFS, "tracefs"), Done)
    return _TRACEFS


def _cookie(program: Program, *, named: Mapping[str, object]) -> int:
    """What ``bpf_get_attach_cookie`` gives (Linux 5.15)."""
    cookie = named.get("cookie", 0)
    if not isinstance(cookie, int):
        raise UsageError(f"{program.name}: cookie= is a number of 64 bits, not {cookie!r}")
    return cookie


def _retprobe_bit(session: Session) -> int:
    """The PMU says which bit of ``config`` means "at return" ("config:0")."""
    text = session.one(ReadFile(f"{_PMU}/format/retprobe"), Data).data.decode().strip()
    return 1 << int(text.rpartition(":")[2])


def _symbol(session: Session, program: Program, *, function: str) -> str:
    """``ksyscall`` names a system call; its function carries the architecture's prefix."""
    if program.definition.section.lstrip("?").split("/")[0] not in ("ksyscall", "kretsyscall"):
        return function
    prefixes = {"x86_64": "__x64_sys_", "aarch64": "__arm64_sys_", "s390x": "__s390x_sys_", "riscv64": "__riscv_sys_"}
    return prefixes.get(session.target.described.machine, "sys_") + function
