"""Item 10: costs per line, spilled registers, lines without a number."""

from __future__ import annotations

import re

import pytest

from pytest_ebpf.verifier.compare.cost import walked_insns
from pytest_ebpf.verifier.compare.normalise import normal_lines
from pytest_ebpf.verifier.log.lines import Kind
from pytest_ebpf.verifier.log.trace import parse_trace
from pytest_ebpf.verifier.verifier_log import parse_log
from support.verifier_logs import all_logs

LOGS = all_logs()


def as_if_later(text: str, *, by: int) -> str:
    """The same log with other indices: of a program whose instructions before are not in it."""

    def moved(found: re.Match[str]) -> str:
        return f"{int(found[2]) + by:>{len(found[0]) - 2}}: "

    text = re.sub(r"(?<= to )(\d+)(?=: safe)", lambda found: str(int(found[1]) + by), text)
    return re.sub(r"^( *)(\d+): (?=\([0-9a-f]{2}\)|frame|R\d|safe)", moved, text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", ["c-7.2/subprog_oob.l6", "c-7.2/tc_ok.l6", "c-7.2/global_func_ok.l6"])
def test_10_listings_before_the_walk_are_not_walked(name: str) -> None:
    """From the hundredth instruction on their lines begin at the margin, as those of the walk do."""
    later = as_if_later(LOGS[name], by=100)
    assert re.search(r"^100: \([0-9a-f]{2}\) [^;]*$", later, re.MULTILINE)
    walked = walked_insns(LOGS[name])
    assert walked_insns(later) == {index + 100: count for index, count in walked.items()}
    assert len(parse_trace(later).instructions) == len(parse_trace(LOGS[name]).instructions)
    assert parse_trace(later).render() == later


def test_10_a_walk_counts_what_the_kernel_counts() -> None:
    """What 7.2 says it processed is what is counted, however long the program."""
    text = as_if_later(LOGS["c-7.2/tc_ok.l6"], by=100)
    assert sum(walked_insns(text).values()) == parse_log(text).stats.insns


def test_10_listings_of_several_logs() -> None:
    text = as_if_later(LOGS["c-7.2/tc_ok.l6"], by=100)
    assert walked_insns(text * 3) == {index: 3 * count for index, count in walked_insns(text).items()}


SPILLS = {
    "6.6": "5: (7b) *(u64 *)(r10 -48) = r1        ; R1_w=0 fp-48_w=mmmmmmmm",
    "6.12": "5: (7b) *(u64 *)(r10 -48) = r1        ; R1_w=0 fp-48_w=mmmmmmscalar(id=11,smin=0,smax=255)",
    "6.18": "5: (7b) *(u64 *)(r10 -48) = r1        ; R1=0 fp-48=mmmmmm0",
    "7.2": "5: (7b) *(u64 *)(r10 -48) = r1        ; R1=0 fp-48=mmmmmm2",
}


def test_10_spilled_registers_are_written_one_way() -> None:
    written = {kernel: normal_lines(f"{line}\n", ())[0].insns[0] for kernel, line in SPILLS.items()}
    assert len({text for kernel, text in written.items() if kernel != "6.18"}) == 1, written
    assert "id=" not in written["6.12"]


def test_10_dead_bytes_of_7_1_are_bytes_never_written() -> None:
    new, old = (
        normal_lines(f"5: (63) *(u32 *)(r10 -4) = r1        ; R1=2 fp-8={slot}\n", ())[0].insns[0]
        for slot in ("mmmmpppp", "mmmm????")
    )
    assert new == old


@pytest.mark.parametrize(
    "zero", [";  @ x.bpf.c:0", "; int f(void) @ x.bpf.c:0", "; instruction poisoned by CO-RE @ :0"]
)
def test_10_line_0_is_no_place(zero: str) -> None:
    text = (
        f"; return a[i]; @ x.bpf.c:7\n3: (67) r0 <<= 3\n{zero}\n4: (71) r0 = *(u8 *)(r0 +0)\n"
        "R0 !read_ok\nprocessed 4 insns\n"
    )
    log = parse_log(text)
    assert str(log.source_line) == "x.bpf.c:7: return a[i];"
    assert log.explanation is not None
    assert str(log.explanation.source) == "x.bpf.c:7: return a[i];"


def test_10_lines_without_text() -> None:
    """GCC 16 records numbers alone: the number is shown where no text is known, never an empty quotation."""
    text = ";  @ x.bpf.c:9\n4: (71) r0 = *(u8 *)(r0 +0)\nR0 !read_ok\nprocessed 4 insns\n"
    log = parse_log(text)
    assert str(log.source_line) == "x.bpf.c:9"
    assert parse_trace(text).kinds[0] == Kind.SOURCE
