"""Texts of public threads that were read wrong, each kind by its number of the list (see test_items.py)."""

from __future__ import annotations

import pytest

from pytest_ebpf.verifier.extract.extract import extract_logs
from pytest_ebpf.verifier.extract.verdict import Verdict, judge

FIGURES = "processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
SCALAR = "R1 invalid mem access 'scalar'"


def all_of(text: str) -> list[Verdict]:
    return [judge(found) for found in extract_logs(text)]


def the_one(text: str) -> Verdict:
    (verdict,) = all_of(text)
    return verdict


def test_02_a_bold_message() -> None:
    verdict = the_one(f"> 56: (61) r3 = *(u32 *)(r1 +16)\n> **{SCALAR}**\n> {FIGURES}")
    assert verdict.log.error == SCALAR


def test_02_prose_behind_a_bold_message() -> None:
    verdict = the_one(f"I get: **{SCALAR}** -- and the code is `v->x`.\n\n9: (79) r1 = *(u64 *)(r1 +8)\n")
    assert verdict.log.error == SCALAR


def test_03_the_loader_went_on() -> None:
    """Kernels before 5.8 keep the trace of an accepted program at level 1."""
    log = f"0: (b7) r0 = 0\n1: (95) exit\n{FIGURES}"
    assert the_one(log).verdict == "unknown"
    assert the_one(f"{log}libbpf: prog 'p': attached\n").verdict == "accepted"


def test_02_a_title_and_its_log_are_one() -> None:
    title = "# Verifier output: last insn is not an exit or jmp\n\n"
    text = (
        f"Error: Verifier output: last insn is not an exit or jmp\nverification time 7 usec\nstack depth 0\n{FIGURES}"
    )
    assert "panic" in the_one(title + text).advice


def test_02_two_programs_with_one_message_are_two() -> None:
    """At level 4 there is the message alone; the figures tell them apart."""
    assert len(all_of(f"{SCALAR}\n{FIGURES}\n{SCALAR}\n{FIGURES.replace('7', '8')}")) == 2


def test_02_what_stands_behind_a_summary_is_not_its_message() -> None:
    line = "program p: load program: permission denied: 2: (69) r2 = *(u16 *)(r1 +4): R1 invalid mem access 'scalar' "
    verdict = the_one(f"{line}(7 line(s) omitted)\nexample.com/agent/log.Err\n")
    assert (verdict.program, verdict.log.error) == ("p", SCALAR)


def test_04_a_remark_before_the_trace_is_no_message_of_another_log() -> None:
    lines = ("0: R1=ctx() R10=fp0", "0: (bf) r6 = r1", "...", "9: (79) r1 = *(u64 *)(r1 +8)", SCALAR, FIGURES)
    verdict = the_one("load program: permission denied:\nR1 type=ctx expected=fp\n" + "\n".join(lines))
    assert verdict.log.error == SCALAR


@pytest.mark.parametrize(
    ("behind", "program", "errno"),
    [
        ("libscap: bpf_load_program() err=13 event=filler/sys_fill\n", "filler/sys_fill", "EACCES"),
        ("thread 'main' panicked at 'error: LoadError(\"count_flow\", BPF)', load.rs:2\n", "count_flow", ""),
        ("WARNING: bcc_prog_load() failed. name: on_read, Permission denied errno: 13\n", "on_read", "EACCES"),
        ("Exception: Failed to load BPF program on_read: Permission denied\n", "on_read", "EACCES"),
        ("Exception: Failed to load BPF program b'on_read': Permission denied\n", "on_read", "EACCES"),
    ],
)
def test_05_programs_that_other_loaders_name(behind: str, program: str, errno: str) -> None:
    verdict = the_one(f"9: (79) r1 = *(u64 *)(r1 +8)\n{SCALAR}\n{FIGURES}\n{behind}")
    assert (verdict.program, verdict.errno) == (program, errno)


