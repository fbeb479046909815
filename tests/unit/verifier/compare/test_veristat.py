"""veristat's CSV and its small language, on text of the tool's own."""

from __future__ import annotations

import pytest

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.verifier.compare.veristat_csv import (
    COLUMNS,
    CSV_COLUMNS,
    change_of,
    costliest,
    find_column,
    join_rows,
    parse_csv,
    render_csv,
)
from pytest_ebpf.verifier.compare.veristat_filter import (
    SortKey,
    keep_rows,
    parse_emit,
    parse_filter,
    parse_sort,
    sort_rows,
)

# as veristat 6.12 wrote it
BASE = """\
file_name,prog_name,verdict,duration,total_insns,total_states,peak_states,max_states_per_insn,max_mark_read_len
xdp_lb.bpf.o,balance,success,1041,264,14,14,1,0
a.bpf.o,drop,failure,0,0,0,0,0,0
"""
# as veristat 6.16 does
NEWER = """\
file_name,prog_name,verdict,total_insns,prog_size,prog_size_jited,stack_depth,prog_type,attach_type
xdp_lb.bpf.o,balance,success,300,146,742,16,xdp,xdp
"""


def test_the_tools_files_come_back_as_they_were() -> None:
    rows = parse_csv(BASE, name="base.csv")
    assert rows[0]["total_insns"] == 264
    assert render_csv(rows) == BASE
    columns = NEWER.splitlines()[0].split(",")
    assert render_csv(parse_csv(NEWER, name="n"), columns=columns) == NEWER


def test_columns_have_one_name_each() -> None:
    names = [name for column in COLUMNS for name in (column.id, *column.names)]
    assert len(names) == len(set(names))
    assert find_column("insns").id == "total_insns"
    assert not any(find_column(name).ours for name in CSV_COLUMNS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.csv: empty"),
        ("\n", "x.csv: empty"),
        ("file_name,prog_nam\n", "x.csv:1: no column 'prog_nam'\ndid you mean prog_name?"),
        ("file_name,prog_name\na\n", "x.csv:2: 1 fields, and the first line names 2"),
        ("file_name,prog_name,insns\na,b,many\n", "x.csv:2: total_insns 'many' is no whole number"),
        ("file_name,prog_name\n,b\n", "x.csv:2: no file or program is named"),
        ("file_name,prog_name,verdict\na,b,good\n", "x.csv:2: verdict 'good' is none of"),
    ],
)
def test_files_that_are_none(text: str, message: str) -> None:
    with pytest.raises(BpfUsageError) as caught:
        parse_csv(text, name="x.csv")
    assert str(caught.value).startswith(message)


def test_what_is_not_known_is_zero_and_an_error_is_a_failure() -> None:
    row = {"file_name": "a", "prog_name": "b", "verdict": "error"}
    assert render_csv([row]).splitlines()[1] == "a,b,failure,0,0,0,0,0,0"
    assert render_csv([row], columns=("verdict", "kernel")).splitlines()[1] == "error,"


def test_two_runs() -> None:
    new = "file_name,prog_name,verdict,total_insns\nxdp_lb.bpf.o,balance,failure,132\nb.bpf.o,more,success,5\n"
    joined = join_rows(parse_csv(BASE, name="a"), parse_csv(new, name="b"))
    assert [one.program for one in joined] == ["drop", "more", "balance"]
    gone, came, changed = joined
    assert (gone.new, came.base) == (None, None)
    assert change_of(gone, "total_insns") == "N/A"
    assert change_of(changed, "total_insns") == "-132 (-50.00%)"
    assert change_of(changed, "verdict") == "MISMATCH"
    assert change_of(changed, "duration") == "-1041 (-100.00%)"
    assert changed.differs(("total_insns",))
    assert not join_rows(parse_csv(BASE, name="a"), parse_csv(BASE, name="b"))[0].differs(CSV_COLUMNS)


def test_of_several_loads_the_costliest_counts() -> None:
    rows = [
        {"file_name": "f", "prog_name": "p", "verdict": verdict, "total_insns": insns}
        for verdict, insns in (("failure", 900), ("success", 5), ("success", 7))
    ]
    assert costliest(rows) == [rows[2]]
    assert costliest(rows[:1]) == [rows[0]]


ROWS = [
    {"file_name": "lb.bpf.o", "prog_name": "balance", "verdict": "success", "total_insns": 264, "kernel": "6.1"},
    {"file_name": "lb.bpf.o", "prog_name": "drop", "verdict": "failure", "total_insns": 7, "class": "null-deref"},
    {"file_name": "fw.bpf.o", "prog_name": "drop", "verdict": "error"},
]


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ([], [0, 1, 2]),
        (["drop"], [1, 2]),
        (["lb*"], [0, 1]),
        (["lb.bpf.o/drop"], [1]),
        (["/drop", "!fw*"], [1]),
        (["insns>7"], [0]),
        (["insns >= 7"], [0, 1]),
        (["insns<8"], [1, 2]),  # what is not known is 0
        (["insns=7", "insns=264"], [0, 1]),
        (["lb*", "insns!=7"], [0]),
        (["!insns==7"], [0, 2]),
        (["verdict=failure"], [1]),
        (["verdict<>accepted"], [1, 2]),
        (["!verdict=error"], [0, 1]),
        (["class=null-*"], [1]),
        (["kernel=6.1"], [0]),
    ],
)
def test_filters(filters: list[str], kept: list[int]) -> None:
    assert keep_rows(ROWS, [parse_filter(text) for text in filters]) == [ROWS[number] for number in kept]


@pytest.mark.parametrize("text", ["", "!", "insns>many", "nosuch>5", "verdict=well", "verdict>success", "class<x"])
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(BpfUsageError):
        parse_filter(text)


def test_sorting() -> None:
    assert parse_sort("file,insns") == (SortKey("file_name", True), SortKey("total_insns", False))
    assert parse_sort("insns^, prog_,|insns|v") == (
        SortKey("total_insns", True),
        SortKey("prog_name", False),
        SortKey("total_insns", False, True),
    )
    assert sort_rows(ROWS, parse_sort("insns")) == [ROWS[0], ROWS[1], ROWS[2]]
    assert sort_rows(ROWS, parse_sort("insns^")) == [ROWS[2], ROWS[1], ROWS[0]]
    assert sort_rows(ROWS, parse_sort("prog,file")) == [ROWS[0], ROWS[2], ROWS[1]]
    assert parse_emit("prog, insns,") == ("prog_name", "total_insns")
