"""Instrumented copies do what the programs do: the short form of ci/doubles, on the host unless kernels are named."""

from __future__ import annotations

import pytest

from pytest_ebpf import Bpf
from support.instrumented import PROGRAMS, SAMPLES, corpus_share, instrumentations, outcome, packets, prepare


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
