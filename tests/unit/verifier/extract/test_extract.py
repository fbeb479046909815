"""Logs out of whatever loaders, CI systems and journals put around them."""

from __future__ import annotations

import json

import pytest

from pytest_ebpf.verifier.extract.extract import extract_logs
from pytest_ebpf.verifier.verifier_log import parse_log
from support.verifier_logs import all_logs

LOGS = all_logs()
LOG = LOGS["c-6.12/null_deref.l1"]
SHORT = LOGS["asm-6.18/scalar_deref.l4"]
LONG = LOGS["c-7.2/subprog_oob.l6"]


def libbpf(log: str) -> str:
    return (
        "libbpf: loading object from x.o\n"
        "libbpf: prog 'null_deref': BPF program load failed: Permission denied\n"
        f"libbpf: prog 'null_deref': -- BEGIN PROG LOAD LOG --\n{log}-- END PROG LOAD LOG --\n"
        "libbpf: prog 'null_deref': failed to load: -13\nlibbpf: failed to load object 'x.o'\n"
    )


def aya(log: str) -> str:
    return (
        f"Error: the BPF_PROG_LOAD syscall returned Permission denied (os error 13). Verifier output: {log}\n\n"
        "Caused by:\n    Permission denied (os error 13)\n"
    )


def each_line(text: str, prefix: str) -> str:
    return "".join(
        prefix.format(n=n % 60, f=n * 7919 % 1000000) + line + "\n" for n, line in enumerate(text.splitlines())
    )


def bcc(log: str) -> str:
    return f"bpf: Failed to load program: Permission denied\n{log}\n\nHINT: The invalid mem access error can happen.\n"


def tc(log: str) -> str:
    return (
        "\nProg section 'cls' rejected: Permission denied (13)!\n - Type:         3\n"
        f" - Instructions: 9 (0 over limit)\n - License:      GPL\n\n"
        f"Verifier analysis:\n\n{log}\nError fetching program/map!\n"
    )


WRAPPED = {
    "bare": LOG,
    "libbpf": libbpf(LOG),
    "aya": aya(LOG),
    "cilium": "program null_deref: load program: permission denied:\n" + each_line(LOG, "\t"),
    "github": each_line(libbpf(LOG), "2026-11-21T11:16:{n:02}.{f:06}1Z "),
    "journal": each_line(libbpf(LOG), "Nov 21 11:16:{n:02} host agent[12345]: "),
    "dmesg": each_line(LOG, "[  10{n:02}.{f:06}] "),
    "compose": each_line(LOG, "agent-1  | "),
    "json": json.dumps({"level": "error", "msg": "load failed", "log": LOG}) + "\n",
    "bcc": bcc(LOG),
    "tc": tc(LOG),
    "crlf": LOG.replace("\n", "\r\n"),
    "colours": each_line(LOG, "\x1b[31m").replace("\n", "\x1b[0m\n"),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappings(name: str) -> None:
    (found,) = extract_logs(WRAPPED[name])
    log = parse_log(found.text)
    assert log.error == "R0 invalid mem access 'map_value_or_null'"
    assert log.error_insn == 7
    assert str(log.source_line) == "errs.bpf.c:7: *v += 1;"
    assert log.stats.insns == 7


def test_the_loaders_words() -> None:
    (found,) = extract_logs(libbpf(LOG))
    assert (found.text, found.program, found.refused) == (LOG, "null_deref", "-13")


def test_a_log_without_trace() -> None:
    (found,) = extract_logs(aya(SHORT))
    assert parse_log(found.text).error == "R1 invalid mem access 'scalar'"


def test_a_summary_of_cilium() -> None:
    text = (
        "loading objects: field X: program x: load program: permission denied: 7: (79) r1 = *(u64 *)(r0 +0): "
        "R0 invalid mem access 'map_value_or_null' (13 line(s) omitted)\n"
    )
    (found,) = extract_logs(text)
    log = parse_log(found.text)
    assert (log.error, log.error_insn) == ("R0 invalid mem access 'map_value_or_null'", 7)


def test_an_indent_is_taken_off_and_the_analysis_keeps_its_own() -> None:
    (found,) = extract_logs(each_line(LONG, "    "))
    assert found.text == LONG


def test_several_logs() -> None:
    found = extract_logs(LOG + LOGS["c-6.12/tc_ok.l6"])
    assert [parse_log(one.text).rejected for one in found] == [True, False]
    marked = extract_logs(libbpf(LOG) + libbpf(SHORT).replace("null_deref", "other"))
    assert [one.program for one in marked] == ["null_deref", "other"]


@pytest.mark.parametrize("text", ["", "hello world\nnothing here\n", bytes(range(256)).decode("latin-1")])
def test_no_log(text: str) -> None:
    (found,) = extract_logs(text)
    assert (found.text, found.program, found.refused) == ("", "", "")


def test_a_log_that_was_cut_off_stays_so() -> None:
    for name in ("asm-5.10/too_complex_loop.l6", "cbase-6.1/big_loop.l6"):
        (found,) = extract_logs(LOGS[name])
        rejection = parse_log(found.text).rejection
        assert rejection is not None
        assert rejection.class_id == "no-verdict"
