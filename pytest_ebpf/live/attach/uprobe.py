"""Programs on functions of user space: uprobe and uretprobe, through perf events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from pytest_ebpf.agent.ops import PerfEventOpen
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.options import U64, int_option
from pytest_ebpf.live.attach.perf_event import join_links, on_perf_event, probe_source
from pytest_ebpf.live.inspect.executables import check_pid, find_binary, read_binary
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.executables import function_places

__all__ = ["UprobePlace", "at_return", "attach_places", "attach_uprobe", "read_user_target"]

_COUNTER_SHIFT = 32  # of config, where the PMU's format has "ref_ctr_offset" ("config:32-63", Linux 4.20)
_TARGET = re.compile(r"(?P<binary>.+):(?P<symbol>[^:+]+?)(?:\+(?P<offset>0x[0-9a-fA-F]+|[0-9]+))?$")


def read_user_target(target: str) -> Mapping[str, object]:
    """The options that ``uprobe/binary:symbol+offset`` states. A lone number is an offset in the file."""
    found = _TARGET.match(target)
    binary = found["binary"] if found else target
    if "/" in binary and not binary.startswith("/"):
        binary = f"/{binary}"  # aya-ebpf leaves out the first slash of a path
    if found is None:
        return {"binary": binary}
    given: dict[str, object] = {"binary": binary}
    if re.fullmatch(r"0x[0-9a-fA-F]+|[0-9]+", found["symbol"]):
        return given | {"offset": int(found["symbol"], 0)}
    given["symbol"] = found["symbol"]
    return given | ({"offset": int(found["offset"], 0)} if found["offset"] else {})


def attach_uprobe(
    session: Session,
    program: AttachableProgram,
    *,
    binary: str,
    symbol: str | None = None,
    offset: int = 0,
    pid: int | None = None,
    cookie: int = 0,
    counter: int = 0,
) -> Link:
    """On ``symbol`` of ``binary`` (a path, a program in PATH or a library), ``offset`` bytes in; without a symbol
    ``offset`` is one in the file. ``pid``: only in that process. ``counter``: the offset in the file of a counter that
    is above 0 while a program is attached, as USDT semaphores are."""
    process = check_pid(session, pid, who=program.name)
    path = find_binary(session, binary, who=program.name, pid=process)
    for name, value in (("offset", offset), ("cookie", cookie), ("counter", counter)):
        int_option(program.name, name, value=value, limit=U64)
    if symbol is None and not offset:
        raise BpfUsageError(
            f"{program.name}: attach() needs symbol= (a function of {path}) or offset= (a position in the file)"
        )
    place = offset
    if symbol is not None:
        if not isinstance(symbol, str):
            raise BpfUsageError(f"{program.name}: symbol= expects the name of one function, got {symbol!r}")
        place += function_places(read_binary(session, path, who=program.name), (symbol,), path=path)[0]
    where = f"{path}:{symbol or ''}{f'+{offset:#x}' if offset or symbol is None else ''}"
    at = UprobePlace(place, cookie, counter)
    return attach_places(session, program, path=path, places=(at,), pid=process, where=where)


@dataclass(frozen=True, slots=True)
class UprobePlace:
    """``offset`` in the file, the ``cookie`` for it, and the offset of the counter of its users (0: none)."""

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
    """One perf event for each place, as one ``Link``. ``PlanError``: the kernel has no uprobes."""
    kind, config = probe_source(session, "uprobe", who=program.name, at_return=at_return(program))
    ops = [
        PerfEventOpen(
            kind,
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
    """Whether a program runs when the function returns."""
    return program.definition.section.lstrip("?").startswith("uretprobe")
