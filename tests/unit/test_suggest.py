"""Suggestions for unknown names."""

from __future__ import annotations

import pytest

from pytest_ebpf.suggest import close_names, did_you_mean, suggestion


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("ringbuff", ["hash", "ringbuf", "user_ringbuf"], "did you mean ringbuf or user_ringbuf?"),
        ("polise", ["police"], "did you mean police?"),
        ("nothing", ["police", "count"], "known: police, count"),
        ("nothing", [], "known: none"),
        (
            "x",
            [f"name{number}" for number in range(42)],
            f"known: {', '.join(f'name{n}' for n in range(40))} and 2 more",
        ),
    ],
)
def test_an_unknown_name_gets_the_close_ones_or_all(name: str, known: list[str], expected: str) -> None:
    assert did_you_mean(name, known) == expected


def test_the_caller_may_say_what_else_helps() -> None:
    assert did_you_mean("abc", ["xyz"], otherwise="give offset=") == "give offset="
    assert did_you_mean("abc", ["xyz"], otherwise="") == ""
    assert did_you_mean("abc", ["abd"], otherwise="give offset=") == "did you mean abd?"


def test_how_many_and_how_close() -> None:
    known = ["count_a", "count_b", "count_c", "count_d"]
    assert len(close_names("count", known)) == 3
    assert close_names("count", known, most=1, cutoff=0.9) == []
    assert did_you_mean("count_", known, most=2) == "did you mean count_d or count_c?"


def test_names_found_otherwise_get_the_same_wording() -> None:
    assert suggestion(["lo", "eth0"]) == "did you mean lo or eth0?"
    assert suggestion([]) == ""
