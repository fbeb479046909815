"""Programs on tracepoints, through perf events."""

from __future__ import annotations

from pytest_ebpf.agent.ops import Data, Done, Failed, Mount, PerfEventOpen, ReadFile
from pytest_ebpf.errors import BpfUsageError, PlanError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.options import U64, int_option
from pytest_ebpf.live.attach.perf_event import on_perf_event
from pytest_ebpf.live.inspect.suggest import nearest_tracepoints
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.perf import PerfType

__all__ = ["attach_tracepoint", "tracefs_root"]

_TRACEFS = "/sys/kernel/tracing"


def attach_tracepoint(session: Session, program: AttachableProgram, *, event: str, cookie: int = 0) -> Link:
    """On ``event`` ("category:name" or "category/name"). One perf event is enough: the kernel puts the program on the
    tracepoint itself, for every CPU and process (``perf_event_attach_bpf_prog``). ``cookie``: Linux 5.15."""
    category, separator, name = event.replace(":", "/", 1).partition("/") if isinstance(event, str) else ("", "", "")
    if not separator:
        raise BpfUsageError(
            f"{program.name}: event= expects 'category:name', such as 'sched:sched_process_exec', got {event!r}"
        )
    int_option(program.name, "cookie", value=cookie, limit=U64)
    place = f"{category}/{name}"
    tracefs = tracefs_root(session)
    read = session.attempt(ReadFile(f"{tracefs}/events/{place}/id"), Data)
    if isinstance(read, Failed):
        raise PlanError(
            f"{program.name}: this kernel has no tracepoint {place}",
            feature=f"tracepoint:{place}",
            hint=nearest_tracepoints(session, place, tracefs=tracefs)
            or f"bpf_vm.run(['ls', '{tracefs}/events']) lists its tracepoints.",
        )
    perf = session.make(PerfEventOpen(PerfType.TRACEPOINT, config=int(read.data)))
    return on_perf_event(session, program, event=perf, where=place, cookie=cookie)


def tracefs_root(session: Session) -> str:
    """Where tracefs is mounted; it is mounted now if it is not."""
    if isinstance(session.attempt(ReadFile(f"{_TRACEFS}/trace_clock"), Data), Failed):
        session.one(Mount("none", _TRACEFS, "tracefs"), Done)
    return _TRACEFS
