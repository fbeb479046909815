"""Instrumented copies do what the programs do: the short form of ci/doubles, on the host unless kernels are named."""

from __future__ import annotations

import struct

import pytest

from pytest_ebpf import Bpf, BpfObject
from pytest_ebpf.errors import PlanError
from pytest_ebpf.rewrite.mutants import find_mutants
from support.instrumented import PROGRAMS, SAMPLES, corpus_share, instrumentations, outcome, packets, prepare
from support.paths import ROOT

JUMP_TABLE = ROOT / "tests/objects/built/jump_table.bpf.o"
NUMBERS = (*range(-2, 20), 110, 111)  # above 100 the function with the other two tables runs, too


@pytest.mark.parametrize("name", PROGRAMS)
def test_verdicts_packets_and_maps_are_the_same(bpf: Bpf, name: str) -> None:
    made = packets(200)
    path = SAMPLES / f"{name}.bpf.o"
    plain = outcome(prepare(bpf.load(path)), made)
    for what, instrument in instrumentations():
        obj = prepare(bpf.load(path))
        instrument(obj)
        assert obj.instruments.notes == []
        assert outcome(obj, made) == plain, what


def test_most_programs_load_with_counters(bpf: Bpf) -> None:
    share = corpus_share(bpf, (SAMPLES,))
    assert share.plain >= 20
    assert share.instrumented >= 0.95 * share.plain, share.refused


def chosen(obj: BpfObject) -> list[int]:
    return [int(obj["choose"].run(ctx=struct.pack("<ii", number, 500)).retval) for number in NUMBERS]


def test_jump_tables_lead_to_the_same_places(bpf: Bpf) -> None:
    """Each copy has tables of its own, whose targets moved with the instructions."""
    if not bpf.has("insn_array"):
        with pytest.raises(PlanError, match=r"6\.19"):
            bpf.load(JUMP_TABLE)
        return
    plain = chosen(bpf.load(JUMP_TABLE))
    assert len(set(plain)) > 15
    for what, instrument in instrumentations():
        obj = bpf.load(JUMP_TABLE)
        instrument(obj)
        assert obj.instruments.notes == []
        assert chosen(obj) == plain, what


def test_jump_tables_are_counted_doubled_and_mutated(bpf: Bpf) -> None:
    if not bpf.has("insn_array"):
        return  # the test above shows that it cannot be loaded
    obj = bpf.load(JUMP_TABLE)
    counting = obj.instruments.count()
    plain = chosen(obj)
    (found,) = counting.read()
    lines = {row.line: row.hits for row in found.counted.lines}
    source = (ROOT / "tests/objects/compilers/jump_table.c").read_text().splitlines()
    at = {text.strip(): number for number, text in enumerate(source, 1)}
    assert lines[at["switch (*ctx & 31) {"]] == lines[at["if (*ctx > 100)"]] == len(NUMBERS)
    assert lines[at["return twice(*ctx, *ctx + 1);"]] == lines[at["switch (y & 31) {"]] == 2
    doubled = chosen(bpf.load(JUMP_TABLE, doubles={"twice": 5}))
    assert doubled == [*plain[:-2], 5, 5]
    parts = obj.instruments.programs["choose"]
    slots = frozenset(range(len(parts.insns)))
    taken = 0
    for mutant in find_mutants(parts.insns, sites=parts.sites, lines=parts.lines, flow=parts.flow, slots=slots):
        if mutant.kind == "constant changed" and taken < 4:
            try:
                obj.instruments.mutate("choose", {mutant.slot: mutant.edit})
            except PlanError:
                continue
            taken += chosen(obj) != plain
    assert taken == 4, "mutants that the verifier takes and that change an answer"
