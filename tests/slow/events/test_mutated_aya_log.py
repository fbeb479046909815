"""Records of aya-log with anything wrong in them: a record comes out or ``ValueError``, nothing else. Every kind of
value is in them, of both generations. The long form is ``ci/mutated-aya-logs``."""

from __future__ import annotations

import os
import random
import struct

from pytest_ebpf.events.aya_log import parse_aya_record, render_aya_record

ROUNDS = int(os.environ.get("BPF_MUTATED_AYA_LOGS", "3000"))
SIZES = (1, *(1, 2, 4, 8, 8), *(1, 2, 4, 8, 8), 4, 8, 4, 16, 4, 6, 16, 16, 5, 5, 8)  # of each kind of argument, by tag


def field(tag: int, value: bytes) -> bytes:
    return struct.pack("<BH", tag, len(value)) + value


def sound(rng: random.Random, *, from_perf: bool) -> bytes:
    """A record with up to eight values, any of them after any hint."""
    arguments = []
    for _ in range(rng.randrange(8)):
        if rng.random() < 0.7:
            arguments.append((0, bytes([rng.randrange(1, 8)])))
        tag = rng.randrange(1, len(SIZES))
        arguments.append((tag, rng.randbytes(SIZES[tag])))
    count = struct.pack("<Q" if from_perf else "<I", len(arguments))
    header = (b"target", bytes([rng.randrange(1, 6)]), b"module", b"a.rs", rng.randbytes(4), count)
    fields = [field(tag + from_perf, value) for tag, value in enumerate(header)]
    body = b"".join((*fields, *(field(tag, value) for tag, value in arguments)))
    return body if from_perf else struct.pack("<H", len(body) + 2) + body


def mutated(data: bytes, rng: random.Random) -> bytes:
    """With some bytes changed, cut, doubled or put in."""
    spoilt = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(spoilt) + 1)
        how = rng.randrange(5)
        if how == 0:
            spoilt[at : at + 1] = rng.randbytes(1)
        elif how == 1:
            spoilt[at : at + 1] = bytes([rng.choice((0, 1, 127, 128, 255))])
        elif how == 2:
            del spoilt[at : at + rng.randrange(9)]
        elif how == 3:
            spoilt[at:at] = spoilt[at : at + rng.randrange(30)]
        else:
            spoilt[at:at] = rng.randbytes(rng.randrange(4))
    return bytes(spoilt)


def test_each_mutated_record_is_read_or_refused() -> None:
    rng = random.Random(19)
    seen = {"a record": 0, "not a record of aya-log": 0}
    for _ in range(ROUNDS):
        from_perf = rng.random() < 0.5
        data = mutated(sound(rng, from_perf=from_perf), rng)
        order = rng.choice(("little", "little", "little", "big"))
        try:
            assert render_aya_record(parse_aya_record(data, byteorder=order, from_perf=from_perf))
            seen["a record"] += 1
        except ValueError as error:
            seen[str(error).partition(":")[0]] += 1
    assert sum(seen.values()) == ROUNDS
    assert min(seen.values()) > ROUNDS / 20
