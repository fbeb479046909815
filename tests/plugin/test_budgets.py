"""The marker ``bpf_budget``, ``prog.within``, ``--bpf-stats`` and ``--bpf-compare``."""

from __future__ import annotations

import csv
from collections.abc import Callable

import pytest

Objects = Callable[..., None]
HEAD = "file_name,prog_name,verdict,duration,total_insns,total_states,peak_states,max_states_per_insn,max_mark_read_len"


def test_within_the_budget(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("bounded_loop", "xdp_lb")
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bpf_budget(insns=2000, states=40, stack=512, limit="1%", jited=4096, max_states_per_insn=10)
        def test_all(bpf): bpf.load("bounded_loop.bpf.o")
        @pytest.mark.bpf_budget(insns={"<5": 1, "*": 2000})
        @pytest.mark.bpf_budget(prog="balance", peak_states=100)
        def test_kernels(bpf):
            bpf.load("bounded_loop.bpf.o")
            with bpf.load("xdp_lb.bpf.o"): pass
        def test_api(bpf):
            prog = bpf.load("bounded_loop.bpf.o")["sum_payload"]
            assert prog.within(insns=2000, size=4096, limit="50%") is prog
            assert prog.figures["insns"] == prog.stats.insns == 1680
            assert sum(cost.walked for cost in prog.costs) == 1680
        """
    )
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=3)


def test_beyond_the_budget(pytester: pytest.Pytester, objects: Objects) -> None:
    """Every figure that is over is told, then the source lines that cost most; the body of the test goes first."""
    objects("bounded_loop")
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bpf_budget(insns=100, states={">=5.10": 3}, limit="0.1%", stack=512)
        def test_marker(bpf):
            with bpf.load("bounded_loop.bpf.o"): pass
        def test_api(bpf):
            bpf.load("bounded_loop.bpf.o")["sum_payload"].within(insns=1000)
        @pytest.mark.bpf_budget(insns=100)
        def test_body(bpf):
            bpf.load("bounded_loop.bpf.o")
            assert 0, "the body"
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(failed=3)
    result.stdout.re_match_lines(
        [
            r"_+ test_marker\[host\] _+",
            r"bounded_loop.bpf.o: sum_payload is over its budget on \d\S+",
            r"  insns: 1680 used, 100 allowed, 16.8 times as many \(instructions walked\)",
            r"  states: \d+ used, 3 allowed, .*",
            r"  limit: 0.17% used \(1680 of 1000000 instructions\), 0.1% allowed",
            r"the costliest source lines:",
            r"  512 insns  30 %  128×  bounded_loop.bpf.c:22: u8 \*byte = .*",
            r"E +AssertionError: bounded_loop.bpf.o: sum_payload is over its budget.*",
            r"E +insns: 1680 used, 1000 allowed \(instructions walked\)",
            r"E +512 insns  30 %  128×  bounded_loop.bpf.c:22: .*",
            r"E +AssertionError: the body",
        ]
    )


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("insn=5", "*no budget for 'insn'*"),
        ("insns='many'", "*insns='many' is no number*"),
        ("insns=True", "*insns=True is no number*"),
        ("limit=5", "*limit= expected a share, got 5*"),
        ("growth='a lot'", "*growth= expected a share, got 'a lot'*"),
        ("", "*a budget that bounds nothing*"),
        ("5", "*bpf_budget: expected keyword arguments*"),
        ("insns={'six': 5}", "*six*"),
        ("prog=5, insns=5", "*prog= expected the name of a program, got 5*"),
    ],
)
def test_markers_that_make_no_sense(pytester: pytest.Pytester, objects: Objects, mark: str, message: str) -> None:
    objects("config")
    pytester.makepyfile(
        f"""
        import pytest
        @pytest.mark.bpf_budget({mark})
        def test_a(bpf): bpf.load("config.bpf.o")
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


def test_a_budget_that_bounds_no_program(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config")
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bpf_budget(insns=5)
        def test_a(bpf): pass
        @pytest.mark.bpf_budget(insns=5, prog="polite")
        def test_b(bpf): bpf.load("config.bpf.o")
        @pytest.mark.bpf_budget(insns=5)
        def test_c(): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(failed=2, errors=1)
    result.stdout.fnmatch_lines_random(
        [
            "*the test loaded no program, so the budget has no effect*",
            "*bpf_budget(prog='polite'): the test did not load this program; it loaded: police*",
            "*bpf_ marker on a test without a kernel*",
        ]
    )


def test_growth(pytester: pytest.Pytester, objects: Objects) -> None:
    """Over a stored baseline; without one it fails and says how to store it. The stored one stays when it shrinks."""
    objects("bpf_loop")
    text = """
        import pytest
        @pytest.mark.bpf_budget(growth="5%")
        def test_a(bpf): bpf.load("bpf_loop.bpf.o", globals={{"rounds": {rounds}}})
        """
    pytester.makepyfile(test_a=text.format(rounds=1))
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no baseline: there is no __baselines__*", "*pytest --bpf-update=new 'test_a.py::*"])
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-update=new")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["new: __baselines__/test_a/test_a.sum_up.txt"])
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=1)

    pytester.makepyfile(test_a=text.format(rounds=100_000))
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-update=new")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r"  insns: 50 used, 31.6% more than 38 in the baseline, 5% allowed",
            r"  where .*",
            r"  . bpf_loop.bpf.c:\d+: .*",
            r"  accept it: pytest --bpf-update=changed 'test_a.py::test_a\[host\]'",
        ]
    )
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-update=changed")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["changed: __baselines__/test_a/test_a.sum_up.txt"])
    pytester.makepyfile(test_a=text.format(rounds=1))
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=1)


