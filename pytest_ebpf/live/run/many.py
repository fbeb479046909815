"""Runs of one program on many packets, a thousand in each round trip."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import NamedTuple

from pytest_ebpf.agent.ops import Handle, ProgRunMany, Ran, RanMany
from pytest_ebpf.frozen import fields
from pytest_ebpf.live.run.retvals import decode_retval
from pytest_ebpf.live.run.rules import RUN_RULES, RunRule
from pytest_ebpf.live.run.test_run import RunInput, RunResult, context_of, data_of, read_run, rule_for

__all__ = ["ReadBatch", "plan_many", "read_batches", "read_many"]

_BATCH = 1000  # packets per round trip


# How the fields of a result are set, which is frozen for everybody else.
_SET = tuple(getattr(RunResult, one.name).__set__ for one in fields(RunResult))


class ReadBatch(NamedTuple):
    """The results of a round trip, and the numbers of their packets among all."""

    numbers: Sequence[int]
    results: list[RunResult]


def plan_many(
    packets: Iterable[object],
    given: RunInput,
    *,
    prog: Handle,
    prog_type: int,
    program: str,
    byteorder: str,
    skip: bool = False,
) -> Iterator[ProgRunMany]:
    """The ops for one run per packet, a thousand in each; packets whose context differs (an ``xdp_md`` tells the
    length) go in ops of their own. ``given`` has everything but the data; ``skip``: without what the kernel calls
    invalid. Errors as ``plan_run``."""
    rule = rule_for(prog_type, program=program)
    if given.ctx is None:
        ctx = context_of(given, rule, size=0, byteorder=byteorder)
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
            ctx = context_of(given, rule, size=size, byteorder=byteorder)
        batch.append(data)
    if batch:
        yield ProgRunMany(prog, tuple(batch), ctx=ctx, netns=given.netns, skip=skip)


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


def read_batches(
    ran: Iterable[tuple[ProgRunMany, RanMany]], *, prog_type: int, byteorder: str, boolean: bool
) -> Iterator[ReadBatch]:
    """The answers to ``plan_many``."""
    first = 0
    for op, answer in ran:
        numbers, sent = _taken(answer, op.data)
        results = read_many(answer, sent, prog_type=prog_type, byteorder=byteorder, boolean=boolean)
        yield ReadBatch([first + number for number in numbers] if first else numbers, results)
        first += len(op.data)


def _taken(ran: RanMany, sent: Sequence[bytes]) -> tuple[Sequence[int], Sequence[bytes]]:
    """The numbers of the packets that the kernel ran, and the packets."""
    if not ran.refused:
        return range(len(sent)), sent
    refused = set(ran.refused)
    numbers = [number for number in range(len(sent)) if number not in refused]
    return numbers, [sent[number] for number in numbers]
