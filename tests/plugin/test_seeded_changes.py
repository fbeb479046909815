"""A change to a program is found by its baseline and its budget, and a newcomer finds the line in the message."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest

from support.paths import ROOT

SAMPLES = ROOT / "sample_programs"

TESTS = """
import pytest

@pytest.mark.bpf_budget(growth="5%")
def test_cost(bpf):
    bpf.load("prog.bpf.o")

@pytest.mark.bpf_budget(insns=2000)
def test_limit(bpf):
    bpf.load("prog.bpf.o")

def test_log(bpf_baseline):
    bpf_baseline.check("prog.bpf.o")
"""


@pytest.fixture
def program(pytester: pytest.Pytester) -> Callable[..., None]:
    """``program("bounded_loop", old=new)`` compiles a sample, changed, as prog.bpf.o."""
    if shutil.which("clang") is None:
        pytest.skip("clang compiles the changed program")

    def build(name: str, **changes: str) -> None:
        text = (SAMPLES / f"{name}.bpf.c").read_text()
        for old, new in (change.split(" => ") for change in changes.values()):
            assert old in text, f"{name}.bpf.c has no {old!r}"
            text = text.replace(old, new)
        source = pytester.path / "prog.bpf.c"
        source.write_text(text)
        # <asm/types.h> lies under the triplet of the machine on Debian
        headers = ["-I", str(SAMPLES / "include"), "-idirafter", f"/usr/include/{os.uname().machine}-linux-gnu"]
        clang = ["clang", "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-D__TARGET_ARCH_x86", *headers]
        subprocess.run([*clang, "-c", str(source), "-o", str(pytester.path / "prog.bpf.o")], check=True)

    pytester.makepyfile(test_it=TESTS)
    return build


def line_of(pytester: pytest.Pytester, text: str) -> int:
    lines = (pytester.path / "prog.bpf.c").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_a_longer_loop(pytester: pytest.Pytester, program: Callable[..., None]) -> None:
    program("bounded_loop")
    pytester.runpytest("--bpf-kernels=host", "--bpf-update=new").assert_outcomes(passed=3)
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=3)

    program("bounded_loop", longer="#define MOST 128 => #define MOST 1024")
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(failed=3)
    loop = line_of(pytester, "for (")
    result.stdout.re_match_lines(
        [
            r"prog.bpf.o: sum_payload is over its budget on .*",
            r"  insns: \d+ used, 69\d\.\d% more than 1680 in the baseline, 5% allowed",
            rf"  ~ prog.bpf.c:{loop}: for \(i = 0; .*",
            r"prog.bpf.o: sum_payload is over its budget on .*",
            r"  insns: \d+ used, 2000 allowed, \d\.\d times as many.*",
            r"the costliest source lines:",
            rf".* 1024×  prog.bpf.c:{loop}: for \(i = 0; .*",
            r"E +AssertionError: sum_payload differs from its baseline on .* \(__baselines__/test_it/.*",
            rf"E +~ prog.bpf.c:{loop}: for \(i = 0; .*",
            r"E +\d+ instructions walked, 511 in the baseline",
        ]
    )

    program("bounded_loop")
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=3)


def test_a_removed_bounds_check(pytester: pytest.Pytester, program: Callable[..., None]) -> None:
    program("bounded_loop")
    pytester.runpytest("--bpf-kernels=host", "--bpf-update=new").assert_outcomes(passed=3)

    program("bounded_loop", check="\t\tif (!byte)\n\t\t\tbreak;\n => ")
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(failed=3)
    use = line_of(pytester, "total += *byte")
    result.stdout.re_match_lines(
        [
            rf"E +pytest_ebpf.ProgramRejected: sum_payload: .*, at \S*prog.bpf.c:{use}: total.* \(EACCES\)",
            r"E +AssertionError: sum_payload differs from its baseline on .* \(__baselines__/test_it/.*",
            r"E +verdict: accepted -> rejected",
            r"E +class: - -> \S+",
            rf"E +at: - -> prog.bpf.c:{use}: total \+= \*byte;",
            r"E +- prog.bpf.c: if \(!byte\)",
            r"E +removed; 128 instructions walked in the baseline",
        ]
    )

    program("bounded_loop")
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=3)


def test_a_line_moved_by_a_comment_is_no_difference(pytester: pytest.Pytester, program: Callable[..., None]) -> None:
    program("bounded_loop")
    pytester.runpytest("--bpf-kernels=host", "--bpf-update=new").assert_outcomes(passed=3)
    program("bounded_loop", moved='SEC("xdp") => // a comment\n// of two lines\nSEC("xdp")')
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=3)
