"""Several expectations about one text: order, lines, negatives, and the table of a failure."""

from __future__ import annotations

import pytest

from pytest_ebpf import absent, next_line
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.verifier.log.expect import check, expected, require
from pytest_ebpf.verifier.log.pattern import compile_pattern
from pytest_ebpf.verifier.verifier_log import parse_log

LOG = """\
0: (61) r1 = *(u32 *)(r1 +0)
1: (71) r0 = *(u8 *)(r1 +12)
invalid access to packet, off=12 size=1, R1(id=0,off=12,r=0)
R1 offset is outside of the packet
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


def statuses(*wanted: object, text: str = LOG) -> list[str]:
    return [row.status for row in check(text, expected(wanted)).rows]


@pytest.mark.parametrize(
    ("wanted", "outcome"),
    [
        (("r1 = *(u32", "invalid access", "R1 offset"), ["matched"] * 3),
        (("R1 offset", "invalid access"), ["matched", "missing"]),
        (("size=1", "size=1"), ["matched", "missing"]),
        (("invalid", next_line("R1 offset")), ["matched", "matched"]),
        (("(71)", next_line("R1 offset")), ["matched", "wrong line"]),
        (("(71)", next_line("nonsense")), ["matched", "missing"]),
        ((next_line("(71)"),), ["matched"]),
        (("(61)", absent("(71)"), "invalid"), ["matched", "unexpected", "matched"]),
        (("(71)", absent("(61)"), "invalid"), ["matched", "absent", "matched"]),
        ((absent("processed"), "invalid"), ["absent", "matched"]),
        (("R1 offset", absent("processed")), ["matched", "unexpected"]),
        (("(71)", absent("a"), absent("off=12"), "R1 offset"), ["matched", "unexpected", "unexpected", "matched"]),
        ((absent("processed"), "nowhere"), ["absent", "missing"]),
        (("{{^}}R1 offset {{.*}} packet{{$}}",), ["matched"]),
        (("off={{[0-9]+}} size={{(1|2)}},",), ["matched"]),
        ((), []),
    ],
)
def test_rows(wanted: tuple[object, ...], outcome: list[str]) -> None:
    assert statuses(*wanted) == outcome


def test_an_empty_text() -> None:
    assert statuses("a", absent("b"), text="") == ["missing", "absent"]
    assert "it is empty" in str(check("", expected(["a"])))


def test_the_table_of_a_failure() -> None:
    wanted = expected(["(71)", "invalid access to packet, off=14", absent("processed"), "(61)"])
    assert str(check(LOG, wanted, what="verifier log")) == (
        "the verifier log is not what was expected (2 of 4 expectations met):\n"
        '  matched     "(71)"\n'
        "              line 2: 1: (71) r0 = *(u8 *)(r1 +12)\n"
        '  EXPECTED    "invalid access to packet, off=14"\n'
        "              nearest:\n"
        "              line 3: invalid access to packet, off=12 size=1, R1(id=0,off=12,r=0)\n"
        '  absent      not "processed"\n'
        '  EXPECTED    "(61)"\n'
        "              it is only before the expectation above it:\n"
        "              line 1: 0: (61) r1 = *(u32 *)(r1 +0)"
    )


def test_a_negative_before_something_that_never_came_says_nothing() -> None:
    """Where its end would be is not known."""
    assert statuses("(71)", absent("processed"), "nowhere") == ["matched", "absent", "missing"]


def test_nearest_line_is_told_as_too_early() -> None:
    said = str(check(LOG, expected(["R1 offset is outside", "invalid access to packet, off=99 size=1"])))
    assert "nearest, but not below the expectation above" in said


def test_liveness_marks_are_no_matter_where_the_kernel_has_none() -> None:
    old, new = "5: (b7) r0 = 1 ; R0_w=1 fp-8_w=0\n", "5: (b7) r0 = 1 ; R0=1 fp-8=0\n"
    for text in (old, new):
        assert require(text, ["r0 = 1", "R0_w=1", "fp-8_w=0"]).ok
        assert parse_log(text, log_level=2).expect("R0_w=1 fp-8_w=0").ok
    with pytest.raises(AssertionError, match="EXPECTED"):
        parse_log(old, log_level=2).expect("R0=1")
    with pytest.raises(AssertionError, match='"R0_w=2"'):
        parse_log(new, log_level=2).expect("R0_w=2")


def test_log_expect() -> None:
    log = parse_log(LOG, log_level=2)
    assert [row.number for row in log.expect("invalid access", next_line("R1 offset")).rows] == [3, 4]
    log.expect(not_="unreachable")
    with pytest.raises(AssertionError, match=r"UNEXPECTED  not \"processed\""):
        log.expect("invalid access", not_=["unreachable", "processed"])


def test_statistics_alone_are_told() -> None:
    log = parse_log("verification time 5 usec\nstack depth 0\nprocessed 2 insns (limit 1000000)\n", log_level=4)
    log.expect("processed {{[0-9]+}} insns")
    with pytest.raises(AssertionError, match="load with log_level=2"):
        log.expect("r0 = 0")


@pytest.mark.parametrize("wanted", [(7,), (None,), (["a"],), (absent(""),), ("a{{b",)])
def test_what_is_no_expectation(wanted: tuple[object, ...]) -> None:
    with pytest.raises(BpfUsageError):
        require(LOG, wanted)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a{{[[:digit:]]+}}z", "a123z", True),
        ("a{{[[:xdigit:]_]+}}z", "aF_9z", True),
        ("a{{[^[:space:]]+}}z", "a z", False),
        ("{{[^]]+}}]", "abc]", True),
        ("{{[]x]}}", "]", True),
        ("{{[\\]x]}}", "]", True),
        ("a{{(b|}}c{{)}}d", "abd", True),  # the kernel's parser joins holes
        ("a{{(b|}}c{{)}}d", "acd", True),
        ("x{{\\d}}{{[0-9]{2}}}", "x123", True),
        ("(u8 *)(r1 +{{.*}})", "(u8 *)(r1 +12)", True),
        ("a[1]", "a1", False),
        ("{{^b}}", "a\nb", True),
        ("{{a.b}}", "a\nb", False),
    ],
)
def test_patterns(pattern: str, text: str, matches: bool) -> None:
    assert bool(compile_pattern(pattern).search(text)) is matches


@pytest.mark.parametrize("pattern", ["{{[a}}", "{{(}}x", "{{a{2,1}}}", "{{*}}"])
def test_no_patterns(pattern: str) -> None:
    with pytest.raises(BpfUsageError, match="regular expression"):
        compile_pattern(pattern)
