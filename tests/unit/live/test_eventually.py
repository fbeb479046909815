"""``bpf.eventually``: what it waits for, and what it says (issue 14, C16)."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.eventually import eventually


def test_c16_it_is_asked_until_it_is_true() -> None:
    seen: list[int] = []

    def three() -> list[int]:
        seen.append(len(seen))
        return seen if len(seen) == 3 else []

    assert eventually(three, seconds=10, shown=10) == [0, 1, 2]


def test_c16_the_message_has_the_condition_and_its_sides() -> None:
    counts = {"n": [2]}
    wanted = 3
    with pytest.raises(AssertionError) as failed:
        eventually(lambda: counts["n"][0] == wanted, seconds=0, shown=2)
    assert str(failed.value).splitlines() == [
        "counts['n'][0] == wanted did not become true within 2 s; last:",
        "  counts['n'][0] = 2",
        "  wanted = 3",
    ]


def test_c16_a_condition_that_is_no_comparison() -> None:
    found: list[str] = []
    with pytest.raises(AssertionError, match=r"any\(found\) did not become true within 1 s; last: False"):
        eventually(lambda: any(found), seconds=0, shown=1)


def test_c16_a_missing_key_and_a_failed_assertion_are_not_yet() -> None:
    counts: dict[str, int] = {}

    def holds() -> bool:
        assert counts["n"] == 1
        return True

    with pytest.raises(AssertionError, match="holds did not become true within 1 s; last: KeyError: 'n'"):
        eventually(holds, seconds=0, shown=1)


def test_c16_other_errors_are_the_tests_own() -> None:
    with pytest.raises(ZeroDivisionError):
        eventually(lambda: 1 // 0, seconds=5, shown=5)


def test_c16_a_value_instead_of_a_function_is_a_usage_error() -> None:
    value: Any = False  # what bpf.eventually(obj.maps["n"][0] == 3) hands over
    with pytest.raises(BpfUsageError, match=r"(?s)expects a function, got False.*lambda: obj.maps"):
        eventually(value, seconds=0, shown=1)
