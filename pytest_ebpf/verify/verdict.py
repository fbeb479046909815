"""What a kernel says about every program of an object: verdict, reason and cost, without keeping anything loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pytest_ebpf.agent.ops import Failed, ProgLoad, ProgLoaded, ProgRejected, Result, Try
from pytest_ebpf.errors import BpfUsageError, EbpfError, GuestLost, KernelCallError, ObjectError, PlanError, errno_name
from pytest_ebpf.frozen import dataclass, field, replace
from pytest_ebpf.live.batch import Ran, run_batch, stopped_by
from pytest_ebpf.live.facts_cache import facts_for
from pytest_ebpf.live.hints import advise
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.live.load_request import Asked, options_of
from pytest_ebpf.live.program import Program
from pytest_ebpf.live.rejection import rejection
from pytest_ebpf.live.reload import TRACE_ROOM
from pytest_ebpf.live.session import Session, Target
from pytest_ebpf.obj.object import LineInfo, ObjectFile, Problem, ProgramDef
from pytest_ebpf.obj.sections import attach_type_name, prog_type_name
from pytest_ebpf.plan.load_plan import Plan
from pytest_ebpf.plan.planned import PlannedProgram
from pytest_ebpf.uapi.flags import LogFlag
from pytest_ebpf.verifier.compare.cost import LineCost, line_costs
from pytest_ebpf.verifier.compare.veristat_csv import Value
from pytest_ebpf.verifier.log.values import SourceLine, VerifierStats
from pytest_ebpf.verifier.program_rejected import ProgramRejected
from pytest_ebpf.verifier.rejection.classify import classify
from pytest_ebpf.verifier.verifier_log import parse_log
from pytest_ebpf.verify.options import options_for

__all__ = ["TARGET_MISSING", "ProgramVerdict", "Wanted", "verdict_of", "verdict_of_rejection", "verify_object"]

# The kind of an error until all kernels of a run have answered: a target that none has is a mistake in the object.
TARGET_MISSING = "target-missing"


@dataclass(frozen=True, slots=True)
class ProgramVerdict:
    """One program on one kernel.

    ``verdict``: "accepted", "rejected" by the kernel, or "error": it never got there (``message`` says why).
    ``errno``: its name, "" when accepted or unknown. ``class_id``, ``kind``: of the rejection (see
    ``pytest_ebpf.verifier.rejection.classes``); for an error ``kind`` alone, where it is known. ``size``, ``jited``:
    the program in instructions of 8 bytes as it was handed over, and its machine code in bytes. ``config``: values
    of globals it was loaded with. ``lines``: cost per source line where it was asked for.
    """

    object: str
    program: str
    section: str
    kernel: str
    verdict: str
    release: str = ""
    errno: str = ""
    class_id: str = ""
    kind: str = ""
    message: str = ""
    source_line: SourceLine | None = None
    stats: VerifierStats = field(default_factory=VerifierStats)
    type: str = ""
    attach_type: str = ""
    size: int = 0
    jited: int = 0
    config: tuple[tuple[str, Any], ...] = ()
    log: str = field(default="", repr=False)
    lines: tuple[LineCost, ...] = field(default=(), repr=False)
    line_info: tuple[LineInfo, ...] = field(default=(), repr=False)

    @property
    def accepted(self) -> bool:
        return self.verdict == "accepted"

    @property
    def insns(self) -> int | None:
        """Instructions the verifier walked."""
        return self.stats.insns

    @property
    def label(self) -> str:
        """The program with the values of globals it was loaded with: ``prog [limit=4]``."""
        return f"{self.program} [{self.settings}]" if self.config else self.program

    @property
    def settings(self) -> str:
        """The values of globals: ``limit=4 strict=True``."""
        return " ".join(f"{name}={value}" for name, value in self.config)

    def row(self) -> Mapping[str, Value]:
        """As a row of ``verifier.veristat_csv``: figures that are not known are missing."""
        stats = self.stats
        known = {
            "duration": stats.time_us,
            "total_insns": stats.insns,
            "total_states": stats.states,
            "peak_states": stats.peak_states,
            "max_states_per_insn": stats.max_states_per_insn,
            "max_mark_read_len": stats.mark_read,
            "stack_depth": sum(stats.stack) if stats.stack else None,
            "prog_size": self.size or None,
            "prog_size_jited": self.jited or None,
        }
        return {
            "file_name": self.object.rpartition("/")[2],
            "prog_name": self.program,
            "verdict": {"accepted": "success", "rejected": "failure"}.get(self.verdict, "error"),
            "prog_type": self.type,
            "attach_type": self.attach_type,
            "kernel": self.kernel,
            "section": self.section,
            "errno": self.errno,
            "class": self.class_id,
            "kind": self.kind,
            "config": self.settings,
            "message": self.message,
            "source": str(self.source_line or ""),
            **{name: value for name, value in known.items() if value is not None},
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to load: values of ``globals``, whether to count what each source line costs (``lines``: by a trace), whether
    to load the types of the object (``btf``), and ``maps`` and ``programs`` as for ``bpf.load``."""

    globals: Mapping[str, Any] = field(default_factory=dict)
    lines: bool = False
    btf: bool = True
    maps: Mapping[str, Any] = field(default_factory=dict)
    programs: Mapping[str, Any] = field(default_factory=dict)