def test_05_the_name_on_the_line_of_the_first_instruction() -> None:
    line = "x_test.go:97: Error: program nat: load program: permission denied: 9: (71) r1 = *(u8 *)(r1 +1): "
    assert the_one(f"    {line}{SCALAR} (40 line(s) omitted)\n").program == "nat"


def test_05_a_title_that_repeats_the_header_of_tc() -> None:
    header = "Prog section 'hook_in' rejected: Permission denied (13)!"
    assert the_one(f"# {header}\n\nhelp\n\n{header}\n - Type: 3\n\nVerifier analysis:\n\n{SCALAR}\n{FIGURES}").program


def test_06_a_warning_of_the_verifier_refuses_nothing() -> None:
    message = "verifier bug: REG INVARIANTS VIOLATION (false_reg1): range bounds violation u64=[0x1, 0x0]\n"
    assert the_one(message + FIGURES).verdict == "unknown"
    assert the_one(f"prog 'p': BPF program load failed: -EINVAL\n{message}{FIGURES}").verdict == "rejected"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("it says 'R2 invalid mem access rcu_ptr_or_null_'.", "R2 invalid mem access rcu_ptr_or_null_"),
        ("It says \u201cR1 invalid mem access \u2018inv\u2019\u201d. Why?", "R1 invalid mem access 'inv'"),
        ("the error \"R1 invalid mem access 'inv'\" comes", "R1 invalid mem access 'inv'"),
        ("# combined stack size of 3 calls is 544. Too large", "combined stack size of 3 calls is 544. Too large"),
        ("error : ' calling kernel function bpf_x is not allowed'.", "calling kernel function bpf_x is not allowed"),
    ],
)
def test_07_a_message_in_prose(text: str, message: str) -> None:
    assert the_one(text).log.error == message


@pytest.mark.parametrize(
    ("text", "verdict", "words"),
    [
        ("libxdp: Failed to load program allow: Argument list too long\n", "rejected", "three causes"),
        ("ERROR: Can't load eBPF object: Argument list too long(-7)\n", "rejected", "three causes"),
        ("prog 'p': relo #3: target candidate search failed for [22] struct : -22\n", "rejected", "anonymous"),
        ("prog 'p': relo #3: no matching targets found\n", "unknown", "only if it is reached"),
        ("failed to load kernel BTF: fail to parse BTF header: header length 32\n", "unknown", "Update the loader"),
        (
            "libbpf: prog 'p': failed to create BPF link for perf_event FD 4: -13 (Permission denied)\n",
            "unknown",
            "reads",
        ),
        ("err: BPF LSM is not enabled for this kernel\n", "unknown", "CONFIG_BPF_LSM"),
        (
            "prog 'p': failed to attach: -EBUSY\nassuming BPF LSM is not available\n",
            "unknown",
            "attached there already",
        ),
        ("> Error: the BPF_PROG_LOAD syscall returned Argument list too long (os error 7).\n", "rejected", "causes"),
        ("kprobe x: creating perf_kprobe PMU: token x: not found: no such file or directory\n", "unknown", "attach"),
        ("ioctl(PERF_EVENT_IOC_SET_BPF): Invalid argument\n", "unknown", "before 5.0"),
        ("BPF verifier log for p_1:\n\nERROR: Loading BPF object(s) failed\n", "rejected", "log level"),
    ],
)
def test_08_more_of_what_loaders_print(text: str, verdict: str, words: str) -> None:
    found = the_one(text)
    assert found.verdict == verdict
    assert words in found.advice


def test_12_lines_of_a_trace_beside_a_log_are_no_rejection() -> None:
    log = f"9: (79) r1 = *(u64 *)(r1 +8)\n{SCALAR}\n{FIGURES}"
    assert the_one(f"```\n{log}```\nwhere\n```\n7: (85) call bpf_ringbuf_reserve#131\n```\n").log.error == SCALAR
