"""Pastes of real logs, mutated: what keeps the message keeps verdict and class; nothing raises; nothing that was
refused is called accepted. The long form is ``ci/mutated-pastes``."""

from __future__ import annotations

import os
from random import Random

import pytest

from pytest_ebpf.verifier.extract.extract import extract_logs
from pytest_ebpf.verifier.extract.verdict import judge
from pytest_ebpf.verifier.verifier_log import parse_log
from support.mutate_pastes import mutate
from support.paths import ROOT
from support.verifier_logs import all_logs

LOGS = {
    name: text
    for name, text in all_logs().items()
    if len(text) < 12_000 and "processed " in text and parse_log(text).error and text.isascii()
}
ROUNDS = int(os.environ.get("BPF_MUTATED_PASTES", "150"))


def wrong_answers(rounds: int, *, seed: int, losing: bool) -> list[str]:
    """What is wrong about mutated pastes, one line each."""
    random = Random(seed)
    names = sorted(LOGS)
    found = []
    for _ in range(rounds):
        name = random.choice(names)
        expected = parse_log(LOGS[name]).rejection
        assert expected is not None
        text, steps = mutate(LOGS[name], random, losing=losing)
        verdicts = [judge(one) for one in extract_logs(text)]
        answers = [(one.verdict, one.rejection.class_id if one.rejection else "") for one in verdicts]
        right = (
            not any(verdict == "accepted" for verdict, _ in answers)
            if losing
            else answers == [("rejected", expected.class_id)]
        )
        if not right:
            found.append(f"{name}: {steps}: {answers}, not {expected.class_id}")
    return found


@pytest.mark.parametrize("seed", range(2))
def test_what_keeps_the_message_keeps_verdict_and_class(seed: int) -> None:
    assert not wrong_answers(ROUNDS, seed=seed, losing=False)


@pytest.mark.parametrize("seed", range(2))
def test_what_was_refused_is_never_accepted(seed: int) -> None:
    assert not wrong_answers(ROUNDS, seed=seed, losing=True)


def test_the_corpus_of_pastes_never_raises() -> None:
    random = Random(7)
    for path in sorted((ROOT / "tests" / "data" / "pasted" / "seen").glob("*.txt")):
        text = path.read_text()
        for _ in range(3):
            mutated, _ = mutate(text, random, losing=random.random() < 0.5)
            for one in extract_logs(mutated):
                judge(one)