def verify_object(
    obj: ObjectFile, target: Target, *, kernel: str, cache: LoadCache, wanted: Wanted | None = None
) -> tuple[ProgramVerdict, ...]:
    """Load every program of ``obj``, those that are switched off too, and let go of them again. ``kernel`` is what the
    verdicts call the kernel.

    What cannot be planned or needs what this kernel lacks is a verdict "error", and so is all of an object that makes
    no sense. Exceptions are ``GuestLost``, and ``ObjectError`` or ``BpfUsageError`` for what was asked and does not fit
    the object.
    """
    wanted = wanted or Wanted()
    blank = _Blank(obj.name, kernel, target.described.release, config=tuple(wanted.globals.items()))
    session = Session(target, name=f"verify {obj.name}", advise=advise)
    try:
        plan = _planned(obj, session, cache=cache, wanted=wanted)
        without = replace(wanted, btf=False)
        ran = run_batch(session, plan, without_btf=lambda: _planned(obj, session, cache=cache, wanted=without))
        return _verdicts(ran, session, blank=blank) + _lost(obj, blank=blank)
    except GuestLost:
        raise
    except EbpfError as error:
        changed = wanted.globals or wanted.maps or wanted.programs
        if isinstance(error, BpfUsageError):
            raise
        if isinstance(error, ObjectError) and changed and _fits(obj, session, cache=cache):
            raise  # what was asked is at fault, not the object
        return tuple(blank.error(program, error) for program in obj.programs) + _lost(obj, blank=blank)
    finally:
        _close(session)


def _fits(obj: ObjectFile, session: Session, *, cache: LoadCache) -> bool:
    """Whether the object as it is can be planned."""
    try:
        _planned(obj, session, cache=cache, wanted=Wanted())
    except EbpfError:
        return False
    return True


def _lost(obj: ObjectFile, *, blank: _Blank) -> tuple[ProgramVerdict, ...]:
    """An error for each program that cannot be read, and for each such map that no program uses: the errors of programs
    that use one give its reason."""
    functions = (*obj.programs, *obj.text)
    used = {reloc.symbol for function in functions for reloc in function.relocs if reloc.kind == "map"}
    return tuple(
        blank.lost(problem)
        for problem in obj.problems
        if problem.costs == "program" or (problem.costs == "map" and problem.symbol not in used)
    )


def verdict_of(program: Program) -> ProgramVerdict:
    """The verdict on a program that is loaded, without the name of the kernel."""
    blank = _Blank(program.object_name, "", program.release, config=())
    figures = program.figures
    return blank.verdict(
        program.definition,
        "accepted",
        stats=program.stats,
        size=program.loaded_insns,
        jited=figures.get("jited", 0),
        line_info=tuple(program.line_info),
    )


def verdict_of_rejection(error: ProgramRejected, *, name: str) -> ProgramVerdict:
    """The verdict on a program of the object file ``name`` that a load was refused for."""
    class_id, kind = _classified(error)
    return ProgramVerdict(
        object=name,
        program=error.program,
        section="",
        kernel="",
        verdict="rejected",
        errno=error.errno_name,
        class_id=class_id,
        kind=kind,
        message=_reason(error),
        source_line=error.source_line,
        stats=error.log.stats,
        log=error.log.text,
    )


def _close(session: Session) -> None:
    with suppress(GuestLost):  # which was told already; nothing is left to close
        session.close()


def _planned(obj: ObjectFile, session: Session, *, cache: LoadCache, wanted: Wanted) -> Plan:
    facts = facts_for(session, obj, knowledge=cache.knowledge, btf=None)
    asked = options_of(Asked(maps=wanted.maps, programs=wanted.programs), obj=obj, session=session)
    options = options_for(obj, globals=wanted.globals, has_lines=wanted.lines, has_btf=wanted.btf, asked=asked)
    plan = cache.plan(obj, facts, options=options)
    if not wanted.lines:
        return plan
    return replace(plan, ops=tuple(_traced(op) for op in plan.ops))


def _traced(op: Any) -> Any:
    if isinstance(op, Try) and isinstance(op.op, ProgLoad):
        return Try(replace(op.op, log_limit=TRACE_ROOM))
    return op


