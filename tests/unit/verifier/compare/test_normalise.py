"""Normalised traces: the same from run to run and, where kernels know the same, from kernel to kernel; their cost by
source line; baselines as text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.verifier.compare.baseline import (
    Baseline,
    Block,
    Snapshot,
    differences,
    parse_baseline,
    render_baseline,
)
from pytest_ebpf.verifier.compare.cost import line_costs, render_costs, walked_insns
from pytest_ebpf.verifier.compare.normalise import NormalLine, normal_lines, normal_message
from pytest_ebpf.verifier.log.values import SourceLine
from support.paths import TESTS

NEW = """\
func#0 @0
Live regs before insn:
      0: .1........ (b7) r6 = 0
0: R1=ctx() R10=fp0
; int x = 0; @ prog.c:5
0: (b7) r7 = 0                        ; R7=0
1: (18) r6 = 0xff1100000b3a4000       ; R6=map_ptr(map=counts,ks=4,vs=8)
3: (85) call bpf_map_lookup_elem#1    ; R0=map_value_or_null(id=4,map=counts,ks=4,vs=8)
; if (!v) @ prog.c:6
4: (15) if r0 == 0x0 goto pc+3        ; R0=map_value(map=counts,ks=4,vs=8)
5: (71) r1 = *(u8 *)(r0 +0)           ; R0=map_value(map=counts,ks=4,vs=8) R1=BYTE
6: (0f) r7 += r1
mark_precise: frame0: last_idx 6 first_idx 0 subseq_idx -1
mark_precise: frame0: regs=r1 stack= before 5: (71) r1 = *(u8 *)(r0 +0)
7: R1=BYTE R7=BYTE
7: (7b) *(u64 *)(r10 -8) = r7         ; R7=BYTE R10=fp0 fp-8=BYTE
8: (95) exit

from 4 to 8: safe
processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
""".replace("BYTE", "scalar(smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))")
# The same program as Linux 5.10 and 6.1 spell it, other registers chosen.
OLD = """\
func#0 @0
0: R1=ctx(id=0,off=0,imm=0) R10=fp0
; int x = 0;
0: (b7) r9 = 0
1: R1=ctx(id=0,off=0,imm=0) R9_w=inv0 R10=fp0
1: (18) r8 = 0xffff888003a4b000
3: R1=ctx(id=0,off=0,imm=0) R8_w=map_ptr(id=0,off=0,ks=4,vs=8,imm=0) R9_w=inv0 R10=fp0
3: (85) call bpf_map_lookup_elem#1
4: R0_w=map_value_or_null(id=1,off=0,ks=4,vs=8,imm=0) R8_w=map_ptr(id=0,off=0,ks=4,vs=8,imm=0) R9_w=inv0 R10=fp0
; if (!v)
4: (15) if r0 == 0x0 goto pc+17
 R0_w=map_value(id=0,off=0,ks=4,vs=8,imm=0) R8_w=map_ptr(id=0,off=0,ks=4,vs=8,imm=0) R9_w=inv0 R10=fp0
5: R0_w=map_value(id=0,off=0,ks=4,vs=8,imm=0) R9_w=inv0 R10=fp0
5: (71) r1 = *(u8 *)(r0 +0)
6: R0_w=map_value(id=0,off=0,ks=4,vs=8,imm=0) R1_w=inv(id=0,umax_value=255,var_off=(0x0; 0xff)) R9_w=inv0 R10=fp0
6: (0f) r9 += r1
7: R1_w=invP(id=0,umax_value=255,var_off=(0x0; 0xff)) R9_w=invP(id=0,umax_value=255,var_off=(0x0; 0xff)) R10=fp0
7: (7b) *(u64 *)(r10 -8) = r9
8: R9_w=inv(id=0,umax_value=255,var_off=(0x0; 0xff)) R10=fp0 fp-8_w=inv(id=0,umax_value=255,var_off=(0x0; 0xff))
8: (95) exit

from 4 to 8: safe
processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
WANTED = [
    "s1 = 0  ; 0",
    "s2 = ADDRESS  ; map_ptr(ks=4,vs=8)",
    "call bpf_map_lookup_elem  ; map_value_or_null(id=1,ks=4,vs=8)",
    "if r0 == 0x0 goto pc+",
    "r1 = *(u8 *)(r0 +0)  ; scalar(umax=255,var_off=(0; 255))",
    "s1 += r1  ; scalar(umax=255,var_off=(0; 255))",
    "*(u64 *)(r10 -8) = s1  ; scalar(umax=255,var_off=(0; 255))",
    "exit",
]


@pytest.mark.parametrize("log", [NEW, OLD], ids=["new", "old"])
def test_two_spellings_of_one_program(log: str) -> None:
    lines = normal_lines(log, ())
    assert [insn for line in lines for insn in line.insns] == WANTED
    assert [(line.text, line.walked) for line in lines] == [("int x = 0;", 3), ("if (!v)", 6)]


def test_costs_add_up_to_the_kernels_own_figure() -> None:
    """Also where a state was known already, and not the listing before the walk."""
    assert sum(walked_insns(NEW).values()) == 9
    first, second = line_costs(NEW, ())
    assert first.source == SourceLine("int x = 0;", "prog.c", 5)
    assert (first.walked, first.size, first.rounds) == (3, 3, 1)
    assert (second.walked, second.size, second.rounds) == (6, 5, 2)
    assert render_costs((first, second), most=1) == [
        "6 insns  67 %  2×  prog.c:6: if (!v)",
        "3 insns  33 %  in 1 other lines",
    ]
    assert line_costs("processed 0 insns", ()) == ()


