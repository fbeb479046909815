"""Parts of logs by themselves: reports of Linux 7.3, quoted source, leftovers, cuts, and places by line info."""

from __future__ import annotations

from typing import NamedTuple

from pytest_ebpf.verifier.log.values import SourceLine, locate
from pytest_ebpf.verifier.verifier_log import parse_log
from support.paths import TESTS

LOGS = TESTS / "data" / "logs"


def log_of(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(errors="replace")


def test_the_report_of_linux_7_3_is_read_beside_the_old_line() -> None:
    log = parse_log(
        "0: R1=ctx() R10=fp0\n0: (95) exit\nR0 !read_ok\n\n"
        "Verification failed: Register Type Safety: Unreadable register\n\n"
        "Reason:\n  R0 was never set on this path.\n\n"
        "At:\n  insn 0\n        | ^-- error: R0 is not readable\n  Instruction context:\n  >>> 0 | (95) exit\n\n"
        "Causal path:\n  no retained diagnostic events on this path\n\n"
        "Suggestion:\n  Set R0 first.\n\n"
        "processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
    )
    assert log.error == "R0 !read_ok"
    assert log.error_insn == 0
    assert log.diagnosis is not None
    assert log.diagnosis.headline == "Register Type Safety: Unreadable register"
    assert log.diagnosis.section("Reason") == "R0 was never set on this path."
    assert log.diagnosis.section("Suggestion") == "Set R0 first."
    assert ">>> 0 | (95) exit" in log.diagnosis.section("At")
    assert log.diagnosis.section("Cause") == ""


def test_a_real_report() -> None:
    diagnosis = parse_log(log_of("c-7.3/kfunc_leak.l1")).diagnosis
    assert diagnosis is not None
    assert diagnosis.headline == "Resource Lifetime Safety: Unreleased resource"
    assert [title for title, _ in diagnosis.sections] == ["Reason", "At", "Causal path", "Suggestion"]
    assert diagnosis.section("Suggestion") == (
        "Release or transfer ownership of the acquired resource on every path before the program exits."
    )
    assert diagnosis.section("Causal path").startswith("kfunc_leak @ errs.bpf.c:204:26")


def test_a_report_without_an_old_line_gives_its_headline() -> None:
    log = parse_log("0: (95) exit\n\nVerification failed: Policy: Not allowed\n\nReason:\n  no\n\nprocessed 1 insns\n")
    assert log.error == "Policy: Not allowed"


def test_a_message_glued_to_the_statistics_is_cut_off() -> None:
    log = parse_log(
        "0: (85) call bpf_tail_call#12\nexpected prog array map for tail callprocessed 3 insns (limit 1000000)"
    )
    assert log.error == "expected prog array map for tail call"
    assert log.stats.insns == 3


def test_source_quoted_behind_an_instruction() -> None:
    log = parse_log("8: (56) if w2 != 0x0 goto pc-5 ; i++; @ x.c:69\nR2 !read_ok\nprocessed 9 insns\n")
    assert log.source_line == SourceLine("i++;", "x.c", 69)


def test_source_quoted_with_an_index_by_the_flow_graph_check_is_no_message() -> None:
    log = parse_log("10: return p[n]; @ x.c:7\nunreachable insn 10\nprocessed 0 insns\n")
    assert log.error == "unreachable insn 10"
    assert log.error_insn == 10


def test_a_harmless_note_is_the_error_only_of_last_resort() -> None:
    log = parse_log("arg#0 type is not a struct\nprocessed 3 insns (limit 1000000)\n")
    assert log.error == ""
    assert log.notes == ("arg#0 type is not a struct",)


def test_what_lies_behind_the_nul_is_leftover() -> None:
    assert parse_log("R0 !read_ok\nprocessed 1 insns\n\0R9 leftovers").error == "R0 !read_ok"


def test_an_empty_log() -> None:
    assert parse_log("") == parse_log("\0")
    assert parse_log("").error == ""


def test_source_far_before_the_end_of_a_long_log_is_found() -> None:
    """6.12 and newer print a source line once, however long the loop that follows."""
    loop = "7: (07) r1 += 1                       ; R1=scalar()\n" * 5000
    log = parse_log(f"0: R1=ctx() R10=fp0\n; for (;;) @ loop.c:3\n{loop}R1 is bad\nprocessed 5000 insns\n")
    assert log.source_line == SourceLine("for (;;)", "loop.c", 3)


class Row(NamedTuple):
    insn: int
    file: str
    line: int
    text: str


def test_our_own_line_info_locates_where_the_log_cannot() -> None:
    rows = [Row(0, "a.c", 10, "first();"), Row(4, "a.c", 11, "  second();"), Row(9, "b.h", 3, "third();")]
    log = parse_log(log_of("asm-5.10/map_value_null.l1"))
    assert log.source_line is None
    assert locate(log, rows) == SourceLine("second();", "a.c", 11)
    assert str(locate(log, rows)) == "a.c:11: second();"


def test_without_line_info_or_instruction_the_log_has_the_word() -> None:
    log = parse_log(log_of("c-6.12/endless.l6"))
    assert locate(log, []) == log.source_line
    at_level_4 = parse_log(log_of("asm-6.18/scalar_deref.l4"))
    assert locate(at_level_4, [Row(0, "a.c", 1, "x")]) is None
    before_the_first = parse_log("0: (95) exit\nR0 !read_ok\nprocessed 1 insns\n")
    assert locate(before_the_first, [Row(1, "a.c", 1, "x")]) is None


def test_has_searches_line_by_line() -> None:
    log = parse_log(log_of("asm-5.10/pkt_short_check.l6"))
    assert log.has("invalid access to packet, off={{[0-9]+}} size=1")
    assert not log.has("invalid access to map value")