STATS = """
import pytest
def test_a(bpf): bpf.load("xdp_lb.bpf.o")
def test_b(bpf):
    with bpf.rejects():
        bpf.load("reject_null_value.bpf.o")
@pytest.mark.parametrize("rounds", [1, 100])
def test_c(bpf, rounds): bpf.load("bpf_loop.bpf.o", globals={"rounds": rounds})
"""


def test_figures_as_csv(pytester: pytest.Pytester, objects: Objects) -> None:
    """All programs that the run loaded, one row each; of several loads the one that cost most."""
    objects("xdp_lb", "reject_null_value", "bpf_loop")
    pytester.makepyfile(STATS)
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-stats=out.csv")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["figures of 3 programs written to out.csv"])
    text = (pytester.path / "out.csv").read_text()
    assert text.startswith(HEAD + "\n")
    rows = {row["prog_name"]: row for row in csv.DictReader(text.splitlines())}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "balance": "success",
        "sum_up": "success",
        "unchecked_value": "failure",
    }
    assert rows["balance"]["file_name"] == "xdp_lb.bpf.o"
    assert int(rows["balance"]["total_insns"]) == 264
    assert int(rows["sum_up"]["total_insns"]) == 50
    assert int(rows["unchecked_value"]["total_insns"]) > 0


def test_comparison_with_veristats_file(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("xdp_lb", "reject_null_value", "bpf_loop")
    pytester.makepyfile(STATS)
    base = [
        HEAD,
        "xdp_lb.bpf.o,balance,success,10,200,10,10,1,0",
        "reject_null_value.bpf.o,unchecked_value,success,10,20,1,1,1,0",
        "gone.bpf.o,prog,success,10,20,1,1,1,0",
    ]
    (pytester.path / "base.csv").write_text("\n".join(base) + "\n")
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-compare=base.csv")
    result.assert_outcomes(passed=4)
    result.stdout.re_match_lines(
        [
            r"=+ base.csv \(A\) and this run on host \(B\) =+",
            r"File +Program +Verdict \(A\)  Verdict \(B\)  Verdict \(DIFF\)  Insns \(A\)  Insns \(B\) +Insns \(DIFF.*",
            r"bpf_loop.bpf.o +sum_up +N/A +success +N/A +N/A +50 +N/A .*",
            r"gone.bpf.o +prog +success +N/A +N/A +20 +N/A +N/A.*",
            r"reject_null_value.bpf.o +unchecked_value +success +failure +MISMATCH .*",
            r"xdp_lb.bpf.o +balance +success +success +MATCH +200 +264 +\+64 \(\+32.00%\).*",
            r"4 of 4 programs differ",
        ]
    )


def test_comparison_with_our_own_file(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("xdp_lb", "reject_null_value", "bpf_loop")
    pytester.makepyfile(STATS)
    pytester.runpytest("--bpf-kernels=host", "--bpf-stats={kernel}.csv")
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-compare=host.csv", "--bpf-no-matrix", "-n2")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["xdp_lb.bpf.o *MATCH *+0 (+0.00%)*", "0 of 3 programs differ"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--bpf-stats=no/such/dir/x.csv", "*directory no/such/dir does not exist*"),
        ("--bpf-compare=nosuch.csv", "*--bpf-compare=nosuch.csv: No such file*"),
        ("--bpf-compare=bad.csv", "*bad.csv:1: no column 'nonsense'*"),
        ("--bpf-compare=short.csv", "*short.csv:2: 1 fields, and the first line names 2 columns*"),
        ("--bpf-compare=empty.csv", "*empty.csv: empty*"),
        ("--bpf-update=some", "*invalid choice: 'some'*"),
    ],
)
def test_files_that_cannot_be(pytester: pytest.Pytester, option: str, message: str) -> None:
    (pytester.path / "bad.csv").write_text("nonsense\n1\n")
    (pytester.path / "short.csv").write_text("file_name,prog_name\nx\n")
    (pytester.path / "empty.csv").write_text("")
    pytester.makepyfile("def test_a(): pass")
    result = pytester.runpytest_subprocess(option)
    assert result.ret == 4
    result.stderr.fnmatch_lines([message])
