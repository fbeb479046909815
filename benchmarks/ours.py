"""Our side of the comparisons: every program of an object, its verdict and the instructions the verifier walked."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stages import KERNEL, LOADER, MAP, VERIFIER

from pytest_ebpf.agent.ops import Failed, NotRun, ProgLoaded, ProgRejected, Result, Try
from pytest_ebpf.errors import EbpfError, GuestLost, ObjectError
from pytest_ebpf.live.batch import run_batch
from pytest_ebpf.live.session import Session, Target
from pytest_ebpf.obj.object import ObjectFile, ProgramDef
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.learn import learn, needs
from pytest_ebpf.plan.load_plan import LoadOptions, Plan, plan_load
from pytest_ebpf.plan.map_definitions import MapOverride

__all__ = ["Ours", "Verdict", "completed", "load_object"]

_STACK_TRACE = 7
# perf event array, cgroup storages, storages of sockets, inodes, tasks, cgroups, struct_ops
_SIZED_BY_KERNEL = frozenset({4, 19, 21, 24, 28, 29, 32, 26})
_ENTRIES = 4096
_STACK = 127 * 8
_PROCESSED = re.compile(rb"^processed (\d+) insns", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One program. ``outcome``: "loaded", "rejected" by the kernel, "refused" by the loader with a reason, or
    "internal": an error of ours. ``walked``: instructions the verifier processed, -1 when unknown. ``type``: program
    and attach type of the section, None for an unknown section. ``stage``: how far it came, of ``stages``."""

    name: str
    section: str
    outcome: str
    errno: int = 0
    walked: int = -1
    words: str = ""
    type: tuple[int, int] | None = None
    stage: str = LOADER


@dataclass(frozen=True, slots=True)
class Ours:
    """An object. ``error``: why nothing of it could be loaded; ``internal``: the trace of an error of ours."""

    path: Path
    programs: tuple[Verdict, ...] = ()
    error: str = ""
    internal: str = ""


def load_object(path: Path, *, target: Target, only: str = "") -> Ours:
    """Load all programs of an object, or ``only`` one, and let go of them again. Only ``GuestLost`` is raised."""
    try:
        return _load(path, target, only=only)
    except GuestLost:
        raise
    except ObjectError as error:
        return Ours(path, error=str(error))
    except EbpfError as error:
        return Ours(path, error=f"{type(error).__name__}: {error}")
    except Exception:  # whatever it is, it is ours, and the next object is to be tried all the same
        return Ours(path, internal=traceback.format_exc())


def _load(path: Path, target: Target, *, only: str) -> Ours:
    obj = parse_object(path.read_bytes(), name=str(path))
    names = (only,) if only else tuple(dict.fromkeys(program.name for program in obj.programs))
    options = LoadOptions(only=names, maps=completed(obj))
    session = Session(target, name=path.name)
    try:
        plan = _plan(obj, target=target, options=options)
        without = replace(options, btf=False)
        ran = run_batch(session, plan, without_btf=lambda: _plan(obj, target=target, options=without))
    finally:
        session.close()
    return Ours(path, _verdicts(ran.plan, results=ran.results), error=_stopped(ran.plan, results=ran.results))


def completed(obj: ObjectFile) -> dict[str, MapOverride]:
    """What objects leave open for their user space to set; libbpf_load.c sets the same."""
    changes: dict[str, MapOverride] = {}
    for definition in obj.maps:
        fields = {}
        if not definition.max_entries and definition.type not in _SIZED_BY_KERNEL:
            fields["max_entries"] = _ENTRIES
        if not definition.value_size and definition.type == _STACK_TRACE:
            fields["value_size"] = _STACK
        if fields:
            changes[definition.name] = fields
    return changes


def _plan(obj: ObjectFile, *, target: Target, options: LoadOptions) -> Plan:
    facts = target.facts()
    while ops := needs(obj, facts):
        facts = learn(facts, ops, results=target.kernel.run(ops))
    return plan_load(obj, facts, options=options)


def _verdicts(plan: Plan, *, results: Sequence[Result]) -> tuple[Verdict, ...]:
    found = []
    for problem in plan.problems:
        program = problem.definition
        found.append(Verdict(program.name, program.section, "refused", words=str(problem.error), type=_type(program)))
    for planned in plan.programs:
        found.append(_verdict(planned.definition, result=results[planned.op]))
    return tuple(found)


def _type(program: ProgramDef) -> tuple[int, int] | None:
    return (program.spec.prog_type, program.spec.attach_type) if program.spec else None


def _verdict(program: ProgramDef, *, result: Result) -> Verdict:
    known = Verdict(program.name, program.section, "refused", type=_type(program))
    match result:
        case ProgLoaded():
            return replace(known, outcome="loaded", walked=result.verified_insns)
        case ProgRejected():
            processed = _PROCESSED.findall(result.log)
            walked = int(processed[-1]) if processed else -1
            words = result.log[-600:].decode(errors="replace")
            known = replace(known, stage=VERIFIER if walked >= 0 else KERNEL)
            return replace(known, outcome="rejected", errno=result.errno, walked=walked, words=words)
        case Failed():
            return replace(known, errno=result.errno, stage=KERNEL, words=f"{result.op}: {result.text}")
        case _:
            return replace(known, stage=MAP, words="not tried: an earlier operation failed")


def _stopped(plan: Plan, *, results: Sequence[Result]) -> str:
    """The operation that stopped the batch: a map that the kernel refused."""
    if not any(isinstance(result, NotRun) for result in results):
        return ""
    for op, result in zip(plan.ops, results, strict=True):
        if isinstance(result, Failed) and not isinstance(op, Try):
            return f"{result.op} {getattr(op, 'name', '')}: {result.text} (errno {result.errno})"
    return "the batch stopped without a reason"