@dataclass(frozen=True, slots=True)
class _Blank:
    """What the verdicts of one object on one kernel have in common."""

    object: str
    kernel: str
    release: str
    config: tuple[tuple[str, Any], ...]

    def verdict(self, program: ProgramDef, verdict: str, **known: Any) -> ProgramVerdict:
        spec = program.spec
        return ProgramVerdict(
            object=self.object,
            program=program.name,
            section=program.section,
            kernel=self.kernel,
            release=self.release,
            verdict=verdict,
            config=self.config,
            type=prog_type_name(spec.prog_type).lower() if spec else "",
            attach_type=attach_type_name(spec.attach_type).lower() if spec and spec.attach_type else "",
            **known,
        )

    def lost(self, problem: Problem) -> ProgramVerdict:
        return ProgramVerdict(
            object=self.object,
            program=problem.symbol or problem.section,
            section=problem.section,
            kernel=self.kernel,
            release=self.release,
            verdict="error",
            config=self.config,
            message=problem.message + (f"\n{problem.hint}" if problem.hint else ""),
        )

    def error(self, program: ProgramDef, error: EbpfError, *, size: int = 0) -> ProgramVerdict:
        number = getattr(error, "errno", 0)
        kind = ""
        if isinstance(error, PlanError):
            kind = "feature-missing" if error.feature else TARGET_MISSING if error.target else ""
        name = errno_name(number) if number else ""
        return self.verdict(program, "error", message=error.message, kind=kind, errno=name, size=size)


def _verdicts(ran: Ran, session: Session, *, blank: _Blank) -> tuple[ProgramVerdict, ...]:
    plan, results = ran.plan, ran.results
    stopped = stopped_by(session, plan, results=results)
    found = {id(problem.definition): blank.error(problem.definition, problem.error) for problem in plan.problems}
    for planned in plan.programs:
        result = results[planned.op]
        found[id(planned.definition)] = _verdict(
            plan, planned, result=result, blank=blank, target=session.target, stopped=stopped
        )
    order = {program.name: number for number, program in enumerate(plan.obj.programs)}
    return tuple(sorted(found.values(), key=lambda verdict: order.get(verdict.program, len(order))))


def _verdict(
    plan: Plan, planned: PlannedProgram, *, result: Result, blank: _Blank, target: Target, stopped: EbpfError | None
) -> ProgramVerdict:
    op = plan.ops[planned.op]
    assert isinstance(op, Try)
    assert isinstance(op.op, ProgLoad)
    size = len(op.op.insns) // 8
    match result:
        case ProgLoaded():
            return _accepted(planned, result, blank=blank, size=size)
        case ProgRejected():
            return _rejected(planned, result, blank=blank, op=op.op, target=target)
        case Failed():
            error = KernelCallError(f"{result.op}: {result.text}", op=result.op, errno=result.errno)
            return blank.error(planned.definition, error, size=size)
        case _:
            return blank.error(planned.definition, stopped or PlanError("an earlier operation failed"), size=size)


def _accepted(planned: PlannedProgram, result: ProgLoaded, *, blank: _Blank, size: int) -> ProgramVerdict:
    text = result.log.decode(errors="replace")
    stats = parse_log(text, log_level=result.log_level).stats
    if stats.insns is None and result.verified_insns:
        stats = replace(stats, insns=result.verified_insns)
    lines = _lines(text, planned.line_info, level=result.log_level)
    known = {"stats": stats, "size": size, "jited": result.jited_len, "log": text, "lines": lines}
    return blank.verdict(planned.definition, "accepted", line_info=planned.line_info, **known)


def _rejected(
    planned: PlannedProgram, result: ProgRejected, *, blank: _Blank, op: ProgLoad, target: Target
) -> ProgramVerdict:
    error = rejection(result, program=planned.name, lines=planned.line_info, notes=dict(planned.notes))
    class_id, kind = _classified(error)
    hint = error.hint or advise(op, result.errno, target=target, log=error.log.text)
    return blank.verdict(
        planned.definition,
        "rejected",
        errno=error.errno_name,
        class_id=class_id,
        kind=kind,
        message=_reason(error) + (f"\n{hint}" if hint and not error.log.text else ""),
        source_line=error.source_line,
        stats=error.log.stats,
        size=len(op.insns) // 8,
        log=error.log.text,
        line_info=planned.line_info,
        lines=_lines(error.log.text, planned.line_info, level=result.log_level),
    )


def _lines(text: str, line_info: Sequence[LineInfo], *, level: int) -> tuple[LineCost, ...]:
    return line_costs(text, line_info) if level & LogFlag.LEVEL2 else ()


def _reason(error: ProgramRejected) -> str:
    """Its message without the program, the place and the errno, which have fields of their own."""
    text = error.message.removeprefix(f"{error.program}: ").removesuffix(f" ({error.errno_name})")
    return text.removesuffix(f", at {error.source_line}")


def _classified(error: ProgramRejected) -> tuple[str, str]:
    found = classify(error.log)
    return (found.class_id, found.kind) if found is not None else ("", "")
