"""Runs of one program on many packets, a thousand in each round trip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_ebpf.agent.ops import Handle, ProgRunMany, Ran, RanMany
from pytest_ebpf.live.run.retvals import decode_retval
from pytest_ebpf.live.run.rules import RUN_RULES
from pytest_ebpf.live.run.test_run import RunInput, RunResult, context_of, data_of, read_run, rule_for

__all__ = ["plan_many", "read_batches", "read_many"]

_BATCH = 1000  # packets per round trip


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
    by_size = rule.context == "xdp_md" and given.ctx is not None
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
    return [RunResult(named[retval], data, {}, duration, packet) for retval, data, duration, packet in rows]


def read_batches(
    ran: Iterable[tuple[ProgRunMany, RanMany]], *, prog_type: int, byteorder: str, boolean: bool
) -> Iterator[tuple[int, RunResult]]:
    """The answers to ``plan_many``, with the numbers of the packets among all."""
    first = 0
    for op, answer in ran:
        numbers, sent = _taken(answer, op.data)
        results = read_many(answer, sent, prog_type=prog_type, byteorder=byteorder, boolean=boolean)
        yield from zip([first + number for number in numbers] if first else numbers, results, strict=True)
        first += len(op.data)


def _taken(ran: RanMany, sent: Sequence[bytes]) -> tuple[Sequence[int], Sequence[bytes]]:
    """The numbers of the packets that the kernel ran, and the packets."""
    if not ran.refused:
        return range(len(sent)), sent
    refused = set(ran.refused)
    numbers = [number for number in range(len(sent)) if number not in refused]
    return numbers, [sent[number] for number in numbers]
