"""The kinds of misreading that were found in pasted logs, by the numbers of the list: a test for each of those that
are about reading. Costs (10) are in compare/test_10_costs.py, rules and advice (7, 9, 11) with the rules."""

from __future__ import annotations

import json

import pytest

from pytest_ebpf.verifier.explain.text import render_explanation
from pytest_ebpf.verifier.extract.extract import extract_logs
from pytest_ebpf.verifier.extract.verdict import Verdict, judge
from pytest_ebpf.verifier.log.lines import split_insn
from pytest_ebpf.verifier.log.trace import parse_trace
from pytest_ebpf.verifier.verifier_log import parse_log
from support.paths import ROOT

SEEN = ROOT / "tests" / "data" / "pasted" / "seen"
FIGURES = "processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
NULL = "R0 invalid mem access 'map_value_or_null'"
LOG = f"6: (85) call bpf_map_lookup_elem#1\n; return *v; @ a.bpf.c:9\n7: (79) r1 = *(u64 *)(r0 +0)\n{NULL}\n{FIGURES}"


def all_of(text: str) -> list[Verdict]:
    return [judge(found) for found in extract_logs(text)]


def the_one(text: str) -> Verdict:
    (verdict,) = all_of(text)
    return verdict


def cls(verdict: Verdict) -> str:
    return verdict.rejection.class_id if verdict.rejection is not None else ""


# What stands before the message: instructions of every form (kernel/bpf/disasm.c).
GLUED_TO = [
    "2: (56) if w2 != 0x7 goto pc-2",
    "2: (05) goto pc-7",
    "2: (06) gotol pc-7",
    "2: (e5) may_goto pc+3",
    "2: (79) r1 = *(u64 *)(r0 +8)",
    "2: (7b) *(u64 *)(r10 -8) = r1",
    "2: (62) *(u32 *)(r2 +0) = 0",
    "2: (85) call bpf_map_lookup_elem#1",
    "2: (85) call pc+4",
    "2: (95) exit",
    "2: (db) lock *(u64 *)(r0 +0) += r6",
    "2: (db) r1 = atomic64_fetch_add((u64 *)(r6 +12), r1)",
    "2: (0f) r1 += r0",
    "2: (bf) r1 = (s32)r2",
    "2: (18) r1 = 0xffff9f4b0c51e800",
    "2: (dc) r1 = be16 r1",
    "2: (20) r0 = *(u32 *)skb[12]",
]
MESSAGES = [
    NULL,
    "infinite loop detected at insn 2",
    "expected prog array map for tail call",
    "frame pointer is read only",
]


@pytest.mark.parametrize("insn", GLUED_TO)
@pytest.mark.parametrize("message", MESSAGES)
def test_01_a_message_behind_an_instruction(insn: str, message: str) -> None:
    assert split_insn(f"{insn} {message}") == (insn, message)
    text = f"0: R1=ctx() R10=fp0\n{insn} {message}\n{FIGURES}"
    log = parse_log(text)
    assert (log.error, log.error_insn) == (message, 2)
    assert parse_trace(text).render() == text
    assert str(parse_trace(text).instructions[0]) == insn


@pytest.mark.parametrize(
    "line",
    [
        "8: (56) if w2 != 0x0 goto pc-5 4: R1=ctx() R10=fp0",
        "8: (56) if w2 != 0x0 goto pc-5 ; i++; @ x.c:69",
        "1: (61) r2 = *(u32 *)(r1 +8)          ; R1=ctx() R2=scalar(smin=0,smax=umax=0xffffffff)",
        "5: (85) call bpf_get_prandom_u32#7    ;",
    ],
)
def test_01_states_and_sources_behind_an_instruction_are_not_messages(line: str) -> None:
    assert split_insn(line) == (line, "")


def test_01_states_behind_a_loop() -> None:
    text = (
        f"2: (56) if w2 != 0x7 goto pc-2 infinite loop detected at insn 1\ncur state: R0=0\nold state: R0=0\n{FIGURES}"
    )
    assert parse_log(text).error == "infinite loop detected at insn 1"


