"""The one list of outcomes: what others build on."""

from __future__ import annotations

from pytest_ebpf import Fault, Outcome
from pytest_ebpf.outcome import with_outcome


def test_the_outcomes_are_plain_words() -> None:
    words = "passed failed rejected packet-diff map-diff panic hang splat leak budget baseline missing-feature "
    words += "infrastructure flaky quarantined"
    assert " ".join(Outcome) == words


def test_every_outcome_is_somebodys_fault() -> None:
    assert {outcome for outcome in Outcome if outcome.fault is Fault.NOBODY} == {Outcome.PASSED}
    assert {Outcome.PANIC.fault, Outcome.HANG.fault, Outcome.SPLAT.fault} == {Fault.KERNEL}


def test_an_error_can_say_what_it_is() -> None:
    assert vars(with_outcome(AssertionError("x"), Outcome.LEAK)) == {"bpf_outcome": Outcome.LEAK}
