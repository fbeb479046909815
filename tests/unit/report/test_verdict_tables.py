"""Verdicts as text: the table, the reasons, lists of figures, two runs beside each other."""

from __future__ import annotations

from pytest_ebpf.report.terminal import ASCII
from pytest_ebpf.report.verdicts import render_comparison, render_rows, render_table, render_why
from pytest_ebpf.verifier.compare.veristat_csv import Row, join_rows


def row(kernel: str, verdict: str = "success", *, program: str = "prog", **more: str | int) -> Row:
    return {"file_name": "a.bpf.o", "prog_name": program, "verdict": verdict, "kernel": kernel, **more}


def text(lines: object) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in lines]  # type: ignore[attr-defined]


REFUSED: dict[str, str | int] = {"errno": "EACCES", "class": "null-deref", "kind": "safety", "source": "a.c:5: *v = 1;"}


def test_a_column_per_kernel() -> None:
    rows = [
        row("6.1", total_insns=12),
        row("7.3", "failure", total_insns=3),
        row("6.1", "error", program="other", config="x=1"),
    ]
    assert text(render_table(rows, kernels=("6.1", "7.3"))) == [
        "                      6.1   7.3",
        "a.bpf.o",
        "  prog                ✓ 12  ✗ 3",
        "  other [x=1]         E     -",
        "",
    ]
    assert text(render_table(rows[:2], kernels=("6.1", "7.3"), glyphs=ASCII))[2].split() == [
        "prog",
        ".",
        "12",
        "F",
        "3",
    ]


def test_narrow_terminals() -> None:
    """Kernels that do not fit get a table of their own; long names lose their middle."""
    kernels = tuple(f"6.{number}" for number in range(12))
    rows = [row(kernel, total_insns=100_000, program="a_program_with_a_very_long_name_indeed") for kernel in kernels]
    lines = text(render_table(rows, kernels=kernels, width=60))
    assert max(map(len, lines)) <= 60
    heads = [line.split() for line in lines if line.strip().startswith("6.")]
    assert [kernel for head in heads for kernel in head] == list(kernels)
    assert len(heads) > 1
    assert any("…" in line for line in lines)


def test_the_oldest_speaks_for_those_that_agree() -> None:
    rows = [
        row("5.10"),
        row("6.1", "failure", message="R0 bad", **REFUSED),
        row("6.12", "failure", message="R0 is bad", **REFUSED),
        row("7.3", "error", message="no ringbuf", kind="feature-missing"),
        row("6.1", program="fine"),
    ]
    assert text(render_why(rows, kernels=("5.10", "6.1", "6.12", "7.3"))) == [
        "a.bpf.o: prog (accepted on 5.10)",
        "  ✗ rejected, EACCES, null-deref, safety on 6.1, 6.12",
        "    R0 bad",
        "    at a.c:5: *v = 1;",
        "  E error, feature-missing on 7.3",
        "    no ringbuf",
    ]
    wrapped = text(render_why([row("6.1", "failure", message="word " * 30)], kernels=("6.1",), width=40))
    assert max(map(len, wrapped)) <= 40
    assert "".join(wrapped).count("word") == 30


def test_figures() -> None:
    rows = [row("6.1", total_insns=7), row("7.3", "error")]
    assert text(render_rows(rows, columns=("prog_name", "total_insns", "verdict"))) == [
        "Program  Insns  Verdict",
        "-------  -----  -------",
        "prog         7  success",
        "prog         -  error",
    ]


def test_two_runs() -> None:
    joined = join_rows([row("6.1", total_insns=100)], [row("6.1", total_insns=150)])
    assert text(render_comparison(joined, columns=("total_insns",))) == [
        "File     Program  Insns (A)  Insns (B)   Insns (DIFF)",
        "-------  -------  ---------  ---------  -------------",
        "a.bpf.o  prog           100        150  +50 (+50.00%)",
    ]
