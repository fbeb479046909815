"""Doubles at the load of an object, and what the rest of ``live`` uses of this room."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_ebpf.agent.ops import Op, ProgLoad, Try
from pytest_ebpf.errors import BpfUsageError, ObjectError, PlanError
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.live.instrument.doubles import Doubles
from pytest_ebpf.live.instrument.failing import FaultPlan
from pytest_ebpf.live.instrument.fakes import Fake, Function, check_doubles, fake, frozen_clock, seeded_random
from pytest_ebpf.live.instrument.parts import Parts, with_tables
from pytest_ebpf.live.instrument.state import Instruments
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import ObjectFile, ProgramDef
from pytest_ebpf.plan.planned import Plan
from pytest_ebpf.rewrite.edit import RewriteError
from pytest_ebpf.rewrite.signature_check import signature_difference
from pytest_ebpf.rewrite.substitute import called_names, substitute_calls, without_calls_to
from pytest_ebpf.suggest import did_you_mean

__all__ = ["Doubling", "FaultPlan", "Instruments", "double_object", "fake", "frozen_clock", "seeded_random"]


@dataclass(frozen=True, slots=True)
class Doubling:
    """``obj``: the object with the doubles that are functions in it. ``doubles``: the others, and where they are."""

    session: Session
    obj: ObjectFile
    doubles: Doubles

    def ops(self, plan: Plan) -> tuple[Op, ...]:
        """The ops of ``plan`` with the calls replaced in its programs."""
        ops = list(plan.ops)
        for planned in plan.programs:
            op = ops[planned.op]
            assert isinstance(op, Try)
            assert isinstance(op.op, ProgLoad)
            aliases = {function: name for name, function in self.doubles.functions.items()}
            parts = Parts(planned.name, op.op, made_of=planned, obj=plan.obj, aliases=aliases)
            edits = {site.slot: edit for site in parts.sites if (edit := self.doubles.edit(site)) is not None}
            if not edits:
                continue
            try:
                ops[planned.op] = Try(with_tables(self.session, parts, rewritten=parts.rewritten(edits))[0])
            except RewriteError as error:
                raise PlanError(f"{planned.name} cannot have its doubles: {error}") from None
        return tuple(ops)

    def refused(self, program: str, reason: str) -> PlanError:
        """The error for a program that the verifier refuses with its doubles."""
        names = ", ".join((*self.doubles, *self.doubles.functions))
        return PlanError(
            f"{program}: the verifier does not take it with the doubles of {names}: {reason}",
            hint="Does it load without them? A number cannot stand in for a call that fills memory, or that returns a "
            "pointer which is used without a NULL check: give a function of another object.",
        )


def double_object(
    session: Session,
    obj: ObjectFile,
    *,
    given: object,
    other: Callable[[str], ObjectFile],
    join: Callable[[ObjectFile, ObjectFile], ObjectFile],
) -> Doubling:
    """``other`` reads the object of a path, ``join`` links it to ``obj``. BpfUsageError for a name that nothing calls,
    and for a function whose signature differs."""
    asked = check_doubles(given)
    called = called_names(obj, helpers=HELPERS)
    fakes: dict[str, Fake] = {}
    functions: dict[str, Function] = {}
    for name, double in asked.items():
        if isinstance(double, Function):
            functions[name] = double
        elif name in called:
            fakes[name] = double
        if name not in called and not (isinstance(double, Fake) and double.optional):
            raise BpfUsageError(f"no program of {obj.name.rpartition('/')[2]} calls {name!r}", hint=_near(name, called))
    joined = _with_functions(obj, functions, other=other, join=join)
    doubled = without_calls_to(joined, frozenset(fakes))
    names = {name: function.name for name, function in functions.items()}
    return Doubling(session, doubled, Doubles(session, fakes, functions=names))


def _near(name: str, called: frozenset[str]) -> str:
    known = sorted(called)
    return f"{did_you_mean(name, known)} A function that the compiler inlined is not called: declare it __noinline."


def _with_functions(
    obj: ObjectFile,
    functions: Mapping[str, Function],
    *,
    other: Callable[[str], ObjectFile],
    join: Callable[[ObjectFile, ObjectFile], ObjectFile],
) -> ObjectFile:
    own = {function.name for function in (*obj.programs, *obj.text)}
    for path in dict.fromkeys(function.path for function in functions.values()):
        whole = join(obj, other(path))
        added = {f.name: f for f in (*whole.text, *whole.programs) if f.name not in own}
        targets: dict[str, ProgramDef] = {}
        for name, function in functions.items():
            if function.path == path:
                targets[name] = _target(whole, name, function=function, added=added)
        hidden = frozenset(target.name for target in targets.values())
        whole = replace(
            whole,
            programs=tuple(program for program in whole.programs if program.name in own),
            text=tuple(replace(f, is_hidden=True) if f.name in hidden else f for f in whole.text),
        )
        obj = substitute_calls(whole, targets, helpers=HELPERS, except_in=frozenset(added))
        own |= set(added)
    return obj


def _target(whole: ObjectFile, name: str, *, function: Function, added: Mapping[str, ProgramDef]) -> ProgramDef:
    target = added.get(function.name)
    if target is None or target.spec is not None:
        hint = did_you_mean(function.name, [f.name for f in added.values() if f.spec is None])
        raise ObjectError(f"no function {function.name!r} to stand in for {name}", path=function.path, hint=hint)
    difference = signature_difference(whole, name, stand_in=target)
    if difference:
        raise BpfUsageError(f"{function.path}:{function.name} cannot stand in for {name}: {difference}")
    return target
