"""Coverage as a value: added up, sent to another process, written for other tools."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from pytest_ebpf.report.coverage import (
    ProgramCoverage,
    add_up,
    by_file,
    from_json,
    render_cobertura,
    render_lcov,
    share,
    to_json,
)

ONE = ProgramCoverage(
    "x.bpf.o",
    "prog",
    {("x.c", 1): 3, ("x.c", 2): 0, ("x.c", 3): None},
    {("x.c", 1, 0): (0, 3), ("x.c", 2, 0): (None, 0)},
    {0: (4, 3), 4: (2, 0), 6: (1, None)},
)
OTHER = ProgramCoverage("x.bpf.o", "prog", {("x.c", 1): 1, ("x.c", 3): 2}, {("x.c", 1, 0): (1, 0)}, {6: (1, 2)})


def test_adding_up() -> None:
    """What cannot run on one kernel and runs on another ran."""
    (both,) = add_up([ONE, OTHER])
    assert both.lines == {("x.c", 1): 4, ("x.c", 2): 0, ("x.c", 3): 2}
    assert both.branches[("x.c", 1, 0)] == (1, 3)
    assert (ONE.instructions, both.instructions) == ((4, 6), (5, 7))
    assert [p.program for p in add_up([ProgramCoverage("x.bpf.o", "b"), ProgramCoverage("x.bpf.o", "a")])] == ["a", "b"]


def test_another_process_reads_the_same() -> None:
    assert from_json(to_json([ONE, OTHER])) == [ONE, OTHER]


def test_share_leaves_out_what_cannot_run() -> None:
    assert share([1, 0, None]) == (1, 2)


def test_lcov() -> None:
    assert render_lcov(by_file([ONE])).splitlines() == [
        *("TN:", "SF:x.c", "BRDA:1,0,0,0", "BRDA:1,0,1,3", "BRDA:2,0,1,-", "BRF:3", "BRH:1"),
        *("DA:1,3", "DA:2,0", "LF:2", "LH:1", "end_of_record"),
    ]


def test_cobertura() -> None:
    root = ElementTree.fromstring(render_cobertura(by_file([ONE]), timestamp=7))
    assert (root.get("lines-covered"), root.get("lines-valid"), root.get("line-rate")) == ("1", "2", "0.5")
    lines = {line.get("number"): line for line in root.iter("line")}
    assert set(lines) == {"1", "2"}
    assert lines["1"].get("condition-coverage") == "50% (1/2)"
