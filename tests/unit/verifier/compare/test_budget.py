"""Budgets as values: what they say, what is beyond them."""

from __future__ import annotations

import pytest

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.kernel_versions import fits
from pytest_ebpf.verifier.compare.budget import Bound, Budget, excesses, figures_of, growths, parse_budget
from pytest_ebpf.verifier.log.values import VerifierStats


def on(version: str, **given: object) -> Budget:
    return parse_budget(given, fits=lambda spec: fits(version, spec) is not False)


@pytest.mark.parametrize(
    ("version", "insns"),
    [("6.1.176", 4000), ("6.12.4", 3000), ("7.3", 3000), ("5.10.2", 500)],
)
def test_per_kernel(version: str, insns: int) -> None:
    budget = on(version, insns={"6.1": 4000, ">=6.12": 3000, "*": 500})
    assert budget.bounds == (Bound("insns", insns),)


def test_a_kernel_that_is_not_named_has_no_bound() -> None:
    assert on("5.10", insns={"6.1": 4000}).bounds == ()


def test_words() -> None:
    assert on("6.1", time=5).bounds == (Bound("time_us", 5),)
    assert on("6.1", limit="50%").bounds == (Bound("limit", 0.5),)
    assert on("6.1", growth="5%").bounds == (Bound("insns", 0.05, True), Bound("states", 0.05, True))
    assert on("6.1", growth={"insns": "5%", "stack": "0%"}).bounds == (
        Bound("insns", 0.05, True),
        Bound("stack", 0.0, True),
    )
    assert on("6.1", growth={"6.1": "5%"}).grows
    assert on("6.1", insns=1, prog=("a", "b")).programs == ("a", "b")


@pytest.mark.parametrize("given", [{"insn": 5}, {"insns": -1}, {"insns": 1.5}, {"insns": "5%"}, {"limit": 50}, {}])
def test_what_is_no_budget(given: dict[str, object]) -> None:
    with pytest.raises(BpfUsageError):
        on("6.1", **given)


def test_figures() -> None:
    stats = VerifierStats(insns=250_000, limit=1_000_000, states=9, stack=(16, 24), time_us=7)
    assert figures_of(stats, size=8) == {
        "insns": 250_000,
        "states": 9,
        "stack": 40,
        "time_us": 7,
        "size": 8,
        "limit": 25,
    }
    assert figures_of(VerifierStats(stack=(16, 24), stack_max=32)) == {"stack": 32}


def test_excesses() -> None:
    figures = {"insns": 600_000, "states": 9}
    assert excesses(on("6.1", insns=600_000, limit="60%", states=9), figures) == []
    found = excesses(on("6.1", insns=100, limit="50%", stack=8), figures)
    assert [one.text for one in found] == [
        "insns: 600000 used, 100 allowed, 6000.0 times as many (instructions walked)",
        "limit: 60.00% used (600000 of 1000000 instructions), 50% allowed",
        "stack: this kernel does not report it",
    ]


def test_growths() -> None:
    budget = on("6.1", growth="5%")
    assert growths(budget, {"insns": 105, "states": 2}, baseline={"insns": 100, "states": 2}) == []
    assert growths(budget, {"insns": 10}, baseline={}) == []
    (found,) = growths(budget, {"insns": 106, "states": 2}, baseline={"insns": 100, "states": 2})
    assert found.text == "insns: 106 used, 6.0% more than 100 in the baseline, 5% allowed"
    assert growths(budget, {"insns": 1}, baseline={"insns": 0})[0].text.startswith("insns: 1 used, and 0 in the")