BEHIND = [
    "\nHINT: The invalid mem access error can happen.\n",
    "\nTraceback (most recent call last):\n  File \"x.py\", line 3\nException: Failed to load BPF program b'p'\n",
    "\nlibbpf: -- END LOG --\nlibbpf: failed to load program 'p'\nERR: loading file: x.o\n",
    "```\n\nIt is a per-CPU array, so that cannot fail.\n",
    "\nWhy is that?\n",
    "Error: failed to load object file\n",
]


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("figures", [FIGURES, ""])
def test_02_text_behind_the_log_is_not_its_message(behind: str, figures: str) -> None:
    verdict = the_one(LOG.replace(FIGURES, figures) + behind)
    assert (verdict.verdict, cls(verdict), verdict.log.error) == ("rejected", "null-deref", NULL)


@pytest.mark.parametrize("escape", [json.dumps, repr, lambda text: json.dumps(json.dumps(text))])
def test_02_a_log_on_one_line(escape: object) -> None:
    assert callable(escape)
    verdict = the_one(f"load failed: {escape(LOG)}\n")
    assert (cls(verdict), verdict.log.error) == ("null-deref", NULL)
    assert str(verdict.log.source_line) == "a.bpf.c:9: return *v;"


def test_02_the_same_log_twice_has_one_answer() -> None:
    text = f"Error: load\n\nCaused by:\n    0: the BPF_PROG_LOAD syscall failed. Verifier output: {LOG}"
    assert len(all_of(f"{text}\n    1: Permission denied (os error 13)\n\n{text}")) == 1


def test_02_an_escaped_newline_in_a_quoted_source_line_stays() -> None:
    text = LOG.replace("return *v;", r'bpf_printk("a\n"); bpf_printk("b\n");')
    assert str(the_one(text).log.source_line) == r'a.bpf.c:9: bpf_printk("a\n"); bpf_printk("b\n");'


@pytest.mark.parametrize("noise", ["R1 type=ctx expected=fp\n", "R2 type=arena expected=fp\n"])
def test_03_noise_of_an_accepted_program(noise: str) -> None:
    text = (
        f"{noise}Func#1 is global and valid. Skipping.\n{noise}verification time 214 usec\nstack depth 40+16\n{FIGURES}"
    )
    assert not parse_log(text).rejected
    assert the_one(text).verdict == "accepted"
    assert parse_log(text, refused=True).error == noise.strip()


@pytest.mark.parametrize(
    "text", ["", "# README\n\nThe verifier refuses some programs.\n", "\x7fELF\x02\x01\x01\0\0junk\n"]
)
def test_03_a_text_without_a_log_is_unknown(text: str) -> None:
    verdict = the_one(text)
    assert (verdict.verdict, verdict.rejection, verdict.log.error) == ("unknown", None, "")


@pytest.mark.parametrize("path", ["README.md", "docs/loading.md", "docs/guests.md", "CHANGELOG.md"])
def test_03_prose_about_programs_is_not_a_rejection(path: str) -> None:
    assert all(verdict.verdict != "accepted" for verdict in all_of((ROOT / path).read_text()))


def test_04_noise_before_the_error() -> None:
    text = (
        "5: (85) call pc+94\nR1 type=arena expected=fp\n"
        f"global function calls are not allowed while holding a lock,\nuse static function instead\n{FIGURES}"
    )
    assert cls(the_one(text)) == "lock"


def test_04_a_warning_is_not_a_reason() -> None:
    warning = "trace type programs with run-time allocated hash maps are unsafe. Switch to preallocated hash maps.\n"
    assert the_one(warning + LOG).log.error == NULL
    assert not parse_log(warning + FIGURES).rejected


def named(before: str, after: str = "") -> str:
    return the_one(before + LOG + after).program


def test_05_the_names_of_programs() -> None:
    assert named("libbpf: load bpf program failed: Permission denied\nlibbpf: -- BEGIN DUMP LOG ---\nlibbpf: \n") == ""
    assert named("", "-- END PROG LOAD LOG --\nlibbpf: prog 'late': failed to load: -13\n") == "late"
    assert named("Prog section '2/9' rejected: Permission denied (13)!\n\nVerifier analysis:\n\n") == "2/9"
    assert named("program count_it: load program: permission denied:\n") == "count_it"
    assert named("ERROR: Error loading BPF program for kprobe_vfs_read_1.\nKernel error log:\n") == "kprobe_vfs_read_1"
    assert named("", "\nException: Failed to load BPF program b'on_close': Permission denied\n") == "on_close"


