"""The instrumented copies of an object's programs. They share its maps; ``prog.run`` and what is attached while they
are there use them. Every change makes them anew from the programs as they were loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeVar
from warnings import warn

from pytest_ebpf.agent.ops import Close, Handle, MapSet, Op, ProgLoad, ProgLoaded, ProgRejected, Try
from pytest_ebpf.errors import BpfUsageError, PlanError, errno_name
from pytest_ebpf.live.instrument.args import ArgumentMap
from pytest_ebpf.live.instrument.calls import Calls, Recorder
from pytest_ebpf.live.instrument.counting import Counting
from pytest_ebpf.live.instrument.doubles import Doubles
from pytest_ebpf.live.instrument.failing import ActiveFault, FaultPlan, fault_layer
from pytest_ebpf.live.instrument.parts import Instrumented, Parts, with_tables
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.rewrite.edit import Edit, RewriteError, merge_edits
from pytest_ebpf.rewrite.sites import CallSite
from pytest_ebpf.suggest import did_you_mean

__all__ = ["Instruments", "refusal"]

R = TypeVar("R")
_COVERAGE, _RECORDS = "coverage", "records of its calls"
_LEFT_OUT = tuple(map(frozenset, ((), (_COVERAGE,), (_RECORDS,), (_COVERAGE, _RECORDS))))


class Instruments:
    """``doubles``: those of the load. ``notes``: what could not be done, for a report."""

    def __init__(
        self,
        session: Session,
        *,
        obj: ObjectFile,
        programs: Mapping[str, Instrumented],
        maps: Callable[[], Mapping[str, ArgumentMap]],
        doubles: Doubles | None = None,
    ) -> None:
        self._session = session
        self._obj = obj
        self._name = obj.name.rpartition("/")[2]
        self._programs = programs
        self._all_maps = maps
        self.doubles = doubles if doubles is not None else Doubles(session, {}, functions={})
        self.doubles.rebuild = self._rebuild
        self.notes: list[str] = []
        self._recorder: Recorder | None = None
        self._counting: Counting | None = None
        self._faults: tuple[ActiveFault, ...] = ()
        self._mutant: tuple[str, dict[int, Edit]] | None = None
        self._copies: dict[str, ProgLoaded] = {}
        self._made: dict[str, tuple[Handle, ...]] = {}
        aliases = {function: name for name, function in self.doubles.functions.items()}
        self._parts = {
            name: Parts(name, original.op, made_of=original, obj=obj, aliases=aliases)
            for name, program in programs.items()
            if (original := program.original) is not None
        }

    @property
    def programs(self) -> Mapping[str, Parts]:
        """The programs as rewriting sees them."""
        return self._parts

    # -- what a test asks for

    def calls(self, name: str | None) -> Calls:
        """Records from now on, unless it does already."""
        if name is not None and not any(site.function == name for site in self._sites()):
            known = sorted({site.function for site in self._sites()})
            raise BpfUsageError(f"no program of {self._name} calls {name!r}", hint=did_you_mean(name, known))
        return Calls(self.recorder(), name=name)

    def recorder(self) -> Recorder:
        """What records the calls of all programs."""
        if self._recorder is None:
            self._recorder = Recorder(self._session, self._maps())
            self._rebuild()
            for reason in self._recorder.unseen(None):
                warn(f"{self._name}: {reason}", stacklevel=3)
        return self._recorder

    def count(self) -> Counting:
        """Count from now on what runs."""
        if self._counting is None:
            self._counting = Counting(self._session, self._parts)
            self._rebuild()
        return self._counting

    def mutate(self, program: str, edits: Mapping[int, Edit]) -> None:
        """A program is another from now on. PlanError when the verifier does not take it."""
        self._mutant = program, dict(edits)
        self._rebuild()

    @contextmanager
    def failing(self, plan: FaultPlan) -> Iterator[ActiveFault]:
        """Calls fail as planned, until the end of the block. PlanError when the verifier does not take a program whose
        call fails."""
        before = self._faults
        try:
            yield self.fail(plan)
        finally:
            self._faults = before
            self._rebuild()

    def fail(self, plan: FaultPlan) -> ActiveFault:
        """Calls fail as planned, from now on."""
        fault = ActiveFault(self._session, plan, parts=self._parts, maps=self._maps())
        self._faults = (*self._faults, fault)
        self._rebuild()
        fault.check()
        return fault

    def _sites(self) -> Iterator[CallSite]:
        return (site for parts in self._parts.values() for site in parts.sites)

    def _maps(self) -> dict[Handle, ArgumentMap]:
        return {found.handle: found for found in self._all_maps().values()}

    # -- copies

    def watch(self) -> None:
        """Have test runs of programs that were loaded with their doubles looked at."""
        for program in self._programs.values():
            program.use(None, watch=self._watched)

    def _rebuild(self) -> None:
        for name, parts in self._parts.items():
            self._replace(name, self._load(parts))
        self._fill_slots()

    def _load(self, parts: Parts) -> ProgLoaded | None:
        """The copy of a program; None when nothing of it changes. What only looks on is left out, with a note, where
        the verifier does not take it: coverage before the records that a test asked for."""
        must = self._must(parts)
        looking = self._looking(parts)
        reason = ""
        for left_out in _LEFT_OUT:
            if not left_out <= looking.keys():
                continue
            edits = merge_edits(*(edits for what, edits in looking.items() if what not in left_out), must)
            loaded = self._try(parts, edits) if edits else None
            if not isinstance(loaded, str):
                self._tell(parts, loaded, left_out=left_out, counts=_COVERAGE in looking.keys() - left_out, why=reason)
                return loaded
            reason = reason or loaded
        raise PlanError(f"{parts.name}: {self._why(parts)}: {loaded}", hint=_HINT)

    def _tell(
        self, parts: Parts, loaded: ProgLoaded | None, *, left_out: frozenset[str], counts: bool, why: str
    ) -> None:
        """Who looks on is told what was loaded, and what was left out."""
        if self._counting is not None:
            self._counting.loaded(parts.name, loaded.handle if loaded is not None and counts else None)
        if self._recorder is not None and _RECORDS in left_out:
            self._recorder.refused(parts, why)
        for what in sorted(left_out):
            note = f"{self._name}: {parts.name} runs without {what}: {why}"
            if note not in self.notes:
                self.notes.append(note)

    def _must(self, parts: Parts) -> dict[int, Edit]:
        edits: dict[int, Edit] = {}
        for site in parts.sites:
            edit = self.doubles.edit(site)
            if edit is not None:
                edits[site.slot] = edit
        edits = fault_layer(parts, self._faults, under=edits)
        if self._mutant is not None and self._mutant[0] == parts.name:
            edits = merge_edits(edits, self._mutant[1])
        return edits

    def _looking(self, parts: Parts) -> dict[str, dict[int, Edit]]:
        layers: dict[str, dict[int, Edit]] = {}
        if self._counting is not None:
            layers[_COVERAGE] = self._counting.edits(parts)
        if self._recorder is not None:
            layers[_RECORDS] = self._recorder.edits(parts)
        return layers

    def _why(self, parts: Parts) -> str:
        faults = [fault.function for fault in self._faults if fault.concerns(parts)]
        if faults:
            return f"the verifier does not take it when {faults[-1]} fails"
        return f"the verifier does not take it with the doubles of {', '.join(self.doubles)}"

    def _try(self, parts: Parts, edits: Mapping[int, Edit]) -> ProgLoaded | str:
        try:
            op, tables = with_tables(self._session, parts, rewritten=parts.rewritten(edits))
        except RewriteError as error:
            return str(error)
        (result,) = self._session.run([Try(op)])
        if isinstance(result, ProgLoaded):
            self._made[parts.name] = (*self._made.get(parts.name, ()), *tables)
            return result
        return refusal(result, op)

    def _replace(self, name: str, copy: ProgLoaded | None) -> None:
        old = self._copies.pop(name, None)
        if copy is not None:
            self._copies[name] = copy
        self._programs[name].use(copy, watch=self._watched)
        if old is not None:
            self._session.run([Try(Close(old.handle))])

    def _fill_slots(self) -> None:
        """Program arrays that the object initialises call the copies, too."""
        order: Literal["big", "little"] = "big" if self._obj.byteorder == "big" else "little"
        ops: list[Op] = []
        for found in self._all_maps().values():
            for slot in found.definition.values:
                program = self._programs.get(slot.symbol) if slot.kind == "func" else None
                if program is not None:
                    ops.append(Try(MapSet(found.handle, slot.index.to_bytes(4, order), program.handle)))
        if ops:
            self._session.run(ops)

    def _watched(self, op: Op, kind: type[R]) -> R:
        """A test run: its calls are recorded anew, and a sequence of values that ended is an error."""
        ops = self._recorder.begin() if self._recorder is not None else []
        result = self._session.checked(op, self._session.run([*ops, op])[-1], kind=kind)
        if self.doubles.can_end and (ended := self.doubles.too_many()) is not None:
            name, count, over = ended
            raise BpfUsageError(
                f"the double of {name} has {count} values, and the run called it {over} more time{'s' * (over > 1)}",
                hint='Give more values, or bpf.fake(values=[...], end="repeat").',
            )
        return result


_HINT = (
    "In the place of a call that returns a pointer can stand NULL or a function of another object; of one that fills "
    "memory, a function alone."
)


def refusal(result: object, op: ProgLoad) -> str:
    """Why the kernel does not take a copy, in one line: of its log, which is about instructions no test has seen, the
    last words alone."""
    if isinstance(result, ProgRejected):
        lines = [line for line in result.log.decode(errors="replace").splitlines() if line and not line[:1].isspace()]
        said = [line for line in lines if not line.startswith(("processed ", "verification time", "stack depth", ";"))]
        return f"{said[-1] if said else 'no reason given'} ({errno_name(result.errno)})"
    return str(getattr(result, "text", result))
