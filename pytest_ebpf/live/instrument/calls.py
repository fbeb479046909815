"""``obj.calls("bpf_redirect")``: the recorded calls of the last run, with the assertions of ``unittest.mock``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, overload

from pytest_ebpf.agent.ops import Handle, Op
from pytest_ebpf.features.probe import probe_feature
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.instrument.args import Address, Argument, ArgumentMap, arguments_of, plan_record
from pytest_ebpf.live.instrument.memory import Memory
from pytest_ebpf.live.instrument.parts import Parts
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import LineInfo
from pytest_ebpf.rewrite.edit import Edit, RewriteError
from pytest_ebpf.rewrite.sites import CallSite
from pytest_ebpf.rewrite.spies import ARGUMENTS, HEAD, MEMORY, POINTED, RECORD, RECORDS, RETURNED, RETVAL, record_edit

__all__ = ["Call", "Calls", "Recorder"]

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Call:
    """One call. ``args``: a map is its name, what keys and values point to is decoded as the map does it, flags equal
    their names; other pointers are addresses. ``retval``: None when it did not return (a tail call that jumped) or
    returns nothing. ``source_line``: where it stands."""

    function: str
    args: tuple[object, ...]
    retval: int | None
    source_line: LineInfo | None
    program: str

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(repr, self.args))})"


class Recorder:
    """Where programs record, and what their records mean."""

    SIZE: ClassVar[int] = HEAD + RECORDS * RECORD

    def __init__(self, session: Session, maps: Mapping[Handle, ArgumentMap]) -> None:
        self._memory = Memory(session, size=self.SIZE, name="pe_calls")
        self._atomic = probe_feature(session.target, name="atomics").supported is True
        self._maps = maps
        self._arguments: list[tuple[str, Argument]] = []
        self._numbers: dict[tuple[str, int], int] = {}
        self._addresses: dict[int, str] = {}
        self._blind: dict[str, dict[str, str]] = {}

    def edits(self, parts: Parts) -> dict[int, Edit]:
        """The edits of a program: each call that has room for it is recorded."""
        edits: dict[int, Edit] = {}
        blind = self._blind[parts.name] = {}
        for site in parts.sites:
            key = parts.name, site.slot
            if key not in self._numbers:
                self._numbers[key] = len(self._arguments)
                self._arguments.append(
                    (parts.name, plan_record(parts, site, number=self._numbers[key], maps=self._maps))
                )
            try:
                recorded = self._arguments[self._numbers[key]][1].recorded
                edits[site.slot] = record_edit(
                    recorded, target=self._memory.handle, flow=parts.flow, atomic=self._atomic
                )
            except RewriteError as error:
                blind[site.function] = str(error)
        return edits

    def refused(self, parts: Parts, reason: str) -> None:
        """The verifier does not take ``parts`` with records, so no call of it is seen."""
        self._blind[parts.name] = dict.fromkeys((site.function for site in parts.sites), reason)

    def unseen(self, name: str | None) -> list[str]:
        """Which calls of a function (None: of any) no record shows, and why."""
        rows = [
            f"{program}: calls of {function} are not recorded: {reason}"
            for program, blind in self._blind.items()
            for function, reason in blind.items()
            if name in (None, function)
        ]
        lost = max(0, self._memory.number(0) - RECORDS)
        more = f"{lost} later call{'s' * (lost > 1)} of the run found no room: the first {RECORDS:,} are kept"
        return [*rows, *([more] if lost else [])]

    def begin(self) -> list[Op]:
        """What a run is preceded by: no records."""
        return [self._memory.writing(0, bytes(HEAD))]

    def read(self) -> list[Call]:
        """The calls of the last run, in the order in which they began, and at most the first 1,024."""
        count = min(self._memory.number(0), RECORDS)
        data = self._memory.read(size=HEAD + count * RECORD)
        records = (data[HEAD + at * RECORD : HEAD + (at + 1) * RECORD] for at in range(count))
        return [self._call(record) for record in records if any(record[:ARGUMENTS])]  # not those just being written

    def _call(self, record: bytes) -> Call:
        numbers = self._memory.numbers(record[:POINTED])
        program, argument = self._arguments[numbers[0] - 1]
        site = argument.recorded.site
        pointed = [record[at : at + MEMORY] for at in (POINTED, POINTED + MEMORY)]
        first = ARGUMENTS // 8
        args = arguments_of(argument, numbers[first : first + 5], pointed=pointed, addresses=self._addresses)
        retval = _retval(site, numbers[RETVAL // 8]) if numbers[RETURNED // 8] else None
        return Call(site.function, tuple(args), retval, site.line, program)


def _retval(site: CallSite, number: int) -> int | None:
    kind, width = site.signature.returns, site.signature.width
    if kind == "void":
        return None
    if kind == "pointer":
        return Address(number)
    number &= (1 << 8 * width) - 1
    return number - (1 << 8 * width) if kind == "signed" and number >> 8 * width - 1 else number


class Calls(Sequence[Call]):
    """The calls of the last run (of all runs since, for programs that are attached), each time they are looked at.
    Assertions have the names of ``unittest.mock``; ``mock.ANY`` stands for any argument. An assertion about how often
    there was a call, or about the last one, fails when some calls were not seen."""

    def __init__(self, recorder: Recorder, *, name: str | None) -> None:
        self._recorder = recorder
        self._name = name

    @property
    def all(self) -> list[Call]:
        """As a list."""
        return [call for call in self._recorder.read() if self._name in (None, call.function)]

    @property
    def unseen(self) -> list[str]:
        """Why the list is not whole: a line for each reason."""
        return self._recorder.unseen(self._name)

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> list[Call]: ...
    def __getitem__(self, index: int | slice) -> Call | list[Call]:
        return self.all[index]

    def __iter__(self) -> Iterator[Call]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def __repr__(self) -> str:
        return f"<{_listed(self.all)}>"

    @property
    def called(self) -> bool:
        """Whether there was one."""
        return bool(self.all)

    @property
    def call_count(self) -> int:
        """How many there were, of those that were seen."""
        return len(self.all)

    @property
    def call_args(self) -> tuple[object, ...] | None:
        """The arguments of the last one."""
        calls = self.all
        return calls[-1].args if calls else None

    @property
    def call_args_list(self) -> list[tuple[object, ...]]:
        """The arguments of each."""
        return [call.args for call in self.all]

    def assert_called(self) -> None:
        """There was one."""
        self._check(bool(self.all), "expected it to have been called")

    def assert_called_once(self) -> None:
        """There was exactly one."""
        self._check_all(len(self.all) == 1, "expected it to have been called once")

    def assert_called_with(self, *args: object) -> None:
        """The last one had these arguments."""
        self._check_all(self.call_args == args, f"expected the last call to be {_written(self._what, args)}")

    def assert_called_once_with(self, *args: object) -> None:
        """There was exactly one, with these arguments."""
        self._check_all(self.call_args_list == [args], f"expected one call, {_written(self._what, args)}")

    def assert_any_call(self, *args: object) -> None:
        """One of them had these arguments."""
        self._check(args in self.call_args_list, f"expected a call {_written(self._what, args)}")

    def assert_has_calls(self, calls: Sequence[Sequence[object]], *, any_order: bool = False) -> None:
        """``calls``, the arguments of each, are among them one after the other, or in ``any_order``."""
        had, wanted = self.call_args_list, [tuple(args) for args in calls]
        if any_order:
            found = all(args in had for args in wanted)
        else:
            found = any(had[at : at + len(wanted)] == wanted for at in range(len(had) - len(wanted) + 1))
        self._check(found, f"expected the calls {', '.join(_written(self._what, args) for args in wanted)}")

    def assert_not_called(self) -> None:
        """There was none."""
        self._check_all(not self.all, "expected it not to have been called")

    @property
    def _what(self) -> str:
        return self._name or "any function"

    def _check(self, holds: bool, message: str) -> None:
        if not holds:
            more = "".join(f"\n  {reason}" for reason in self.unseen)
            raise AssertionError(f"{self._what}: {message}; got {_listed(self.all)}{more}")

    def _check_all(self, holds: bool, message: str) -> None:
        self._check(holds and not self.unseen, message)


def _written(name: str, args: Sequence[object]) -> str:
    return f"{name}({', '.join(map(repr, args))})"


def _listed(calls: Sequence[Call]) -> str:
    if not calls:
        return "no calls"
    lines = [f"\n  {call}" + (f" = {call.retval}" if call.retval is not None else "") + _place(call) for call in calls]
    more = [f"\n  and {len(calls) - _SHOWN} more"] if len(calls) > _SHOWN else []
    return f"{len(calls)} call{'s' * (len(calls) > 1)}:{''.join([*lines[:_SHOWN], *more])}"


def _place(call: Call) -> str:
    line = call.source_line
    return f"  at {line.file.rpartition('/')[2]}:{line.line}" if line is not None else ""