def test_05_a_plain_log_before_a_marked_one() -> None:
    marked = "libbpf: prog 'late': BPF program load failed: EACCES\nlibbpf: prog 'late': -- BEGIN PROG LOAD LOG --\n"
    plain, late = all_of(LOG + "\n" + marked + LOG.replace("r0 +0", "r0 +8") + "-- END PROG LOAD LOG --\n")
    assert (plain.program, late.program) == ("", "late")
    assert (cls(plain), cls(late)) == ("null-deref", "null-deref")


def test_06_no_place_in_a_log_that_was_cut_off() -> None:
    text = (
        "0: R1=ctx(id=0) R10=fp0\n; x = f(); @ a.c:3\n0: (85) call bpf_ktime_get_ns#5\n1: (bf) r6 = r0\n2: R0_w=inv(id"
    )
    verdict = the_one("bpf(BPF_PROG_LOAD) = -1 ENOSPC, buffer was 128 bytes:\n\n" + text)
    assert verdict.explanation is not None
    assert (verdict.verdict, cls(verdict)) == ("rejected", "no-verdict")
    assert (verdict.explanation.insn, verdict.explanation.source) == (None, None)
    assert ">>>" not in render_explanation(verdict.explanation)


def test_02_a_store_with_something_behind_it() -> None:
    """What is glued to a register's name is not a register's number."""
    text = (
        f'0: (7b) *(u64 *)(r10 -8) = r10\\n",\n1: (79) r7 = *(u64 *)(r10 -8)\n2: (0f) r1 += r7\nR7 !read_ok\n{FIGURES}'
    )
    assert parse_log(text).explanation is not None


def test_06_nothing_is_claimed_of_registers_that_the_log_does_not_show() -> None:
    """The message is about R7; what R1 holds is not in this log."""
    verdict = the_one(f"311: (0f) r1 += r7\nR7 !read_ok\n{FIGURES}")
    assert verdict.explanation is not None
    assert [register.name for register in verdict.explanation.registers] == ["R7"]


def test_07_messages_in_prose_and_behind_prefixes() -> None:
    prose = "On 4.13 the verifier says `jump out of range from insn 1 to 2` and the errno is EINVAL.\n"
    assert (cls(the_one(prose)), the_one(prose).log.error_insn) == ("bad-code", 1)
    dmesg = "[  884.3] ---[ cut here ]---\n[  884.3] verifier bug: REG INVARIANTS VIOLATION (false_reg1)\n"
    assert (the_one(dmesg).verdict, cls(the_one(dmesg))) == ("unknown", "verifier-bug")


def test_07_an_unresolved_instruction_has_its_place() -> None:
    text = (
        f"270: (0f) r2 += r1\n271: <invalid CO-RE relocation>\nfailed to resolve CO-RE relocation <byte_off>\n{FIGURES}"
    )
    assert (cls(the_one(text)), parse_log(text).error_insn) == ("core-reloc", 271)


def test_07_a_rust_panic() -> None:
    symbol = "_ZN4core9panicking18panic_bounds_check17h3f2b1c0a9d8e7f65E"
    text = (
        f"[DEBUG aya_obj::relocation] relocating program `hits` function `hits` size 96\n"
        f"[DEBUG aya_obj::relocation] callee is `{symbol}`\n"
        f"Error: the BPF_PROG_LOAD syscall failed. Verifier output: last insn is not an exit or jmp\n{FIGURES}"
    )
    verdict = the_one(text)
    assert verdict.program == "hits"
    assert "core::panicking::panic_bounds_check" in verdict.advice


