"""The matrix as text."""

from __future__ import annotations

from pytest_ebpf.report.record import EVERY_KERNEL, KernelRecord, ProgramRecord, RunRecord, merge_records
from pytest_ebpf.report.terminal import ASCII, Line, render_matrix


def record(
    test: str,
    kernel: str = "host",
    outcome: str = "passed",
    *,
    insns: int | None = None,
    reason: str = "",
    line: int = 0,
    boots: tuple[float, ...] = (),
) -> RunRecord:
    programs = [] if insns is None else [ProgramRecord(name="p", insns=insns, states=1, stack=0)]
    made = RunRecord(test=test, kernel=kernel, outcome=outcome, kind="", reason=reason, line=line, programs=programs)
    if boots:
        made["machine"] = KernelRecord(id=kernel, release=f"{kernel}.1", accel="TCG", note="no KVM", boots=list(boots))
    return made


def text(lines: list[Line]) -> list[str]:
    return ["".join(piece for piece, _ in line).rstrip() for line in lines]


def test_rows_columns_and_counts() -> None:
    records = [
        record("t.py::test_b", "5.10", "failed", insns=12, line=9, boots=(1.25,)),
        record("t.py::test_a", "5.10", insns=100, line=3, boots=(1.25,)),
        record("t.py::test_a", "6.1", "skipped", reason="no ringbuf", line=3),
    ]
    assert text(render_matrix(records, kernels=["5.10", "6.1"], width=60)) == [
        "                          5.10   6.1",
        "t.py",
        "  test_a                  ✓ 100  s a",
        "  test_b                  ✗ 12   -",
        "",
        "✗ failed, numbers: instructions the verifier walked, of the test's largest program",
        "s a  no ringbuf",
        "",
        "5.10  5.10.1       TCG, booted in 1.2 s  ✓ 1  ✗ 1",
        "6.1   not started                        s 1",
        "TCG: no KVM",
    ]


def large() -> list[RunRecord]:
    records = [record(f"t.py::test_{n}", kernel, insns=n, line=n) for n in range(50) for kernel in ("5.10", "6.1")]
    records[7 * 2]["outcome"] = "failed"
    for test in (8, 9):
        for kernel in (0, 1):
            records[test * 2 + kernel].update(outcome="skipped", reason="no ringbuf")
    for kernel in (0, 1):
        records[10 * 2 + kernel]["outcome"] = "failed"
    return records


def test_a_large_matrix_is_folded() -> None:
    """What failed or differs stays; the rest is a row per file and outcome; counts and reasons are of all tests."""
    lines = render_matrix(large(), kernels=["5.10", "6.1"], width=60, most_rows=40)
    assert text(lines)[:7] == [
        "                            5.10  6.1",
        "t.py",
        "  test_7                    ✗ 7   ✓ 7",
        "  test_10                   ✗ 10  ✗ 10",
        "  46 passed on all kernels  ✓     ✓",
        "  2 skipped on all kernels  s     s",
        "",
    ]
    assert text(lines)[7:10] == [
        "-v shows every test",
        "✗ failed, numbers: instructions the verifier walked, of the test's largest program",
        "s a  no ringbuf",
    ]
    assert text(lines)[-2].endswith("✓ 46  ✗ 2  s 2")
    assert lines[2][0] == ("  test_7                  ", "bold") or lines[2][0][1] == "bold", (
        "it differs: it stands out"
    )
    assert lines[3][0][1] == ""


def test_a_small_matrix_is_not_folded() -> None:
    assert len(render_matrix(large(), kernels=["5.10", "6.1"], most_rows=50)) > 50
    assert "-v shows every test" not in text(render_matrix(large(), kernels=["5.10", "6.1"]))


def test_five_kernels_fit_eighty_columns() -> None:
    name = "t.py::" + "test_" + "very_" * 20 + "long_name[end]"
    kernels = ["host", "5.10", "6.1", "6.12", "7.2"]
    records = [record(name, kernel, insns=1_000_000) for kernel in kernels]
    lines = text(render_matrix(records, kernels=kernels, width=80))
    assert max(len(line) for line in lines[:3]) <= 80
    (row,) = [line for line in lines if "1000000" in line]
    assert row.count("✓ 1000000") == 5
    assert row.startswith("  test_very_")
    assert "…" in row
    assert "[end]" in row


def test_too_many_kernels_make_several_tables() -> None:
    kernels = [f"6.{number}" for number in range(12)]
    records = [record("t.py::test_a", kernel, insns=1_000_000) for kernel in kernels]
    lines = text(render_matrix(records, kernels=kernels, width=80))
    table = lines[: lines.index("") * 4]
    assert all(len(line) <= 80 for line in table if "booted" not in line and "numbers" not in line)
    assert sum(line.count("✓ 1000000") for line in lines) == 12


def test_every_outcome_has_its_own_sign_in_ascii() -> None:
    outcomes = ["passed", "failed", "error", "skipped", "xfailed", "xpassed"]
    records = [record(f"t.py::{outcome}", outcome=outcome) for outcome in outcomes]
    lines = text(render_matrix(records, kernels=["host"], width=60, glyphs=ASCII))
    signs = [line.split()[1] for line in lines[2:8]]
    assert signs == [".", "F", "E", "s", "x", "X"]
    assert all(line.isascii() for line in lines)


def test_phases_of_a_test_are_one_cell() -> None:
    records = [record("t.py::a", insns=5), record("t.py::a", outcome="error", reason="leaked")]
    (merged,) = merge_records(records)
    assert (merged["outcome"], merged["reason"], len(merged["programs"])) == ("error", "leaked", 1)
    assert records[0]["outcome"] == "passed"


def test_a_test_without_kernel_shows_in_every_column() -> None:
    records = [record("t.py::a", EVERY_KERNEL, "error"), record("t.py::b", "6.1")]
    lines = text(render_matrix(records, kernels=["host", "6.1"], width=60))
    assert lines[2].split() == ["a", "E", "E"]
    assert lines[3].split() == ["b", "-", "✓"]
    assert text(render_matrix(records[:1], kernels=[], width=60))[0].split() == ["no", "kernel"]


def test_skip_reasons_are_listed_once() -> None:
    records = [record(f"t.py::{n}", outcome="skipped", reason="why" if n % 2 else "because") for n in range(6)]
    lines = text(render_matrix(records, kernels=["host"], width=60))
    assert [line for line in lines if line.startswith("s ")] == ["s a  because", "s b  why"]


def test_several_boots_are_shown() -> None:
    """Every record repeats what its process knows; another process adds its own boot."""
    records = [
        record("t.py::a", "6.1", boots=(3.0,)),
        record("t.py::b", "6.1", boots=(3.0, 4.0)),
        record("t.py::c", "6.1", boots=(5.5,)),
    ]
    lines = text(render_matrix(records, kernels=["6.1"], width=60))
    assert "6.1  6.1.1  TCG, booted in 3.0 + 4.0 + 5.5 s  ✓ 3" in lines


def test_programs_without_a_known_count() -> None:
    lines = text(render_matrix([record("t.py::a", insns=-1)], kernels=["host"], width=60))
    assert lines[2].split() == ["a", "✓"]
    assert not [line for line in lines if "numbers" in line]


def test_nothing_ran() -> None:
    assert render_matrix([], kernels=["host"]) == []
