"""When a missing feature is a skip, and when a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_ebpf.features.base import Answer, Feature
from pytest_ebpf.features.skip_rule import Circumstances, first_release, is_older, judge_feature

ROW = Feature("x", "5.8", lambda facts: [], lambda results, facts: NO, source="457f44363a88", config=("X", "Y"))
NO = Answer(False, "x: EINVAL", "5.8")
NEW = Circumstances("6.1.0-50-amd64", "x86_64", kconfig="CONFIG_X=y\nCONFIG_Y=m\n")
DENIED = replace(NO, message="x: EPERM", cause="denied")


def outcome(answer: Answer, kernel: Circumstances, row: Feature = ROW) -> tuple[str, str]:
    verdict = judge_feature(row, answer, kernel=kernel)
    return verdict.outcome, verdict.why


def test_the_rule() -> None:
    assert outcome(Answer(True, "x: works"), NEW) == ("run", "")
    assert outcome(Answer(None, "x: ENOMEM"), NEW) == ("error", "the probe cannot tell: x: ENOMEM")
    assert outcome(NO, replace(NEW, release="5.7.19")) == ("skip", "x: EINVAL; it came with Linux 5.8")
    assert outcome(NO, replace(NEW, reduced=True)) == ("skip", "x: EINVAL; the kernel is in bpf_reduced_kernels")
    assert outcome(replace(NO, cause="off"), NEW) == ("skip", "x: EINVAL")
    assert outcome(replace(NO, cause="module"), NEW) == ("skip", "x: EINVAL")
    assert outcome(NO, NEW, replace(ROW, since="")) == ("skip", "x: EINVAL")


def test_a_kernel_that_is_new_enough_fails_and_says_what_it_had_to_have() -> None:
    lost, why = outcome(NO, NEW)
    assert lost == "fail"
    assert why.splitlines() == [
        "x: EINVAL, yet Linux 5.8 brought it (commit 457f44363a88) and this is 6.1.0-50-amd64",
        "The kernel has CONFIG_X, CONFIG_Y.",
        "If it was built without the feature, list it in the ini key bpf_reduced_kernels; else it lost it.",
    ]
    _, why = outcome(NO, replace(NEW, kconfig=""))
    assert "The kernel does not show whether it has CONFIG_X, CONFIG_Y." in why


def test_a_configuration_that_is_known_and_off_excuses() -> None:
    off = replace(NEW, kconfig="CONFIG_X=y\n# CONFIG_Y is not set\n")
    assert outcome(NO, off) == ("skip", "x: EINVAL; this kernel has no CONFIG_Y")
    assert outcome(NO, replace(off, kconfig="CONFIG_X=n\n")) == (
        "skip",
        "x: EINVAL; this kernel has no CONFIG_X and no CONFIG_Y",
    )
    told = replace(NO, message="x: no such thing (CONFIG_Y)")
    assert outcome(told, off) == ("skip", "x: no such thing (CONFIG_Y)")


def test_a_denial_excuses_the_machine_of_others_and_no_guest() -> None:
    assert outcome(DENIED, replace(NEW, own=True)) == ("skip", "x: EPERM; this machine forbids it")
    assert outcome(DENIED, NEW)[0] == "fail"


def test_other_machines_have_first_releases_of_their_own() -> None:
    row = replace(ROW, machines=(("x86_64", "5.8"), ("aarch64", "6.4")))
    assert first_release(row, machine="aarch64") == "6.4"
    assert outcome(NO, replace(NEW, machine="aarch64"), row)[0] == "skip"
    assert outcome(NO, replace(NEW, machine="aarch64", release="6.4.0"), row)[0] == "fail"
    assert outcome(NO, replace(NEW, machine="riscv64"), row) == ("skip", "x: EINVAL")
    assert outcome(NO, NEW, row)[0] == "fail"


@pytest.mark.parametrize(
    ("release", "since", "older"),
    [
        ("5.10.0-46-amd64", "5.8", False),
        ("5.7.19", "5.8", True),
        ("5.8.0", "5.8", False),
        ("7.3.0-rc7", "7.3", False),
        ("4.19", "5.2", True),
        ("custom", "5.2", False),
    ],
)
def test_releases_are_numbers(release: str, since: str, older: bool) -> None:
    assert is_older(release, since) is older
