"""Run a plan and make live objects of its results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING
from warnings import warn

from pytest_ebpf.agent.ops import (
    PERF_PAGES,
    Done,
    Failed,
    FdAt,
    Handle,
    Made,
    NotRun,
    Obj,
    Op,
    PerfOpen,
    ProgLoaded,
    ProgRejected,
    Ref,
    Result,
)
from pytest_ebpf.errors import PlanError
from pytest_ebpf.live.batch import close_made, made_by, run_batch, stopped_by
from pytest_ebpf.live.bpf_object import BpfObject, Named, OnFirstUse
from pytest_ebpf.live.maps.globals import Globals, GlobalSection
from pytest_ebpf.live.maps.kinds import kind_of
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.pin_reuse import check_pins
from pytest_ebpf.live.program import Program
from pytest_ebpf.live.reload import Reload
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.struct_ops import StructOps
from pytest_ebpf.live.typed.map_types import AskedTypes, typed_map
from pytest_ebpf.live.typed.object_types import ObjectTypes, object_types
from pytest_ebpf.obj.object import Problem
from pytest_ebpf.plan.data_maps import arena_of, placed_types
from pytest_ebpf.plan.kconfig import KCONFIG
from pytest_ebpf.plan.load_plan import Plan, PlannedMap, PlannedProgram, PlannedStructOps
from pytest_ebpf.plan.program_overrides import why_lost
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.verifier.program_rejected import ProgramRejected

if TYPE_CHECKING:
    from pytest_ebpf.live.instrument.doubling import Doubling

__all__ = ["load_plan"]

_LOG = logging.getLogger("pytest_ebpf")
_CUT = "Its trace is cut to {} MB, which leaves the verdict whole; log_level=1 asks for all of it."


def load_plan(
    session: Session,
    plan: Plan,
    *,
    without_btf: Callable[[], Plan],
    types: AskedTypes | None = None,
    doubling: Doubling | None = None,
    ops: Callable[[Plan], Sequence[Op]] = lambda plan: plan.ops,
) -> BpfObject:
    """Load. ``ProgramRejected`` for the first program the kernel refuses, ``PlanError`` for one it cannot have, and
    ``KernelCallError`` for a map; then whatever was made is closed again. ``doubling`` replaces calls; ``ops``: the
    operations of a plan, with the line that asks for them or without.

    When the kernel refuses the BTF of the object, the plan ``without_btf`` is loaded, with a warning. What cannot do
    without its types fails, with the reason.
    """
    for problem in plan.problems:
        if isinstance(problem.error, PlanError):
            raise problem.error
    for lost in plan.lost.values():
        raise lost
    began = time.monotonic()
    ran = run_batch(session, plan, without_btf=without_btf, ops=doubling.ops if doubling else ops)
    try:
        _check(session, ran.plan, results=ran.results)
        check_pins(session, ran.plan, results=ran.results)
    except Exception:
        close_made(session, ran.results)
        raise
    _open_perf_buffers(session, ran.plan, results=ran.results)
    _log_load(session, ran.plan, seconds=time.monotonic() - began)
    if ran.refused:
        fallback = f"{plan.obj.name}: loaded without its BTF, which this kernel refuses: {ran.refused}"
        _LOG.info("%s", fallback)
        warn(fallback, stacklevel=5)
    loaded = _Assembly(session, ran.plan, results=ran.results, types=types or AskedTypes()).loaded()
    if doubling is not None:
        loaded.double(doubling.doubles)
    return loaded


def _log_load(session: Session, plan: Plan, *, seconds: float) -> None:
    """The line of a load: what, where, and how long the kernel took."""
    if _LOG.isEnabledFor(logging.INFO):
        release, programs, maps = session.target.described.release, len(plan.programs), len(plan.maps)
        _LOG.info(
            "loaded %s on %s in %.1f ms (programs: %d, maps: %d)",
            plan.obj.name,
            release,
            1000 * seconds,
            programs,
            maps,
        )


def _open_perf_buffers(session: Session, plan: Plan, *, results: Sequence[Result]) -> None:
    """Before any program runs: a perf event array without buffers refuses records."""
    ops: list[Op] = []
    for planned in plan.maps:
        made = results[planned.op] if planned.op >= 0 else None
        if isinstance(made, Made) and kind_of(planned.definition.type).access == "perf":
            ops.append(PerfOpen(made.handle, pages=planned.definition.perf_pages or PERF_PAGES))
    for op, result in zip(ops, session.run(ops) if ops else (), strict=True):
        session.checked(op, result, kind=Done)


def _check(session: Session, plan: Plan, *, results: Sequence[Result]) -> None:
    if stopped := stopped_by(session, plan, results=results):
        raise stopped
    for program in plan.programs:
        result = results[program.op]
        if isinstance(result, ProgRejected):
            error = _rejected(program, result)
            log = result.log.decode(errors="replace")
            error.hint = error.hint or session.advice(plan.ops[program.op], result.errno, log=log)
            if result.truncated:
                error.hint = f"{error.hint}\n{_CUT.format(len(result.log) >> 20)}".strip()
            raise error
        if isinstance(result, Failed | NotRun):
            session.checked(plan.ops[program.op], result, kind=ProgLoaded)


def _rejected(program: PlannedProgram, result: ProgRejected) -> ProgramRejected:
    from pytest_ebpf.live.rejection import rejection

    return rejection(
        result,
        program=program.name,
        lines=program.line_info,
        notes=dict(program.notes),
    )


class _Assembly:
    """From results to ``BpfObject``."""

    def __init__(self, session: Session, plan: Plan, *, results: Sequence[Result], types: AskedTypes) -> None:
        self._session = session
        self._plan = plan
        self._results = results
        self._types = object_types(plan.obj, given=types.given)
        self._named = types.maps
        self._programs = {planned.name: self._program(planned) for planned in plan.programs}
        maps = OnFirstUse({planned.name: partial(self._map, planned) for planned in plan.maps})
        for name in self._named:
            if name in maps:
                maps[name]  # a wrong type= is an error of the load
        self._maps = Named(maps, what="map", why_not=why_lost(plan.obj, "map"))

    def loaded(self) -> BpfObject:
        plan = self._plan
        why_not = {problem.name: str(problem.error) for problem in plan.problems}
        why_not |= why_lost(plan.obj, "program")
        why_not |= dict.fromkeys(plan.skipped, "it is switched off; name it in only=")
        sections = [
            GlobalSection(planned.data.section, self._handle(planned), planned.definition.flags)
            for planned in plan.maps
            if planned.data
        ]
        arena = arena_of(plan.obj)
        if arena is not None:
            sections += [
                GlobalSection(arena, self._handle(m), start=plan.arena_start)
                for m in plan.maps
                if m.definition.type == MapType.ARENA
            ]
        return BpfObject(
            self._session,
            name=plan.obj.name.rpartition("/")[2],
            programs=Named(self._programs, what="program", why_not=why_not),
            maps=self._maps,
            globals=Globals(self._session, sections=tuple(sections), btf=plan.obj.btf),
            struct_ops=Named(
                {found.name: self._struct_ops(found) for found in plan.struct_ops},
                what="struct_ops",
                why_not=plan.tables_off,
            ),
            handles=made_by(self._results),
            problems=(*plan.obj.problems, *(Problem("struct_ops", *why) for why in plan.tables_off.items())),
            types=self._types,
            file=plan.obj,
        )

    @cached_property
    def _sections(self) -> ObjectTypes:
        return ObjectTypes(placed_types(self._plan.obj, kconfig=self._plan.kconfig))

    def _program(self, planned: PlannedProgram) -> Program:
        result = self._results[planned.op]
        assert isinstance(result, ProgLoaded)
        return Program(
            self._session,
            definition=planned.definition,
            loaded=result,
            obj=self._plan.obj,
            maps=lambda: self._maps,
            again=Reload(
                self._plan.ops[planned.op],
                self._results,
                line_info=planned.line_info,
                starts=planned.starts,
                tables=planned.tables,
            ),
        )

    def _map(self, planned: PlannedMap) -> Map:
        named = self._named.get(planned.name, {})
        is_section = planned.data is not None or planned.name == KCONFIG
        types = self._sections if is_section and not named else self._types
        definition, types = typed_map(planned.definition, types, named=named)
        return Map(
            self._session,
            definition=definition,
            handle=self._handle(planned),
            types=types,
            programs=lambda: {program.id: program for program in self._programs.values()},
            variables=planned.data.section.variables if planned.data else (),
        )

    def _struct_ops(self, planned: PlannedStructOps) -> StructOps:
        by_op: dict[Obj, Program] = {Ref(program.op): self._programs[program.name] for program in self._plan.programs}

        def programs() -> tuple[FdAt, ...]:  # when it is registered: instrumented copies may be in use by then
            return tuple(FdAt(at.offset, by_op[at.target].handle) for at in planned.programs)

        return StructOps(self._session, planned=planned, handle=self._made(planned.map), programs=programs)

    def _handle(self, planned: PlannedMap) -> Handle:
        return self._made(planned.handle)

    def _made(self, obj: Obj) -> Handle:
        if isinstance(obj, Ref):
            made = self._results[obj.index]
            assert isinstance(made, Made | ProgLoaded)
            return made.handle
        return obj
