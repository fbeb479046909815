"""Runs of one program on many packets, a thousand in each round trip."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import NamedTuple, Protocol

from pytest_ebpf.agent.ops import Handle, ProgRunMany, Ran, RanMany
from pytest_ebpf.frozen import fields
from pytest_ebpf.live.run.later import LaterList
from pytest_ebpf.live.run.retvals import decode_retval
from pytest_ebpf.live.run.rules import RUN_RULES, RunRule
from pytest_ebpf.live.run.test_run import RunInput, RunResult, context_of, data_of, read_run, rule_for
from pytest_ebpf.live.session import Session

__all__ = ["Answer", "ManyRan", "ManyRuns", "Run", "read_many"]

Run = Callable[..., RanMany]  # of op and type

_BATCH = 1000  # packets per round trip


# How the fields of a result are set, which is frozen for everybody else.
_SET = tuple(getattr(RunResult, one.name).__set__ for one in fields(RunResult))


class Answer(Protocol):
    """Runs an op; ``run`` in the place of who does."""

    def __call__(self, op: ProgRunMany, kind: type[RanMany], /, *, run: Run | None = None) -> RanMany: ...


class ManyRan(NamedTuple):
    """What came of one op: the numbers of the packets that the kernel ran, among all; the packets; its answer."""

    numbers: Sequence[int]
    sent: Sequence[bytes]
    ran: RanMany


class ManyRuns:
    """Runs of one program, ``program`` by name. ``boolean`` as for ``read_run``. In what it does, ``prog`` is the copy
    that runs."""

    __slots__ = ("_boolean", "_byteorder", "_program", "_session", "_type")

    def __init__(self, session: Session, program: str, *, prog_type: int, boolean: bool) -> None:
        self._session, self._program, self._type, self._boolean = session, program, prog_type, boolean
        self._byteorder = session.target.described.byteorder

    def plan(
        self, packets: Iterable[object], given: RunInput, *, prog: Handle, skip: bool = False
    ) -> Iterator[ProgRunMany]:
        """The ops for one run per packet, a thousand in each; packets whose context differs (an ``xdp_md`` tells the
        length) go in ops of their own. ``given`` has everything but the data; ``skip``: without what the kernel calls
        invalid. Errors as ``plan_run``."""
        rule, program, order = rule_for(self._type, program=self._program), self._program, self._byteorder
        if given.ctx is None:
            ctx = context_of(given, rule, size=0, byteorder=order)
            for chunk in _chunks(packets):
                yield ProgRunMany(prog, _all_data(chunk, rule, program=program), ctx=ctx, netns=given.netns, skip=skip)
            return
        by_size = rule.context == "xdp_md"
        batch: list[bytes] = []
        ctx, size = b"", -1
        for packet in packets:
            data = data_of(packet, rule, program=program)
            if size < 0 or (by_size and len(data) != size) or len(batch) == _BATCH:
                if batch:
                    yield ProgRunMany(prog, tuple(batch), ctx=ctx, netns=given.netns, skip=skip)
                batch, size = [], len(data)
                ctx = context_of(given, rule, size=size, byteorder=order)
            batch.append(data)
        if batch:
            yield ProgRunMany(prog, tuple(batch), ctx=ctx, netns=given.netns, skip=skip)

    def results(self, packets: Iterable[object], given: RunInput, *, prog: Handle, answer: Answer) -> list[RunResult]:
        """Results, one per packet. Those that cannot be wrong are made when they are looked at."""
        batches = list(self._run(self.plan(packets, given, prog=prog), answer=answer))
        if RUN_RULES[self._type].context == "bpf_flow_keys":
            return self._made(batches)
        return LaterList(lambda: self._made(batches), count=sum(len(batch.ran.retvals) for batch in batches))

    def start(
        self, packets: Iterable[object], *, prog: Handle, answer: Answer, watched: bool
    ) -> Callable[[], dict[int, RunResult]]:
        """What waits for results by the numbers of the packets, without those that the kernel calls invalid. The first
        op begins now, unless it is ``watched`` by what wants things done around a run."""
        ops = self.plan(packets, RunInput(), prog=prog, skip=True)
        first = None if watched else next(ops, None)
        begun = None if first is None else self._session.start(first, RanMany)

        def finish() -> dict[int, RunResult]:
            every = ops if first is None else chain([first], ops)
            run = None if begun is None else lambda op, kind: begun()
            batches = list(self._run(every, answer=answer, first=run))
            return dict(zip(chain.from_iterable(batch.numbers for batch in batches), self._made(batches), strict=True))

        return finish

    def _run(self, ops: Iterable[ProgRunMany], *, answer: Answer, first: Run | None = None) -> Iterator[ManyRan]:
        done = 0
        for op in ops:
            batch = _ran(op, answer(op, RanMany, run=None if done else first), first=done)
            if batch.ran.retvals:
                self._session.last_run = self._program, self._last(batch)
            yield batch
            done += len(op.data)

    def _last(self, batch: ManyRan) -> RunResult:
        ran = batch.ran
        return self._one_op(RanMany(ran.retvals[-1:], ran.data[-1:], ran.durations[-1:]), batch.sent[-1:])[0]

    def _made(self, batches: Sequence[ManyRan]) -> list[RunResult]:
        results = [self._one_op(batch.ran, batch.sent) for batch in batches]
        return results[0] if len(results) == 1 else list(chain.from_iterable(results))

    def _one_op(self, ran: RanMany, sent: Sequence[bytes]) -> list[RunResult]:
        return read_many(ran, sent, prog_type=self._type, byteorder=self._byteorder, boolean=self._boolean)


def _chunks(packets: Iterable[object]) -> Iterator[list[object]]:
    left = iter(packets)
    while chunk := list(islice(left, _BATCH)):
        yield chunk


def _all_data(chunk: list[object], rule: RunRule, *, program: str) -> tuple[bytes, ...]:
    """The bytes of each. Those that are bytes already are looked at all at once: that costs a tenth."""
    if rule.takes_data and set(map(type, chunk)) == {bytes}:
        plain: tuple[bytes, ...] = tuple(chunk)  # type: ignore[arg-type]  # each is bytes
        if min(map(len, plain)) >= rule.min_data:
            return plain
    return tuple(data_of(packet, rule, program=program) for packet in chunk)


def read_many(
    ran: RanMany, sent: Sequence[bytes] = (), *, prog_type: int, byteorder: str, boolean: bool = False
) -> list[RunResult]:
    """The kernel's answers with names on them, one per packet."""
    rows = zip(ran.retvals, ran.data, ran.durations, sent or (b"",) * len(ran.data), strict=True)
    if RUN_RULES[prog_type].context == "bpf_flow_keys":
        found = ((Ran(retval, data, b"", duration), packet) for retval, data, duration, packet in rows)
        return [
            read_run(answer, prog_type=prog_type, byteorder=byteorder, boolean=boolean, sent=packet)
            for answer, packet in found
        ]
    named = {retval: decode_retval(prog_type, retval) for retval in set(ran.retvals)}
    count = len(ran.retvals)
    no_context: list[dict[str, object]] = [{} for _ in range(count)]  # its own for each: a test may change it
    return _results(
        map(named.__getitem__, ran.retvals), ran.data, no_context, ran.durations, sent or repeat(b""), count=count
    )


def _results(*columns: Iterable[object], count: int) -> list[RunResult]:
    """Results out of their fields, column by column: a call of the class for each takes twice as long, which is a third
    of all that a short run costs."""
    made = list(map(object.__new__, repeat(RunResult, count)))
    for set_field, column in zip(_SET, columns, strict=True):
        deque(map(set_field, made, column), maxlen=0)
    return made


def _ran(op: ProgRunMany, ran: RanMany, *, first: int) -> ManyRan:
    """An answer with the packets that the kernel ran. ``first``: the number of the first one of the op."""
    if not ran.refused:
        return ManyRan(range(first, first + len(op.data)), op.data, ran)
    refused = set(ran.refused)
    left = [number for number in range(len(op.data)) if number not in refused]
    return ManyRan([first + number for number in left], [op.data[number] for number in left], ran)
