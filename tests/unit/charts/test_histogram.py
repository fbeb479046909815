"""Histograms and stacks as text and pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from pytest_ebpf.charts.flame import flame_graph, fold_stacks
from pytest_ebpf.charts.histogram import histogram
from pytest_ebpf.errors import BpfUsageError

# What bpftrace 0.21 prints for these counts with hist() and lhist().
LOG2 = """\
[0, 2)                 1 |@@@@@@@@@@@@@                                       |
[2, 4)                 4 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|
[4, 8)                 0 |                                                    |
[8, 16)                2 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |
"""
LINEAR = """\
[110, 120)             3 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|
[120, 130)             1 |@@@@@@@@@@@@@@@@@                                   |
"""


@pytest.mark.parametrize(
    "value",
    [
        {0: 1, 1: 4, 2: 0, 3: 2, 4: 0},
        [1, 4, 0, 2, 0],
        {3: [1, 1], 1: [0, 4], 0: [1, 0]},
        {"slots": [1, 4, 0, 2, 0], "comm": "dd"},
        {"latency": [1, 4, 0, 2]},
    ],
)
def test_powers_of_two(value: object) -> None:
    found = histogram(value, name="m")
    assert str(found) == LOG2
    assert found.total == 7
    assert found[-1] == (8, 16, 2)


def test_linear_slots_begin_where_the_test_says() -> None:
    assert str(histogram({1: 3, 2: 1}, name="m", step=10, first=100)) == LINEAR
    assert str(histogram({5: 1}, name="m", step=1)).startswith("[5]  ")


def test_large_numbers_have_units() -> None:
    assert [line.split()[0] + line.split()[1] for line in str(histogram({10: 1, 20: 1}, name="m")).splitlines()][
        ::10
    ] == [
        "[1K,2K)",
        "[1M,2M)",
    ]


def test_no_counts_are_no_buckets() -> None:
    assert str(histogram([0, 0], name="m")) == ""


@pytest.mark.parametrize("value", [{0: "text"}, {"a": 1, "b": 2}, [b"x"]])
def test_what_is_no_histogram_says_so(value: object) -> None:
    with pytest.raises(BpfUsageError, match="map 'm' is no histogram") as error:
        histogram(value, name="m")
    assert "number per slot" in error.value.hint


def test_stacks_are_folded_from_the_outside_and_added_up() -> None:
    stacks = [(["vfs_read", "read", "main"], 2), (["write", "main"], 1), (["vfs_read", "read", "main"], 3)]
    assert fold_stacks(stacks) == "main;read;vfs_read 5\nmain;write 1\n"
    assert fold_stacks([(["a;b"], 1)], root="dd") == "dd;a:b 1\n"


def test_a_flame_graph_has_a_box_per_function_as_wide_as_its_share() -> None:
    picture = ET.fromstring(flame_graph("main;read;vfs_read 3\nmain;write 1\nidle<0> 4\n"))
    space = "{http://www.w3.org/2000/svg}"
    boxes = {
        group.findtext(f"{space}title"): group.find(f"{space}rect").get("width")  # type: ignore[union-attr]  # each group has a box
        for group in picture.iter(f"{space}g")
    }
    assert boxes == {
        "main (4 of 8, 50.0%)": "590.0",
        "read (3 of 8, 37.5%)": "442.5",
        "vfs_read (3 of 8, 37.5%)": "442.5",
        "write (1 of 8, 12.5%)": "147.5",
        "idle<0> (4 of 8, 50.0%)": "590.0",
    }


def test_a_line_without_a_count_is_named() -> None:
    with pytest.raises(ValueError, match="line 2 of the folded stacks has no count"):
        flame_graph("main 1\nmain;read\n")
