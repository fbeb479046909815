"""One uprobe through a perf event: what single uprobes, USDT probes and uprobe.multi on old kernels are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_ebpf.agent.ops import Data, Failed, PerfEventOpen, ReadFile
from pytest_ebpf.errors import PlanError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.perf_event import join_links, on_perf_event
from pytest_ebpf.live.session import Session

__all__ = ["UprobePlace", "attach_places", "at_return"]

_PMU = "/sys/bus/event_source/devices/uprobe"
_COUNTER_SHIFT = 32  # of config, where the PMU's format has "ref_ctr_offset" ("config:32-63", Linux 4.20)


@dataclass(frozen=True, slots=True)
class UprobePlace:
    """``offset`` in the file, the ``cookie`` for it, and where in the file the counter of its users is (0: none)."""

    offset: int
    cookie: int = 0
    counter: int = 0


def attach_places(
    session: Session,
    program: AttachableProgram,
    *,
    path: str,
    places: Sequence[UprobePlace],
    pid: int | None,
    where: str,
) -> Link:
    """One perf event for each place, held together by one ``Link``. ``PlanError``: the kernel has no uprobes."""
    read = session.attempt(ReadFile(f"{_PMU}/type"), Data)
    if isinstance(read, Failed):
        raise PlanError(
            f"{program.name}: this kernel cannot attach uprobes (no {_PMU})",
            feature="uprobe",
            hint="It is built without CONFIG_UPROBE_EVENTS.",
        )
    config = _retprobe_bit(session) if at_return(program) else 0
    ops = [
        PerfEventOpen(
            int(read.data),
            config=config | place.counter << _COUNTER_SHIFT,
            config1=path,
            config2=place.offset,
            pid=-1 if pid is None else pid,
            cpu=0 if pid is None else -1,
        )
        for place in places
    ]
    return join_links(session, program, links=_each(session, program, ops=ops, places=places, where=where), where=where)


def _each(
    session: Session,
    program: AttachableProgram,
    *,
    ops: Sequence[PerfEventOpen],
    places: Sequence[UprobePlace],
    where: str,
) -> Iterable[Link]:
    for op, place in zip(ops, places, strict=True):
        yield on_perf_event(session, program, event=session.make(op), where=where, cookie=place.cookie)


def at_return(program: AttachableProgram) -> bool:
    """Whether a program asks to run when the function returns."""
    return program.definition.section.lstrip("?").startswith("uretprobe")


def _retprobe_bit(session: Session) -> int:
    """The PMU says which bit of ``config`` means "at return" ("config:0")."""
    text = session.one(ReadFile(f"{_PMU}/format/retprobe"), Data).data.decode().strip()
    return 1 << int(text.rpartition(":")[2])
