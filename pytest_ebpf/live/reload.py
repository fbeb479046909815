"""Loading a program once more, for its trace: what it costs to write one is paid only where somebody asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pytest_ebpf.agent.ops import (
    Close,
    Failed,
    FdPatch,
    Made,
    Obj,
    Op,
    ProgLoad,
    ProgLoaded,
    ProgRejected,
    Ref,
    Result,
    Try,
    Unprivileged,
)
from pytest_ebpf.frozen import replace
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import LineInfo, ProgramDef
from pytest_ebpf.uapi.flags import LogFlag
from pytest_ebpf.verifier.log.values import VerifierStats

if TYPE_CHECKING:
    from pytest_ebpf.verifier.compare.cost import LineCost

__all__ = ["TRACE_LEVEL", "TRACE_ROOM", "Reload", "Seldom", "load_trace", "resolved"]

TRACE_LEVEL = LogFlag.LEVEL2 | LogFlag.STATS
TRACE_ROOM = 64 << 20  # bytes of trace: before Linux 6.4 the first of it, since then the last


def resolved(op: ProgLoad, results: Sequence[Result]) -> ProgLoad:
    """``op`` of a batch that ran, with handles in the place of its references, so that it can run again."""

    def handle(obj: Obj) -> Obj:
        if not isinstance(obj, Ref):
            return obj
        made = results[obj.index]
        assert isinstance(made, Made | ProgLoaded)
        return made.handle

    def optional(obj: Obj | None) -> Obj | None:
        return None if obj is None else handle(obj)

    return replace(
        op,
        patches=tuple(FdPatch(patch.insn, handle(patch.target)) for patch in op.patches),
        btf=optional(op.btf),
        attach_prog=optional(op.attach_prog),
        attach_btf_obj=optional(op.attach_btf_obj),
        fd_array=tuple(handle(obj) for obj in op.fd_array),
    )


class Seldom(Protocol):
    """``live.seldom``. ``program``: a ``Program``, or the name of one."""

    def captured(self, source: Any, folders: Sequence[Path], /, *, prog_type: int, program: str) -> list[bytes]: ...
    def line_costs(self, log: str, line_info: Sequence[LineInfo], /) -> tuple[LineCost, ...]: ...
    def figures_of(self, stats: VerifierStats, *, size: int, jited: int) -> Mapping[str, int]: ...
    def check_within(self, program: Any, /, *, bounds: Mapping[str, object]) -> None: ...


class Reload:
    """How to load a program again: the op of the batch that loaded it, and what that batch made. ``line_info`` says
    which source line an instruction is of, ``starts`` where its functions begin, ``tables`` where its jump tables are
    used and lead to."""

    def __init__(
        self,
        op: Op,
        results: Sequence[Result],
        *,
        line_info: Sequence[LineInfo],
        starts: tuple[tuple[int, ProgramDef], ...] = (),
        tables: tuple[tuple[int, tuple[int, ...]], ...] = (),
    ) -> None:
        while isinstance(op, Try | Unprivileged):
            op = op.op
        self._op = op
        self._results = results
        self.line_info = tuple(line_info)
        self.starts = starts
        self.tables = tables

    @property
    def op(self) -> ProgLoad:
        """The op, to be run by itself."""
        assert isinstance(self._op, ProgLoad)
        return resolved(self._op, self._results)


def load_trace(session: Session, op: ProgLoad, *, room: int = TRACE_ROOM, timeout: float | None = None) -> str:
    """The log of level 2 (every path) with statistics, at most ``room`` bytes of it. The program is let go of again.

    ``KernelCallError`` when what it needs (its maps) is closed already.
    """
    again = Try(replace(op, log_level=TRACE_LEVEL, log_limit=room))
    result = session.run([again], timeout=timeout)[0]
    if isinstance(result, ProgLoaded):
        session.run([Try(Close(result.handle))])
    elif isinstance(result, Failed):
        session.checked(op, result, kind=ProgLoaded)
    assert isinstance(result, ProgLoaded | ProgRejected)
    return result.log.decode(errors="replace")