BEFORE_THE_VERIFIER = {
    "libbpf: prog 'p': failed to find kernel BTF type ID of 'gone_fn': -3\n": ("rejected", "attach-target"),
    "libbpf: failed to find valid kernel BTF\nlibbpf: Error loading vmlinux BTF: -3\n": ("rejected", "btf"),
    "libbpf: Error loading .BTF into kernel: -22. BTF is optional, ignoring.\n": ("unknown", ""),
    "libbpf: map 'rb': failed to create: Invalid argument(-22)\n": ("rejected", "map-create"),
    "couldn't load: map big: map create: argument list too long\n": ("rejected", "map-create"),
    "libbpf: couldn't reuse pinned map at '/sys/fs/bpf/m': parameter mismatch\n": ("rejected", "map-create"),
    "libbpf: Error in bpf_object__probe_loading():Operation not permitted(1).\n": ("rejected", "privilege"),
    "bpf: Argument list too long. Program  too large (113 insns), at most 4096 insns\n": ("rejected", "too-complex"),
    "ERROR: Failed to load program, verification log buffer not big enough, try BPFTRACE_LOG_SIZE\n": (
        "rejected",
        "no-verdict",
    ),
    "libbpf: failed to find BTF for extern 'memset' [31] section: -2\nlibbpf: failed to load object 'x'\n": (
        "rejected",
        "bad-code",
    ),
    "libbpf: prog 'p': failed to attach: -EBUSY\n": ("unknown", ""),
    "Error: load filter\n\nCaused by:\n    Argument list too long (os error 7)\n": ("rejected", "no-verdict"),
    "failed to load BPF program: -13\n": ("rejected", "no-verdict"),
    "failed to load program: Operation not permitted (os error 1)\n": ("rejected", "privilege"),
}


@pytest.mark.parametrize("text", BEFORE_THE_VERIFIER)
def test_08_what_loaders_print_before_the_verifier(text: str) -> None:
    verdict = the_one(text)
    assert (verdict.verdict, cls(verdict)) == BEFORE_THE_VERIFIER[text]
    assert verdict.advice
    assert "{" not in verdict.headline + verdict.advice


def test_08_e2big_has_three_causes() -> None:
    advice = the_one("failed to load BPF program: -7\n").advice
    assert all(part in advice for part in ("1,000,000", "4096", "map"))


def test_08_a_summary_asks_for_the_whole_log() -> None:
    text = "program p: load program: invalid argument: invalid func unknown#125 (110 line(s) omitted)\n"
    verdict = the_one(text)
    assert (verdict.program, verdict.log.error) == ("p", "invalid func unknown#125")
    assert "%+v" in verdict.advice


def test_11_more_than_a_million_walked_and_no_message() -> None:
    text = (
        "3: (2d) if r2 > r7 goto pc-31\nprocessed 1000001 insns (limit 1000000) max_states_per_insn 29 total_states 2\n"
    )
    assert (cls(the_one(text)), parse_log(text).error) == ("too-complex", "")


def test_11_the_time_behind_a_message() -> None:
    text = f"insn 12 cannot call exception cb directlyverification time 91 usec\nstack depth 0+0\n{FIGURES}"
    log = parse_log(text)
    assert (log.error, log.error_insn, log.stats.time_us) == ("insn 12 cannot call exception cb directly", 12, 91)


def test_12_prose_before_the_log_is_not_quoted() -> None:
    verdict = the_one(f"It says R3 offset is outside of the packet -- but it was checked!\n\n{LOG}")
    assert verdict.log.error == NULL


def test_12_several_snippets() -> None:
    bad, good = all_of(
        f"This is refused:\n\n    {LOG.replace(chr(10), chr(10) + '    ')}\n\nThis is taken:\n\n    {FIGURES}"
    )
    assert (bad.verdict, good.verdict) == ("rejected", "accepted")


def test_12_a_message_above_the_log() -> None:
    verdict = the_one("R2 is not a scalar\n\nThat is all:\n\n12: (bf) r2 = r6\n13: (85) call bpf_iter_num_new#70021\n")
    assert (verdict.log.error, verdict.log.error_insn) == ("R2 is not a scalar", 13)


def test_12_lines_are_missing() -> None:
    """Neither the end of an accepted program nor a message: nobody knows."""
    verdict = the_one(LOG.replace(NULL + "\n", ""))
    assert (verdict.verdict, cls(verdict)) == ("unknown", "no-verdict")