def test_numbers_below_zero_are_no_addresses() -> None:
    assert normal_message("r1 = 0xffffffffffffffff at 0xff1100000b3a4000 call f#64233") == (
        "r1 = 0xffffffffffffffff at ADDRESS call f"
    )


LOGS = TESTS / "data" / "logs"


@pytest.mark.parametrize("path", sorted(LOGS.rglob("*.l*.log"))[:400:8], ids=lambda path: path.name)
def test_real_logs(path: Path) -> None:
    """Nothing that differs for no reason is left, and nothing is lost on the way to a file and back."""
    log = path.read_text(errors="replace")
    lines = normal_lines(log, ())
    assert sum(line.walked for line in lines) == sum(walked_insns(log).values())
    snapshot = Snapshot((("verdict", "accepted"),), lines)
    baseline = Baseline("t.py::test", "prog", (Block(("6.1",), snapshot),))
    text = render_baseline(baseline)
    assert parse_baseline(text, name="x") == baseline
    assert "0xffff8" not in text


SNAPSHOT = Snapshot(
    (("verdict", "accepted"), ("insns", "12"), ("states", "2"), ("stack", "8+16")),
    (
        NormalLine("a.c", "int x = 0;", 2, ("r1 = 0  ; 0",), 5),
        NormalLine("a.c", "if (!v)", 4, ("if r0 == 0x0 goto pc+",), 6),
        NormalLine("", "", 1, ("exit",)),
    ),
)


def test_files() -> None:
    baseline = Baseline("test_a.py::test_b", "prog").with_("6.12", snapshot=SNAPSHOT).with_("6.1", snapshot=SNAPSHOT)
    assert [block.kernels for block in baseline.blocks] == [("6.1", "6.12")]
    other = replace(SNAPSHOT, facts=(("verdict", "accepted"), ("insns", "13")))
    baseline = baseline.with_("6.1", snapshot=other).with_("5.10", snapshot=other)
    assert [block.kernels for block in baseline.blocks] == [("5.10", "6.1"), ("6.12",)]
    assert parse_baseline(render_baseline(baseline), name="x") == baseline
    assert baseline.of("6.12") == SNAPSHOT
    assert baseline.of("6.6") is None
    nearest = baseline.nearest("6.6")
    assert nearest is not None
    assert nearest.kernels == ("5.10", "6.1")
    assert baseline.like(SNAPSHOT) == ("6.12",)
    assert SNAPSHOT.figure("stack") == 24


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x:1: no baseline"),
        ("hello\n", "x:1: no baseline"),
        (f"# t: what the verifier says about p\n{'-' * 78}\nkernels: 6.1\n<<<<<<<\n", "x:4: not a line of a baseline"),
        (f"# t: what the verifier says about p\n{'-' * 78}\nverdict: accepted\n", "x:3: a block without kernels"),
    ],
)
def test_files_that_are_none(text: str, message: str) -> None:
    with pytest.raises(BpfUsageError, match=message):
        parse_baseline(text, name="x")


def test_differences_by_level() -> None:
    first, second, third = SNAPSHOT.lines
    assert differences(SNAPSHOT, SNAPSHOT) == []
    moved = replace(SNAPSHOT, lines=(replace(first, number=50), second, third))
    assert differences(SNAPSHOT, moved) == []
    knows = replace(SNAPSHOT, lines=(replace(first, insns=("r1 = 0  ; 5",)), second, third))
    assert differences(SNAPSHOT, knows, level="lines") == []
    assert differences(SNAPSHOT, knows) == [
        "  ~ a.c:5: int x = 0;",
        "        - r1 = 0  ; 0",
        "        + r1 = 0  ; 5",
    ]
    more = replace(
        SNAPSHOT, lines=(first, replace(second, walked=400), third), facts=(*SNAPSHOT.facts[:1], ("insns", "408"))
    )
    assert differences(SNAPSHOT, more, level="verdict") == []
    assert differences(SNAPSHOT, more, level="figures") == [
        "  insns: 12 -> 408",
        "  states: 2 -> -",
        "  stack: 8+16 -> -",
    ]
    assert differences(SNAPSHOT, more, level="lines")[3:] == [
        "  ~ a.c:6: if (!v)",
        "        400 instructions walked, 4 in the baseline",
    ]
    gone = replace(SNAPSHOT, lines=(first, third))
    assert differences(SNAPSHOT, gone) == [
        "  - a.c:6: if (!v)",
        "        removed; 4 instructions walked in the baseline",
    ]


def test_a_rejection_is_told_first() -> None:
    rejected = Snapshot(
        (("verdict", "rejected"), ("class", "null-deref"), ("at", "a.c: *v"), ("message", "R0 invalid mem access")),
        SNAPSHOT.lines[:1],
        where="a.c:7: *v",
    )
    assert differences(SNAPSHOT, rejected, level="verdict") == [
        "  verdict: accepted -> rejected",
        "  class: - -> null-deref",
        "  at: - -> a.c:7: *v",
        "  message: - -> R0 invalid mem access",
    ]
    reworded = replace(rejected, facts=(*rejected.facts[:3], ("message", "R0 bad access")))
    assert differences(rejected, reworded, level="verdict") == []
    assert differences(rejected, reworded, level="figures") == ["  message: R0 invalid mem access -> R0 bad access"]


def test_a_long_difference_is_cut() -> None:
    many = tuple(NormalLine("a.c", f"line {number}", 1) for number in range(40))
    found = differences(SNAPSHOT, replace(SNAPSHOT, lines=many))
    assert len(found) == 26
    assert found[-1].endswith("more lines")
