from __future__ import annotations

import pytest

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.verifier.log.expect import Match, Miss, absent, check_log, compile_pattern, expected, match, require
from pytest_ebpf.verifier.verifier_log import parse_log

LOG = "0: (95) exit\nR0 !read_ok\ninvalid access to packet, off=12 size=2, R1(id=0,off=12,r=0)\nprocessed 1 insns\n"


def test_literal_text_is_literal() -> None:
    assert match(LOG, "R1(id=0,off=12,r=0)") == Match(LOG.splitlines()[2], 3, "R1(id=0,off=12,r=0)")
    assert isinstance(match("RxZ", "R.Z"), Miss)


def test_holes_are_regular_expressions() -> None:
    found = match(LOG, "off={{[0-9]+}} size={{[248]}},")
    assert isinstance(found, Match)
    assert found.matched == "off=12 size=2,"


def test_a_hole_may_end_in_a_quantifier() -> None:
    assert compile_pattern("a{{[0-9]{2}}}b").fullmatch("a42b")
    assert not compile_pattern("a{{[0-9]{2}}}b").fullmatch("a4b")


def test_alternatives_stay_inside_their_hole() -> None:
    assert not compile_pattern("R{{0|1}} bad").fullmatch("R0")
    assert compile_pattern("R{{0|1}} bad").fullmatch("R1 bad")


def test_the_last_place_wins() -> None:
    found = match("R1 bad\nR2 fine\nR3 bad\n", "R{{\\d}} bad")
    assert isinstance(found, Match)
    assert (found.line, found.number) == ("R3 bad", 3)


def test_a_hole_does_not_run_over_the_end_of_a_line() -> None:
    assert isinstance(match("a\nb\n", "a{{[^x]*}}b"), Miss)
    assert isinstance(match("a\nb\n", "a\nb"), Match)


def test_found_far_before_the_end() -> None:
    log = "the needle\n" + "7: (07) r1 += 1\n" * 20000
    found = match(log, "needle")
    assert isinstance(found, Match)
    assert found.number == 1


def test_a_miss_says_what_is_there_instead() -> None:
    found = match(LOG, "invalid access to map value, off={{[0-9]+}}")
    assert isinstance(found, Miss)
    assert found.instead[0].startswith("invalid access to packet")
    assert "R0 !read_ok" in str(found)
    assert "(95) exit" not in str(found)


def test_a_miss_in_a_log_without_messages() -> None:
    assert "no message" in str(match("0: (95) exit\nprocessed 1 insns\n", "zebra"))


@pytest.mark.parametrize(
    ("pattern", "words"), [("off={{[0-9+}}", "not a regular expression"), ("a{{b", "never closed")]
)
def test_a_bad_pattern_is_a_usage_error(pattern: str, words: str) -> None:
    with pytest.raises(BpfUsageError, match=words):
        match(LOG, pattern)


QUOTING = """0: R1=ctx() R10=fp0
; int f(void *ctx) __failure __msg("R0 !read_ok") @ f.bpf.c:9
0: (95) exit    ; __msg("R0 !read_ok") @ f.bpf.c:9
  >>> 9 | SEC("xdp") __msg("R0 !read_ok") int f(void *ctx)
"""


def test_13_a_quoted_expectation_does_not_meet_itself() -> None:
    checked = check_log(QUOTING, expected(["R0 !read_ok"]))
    assert not checked.ok
    assert "only quotes the source line" in str(checked)
    assert "line 2: ; int f(void *ctx)" in str(checked)
    assert check_log(QUOTING + "R0 !read_ok\n", expected(["R0 !read_ok"])).ok
    assert check_log(QUOTING, expected(['; int f(void *ctx) __failure __msg("R0', "0: (95) exit"])).ok
    assert check_log(QUOTING, expected([absent("!read_ok")])).ok
    assert not check_log(QUOTING, expected(["{{.*}}!read_ok"])).ok
    assert require(QUOTING, ["exit"], not_="!read_ok").ok


def test_13_nor_does_a_text_that_is_looked_for() -> None:
    assert isinstance(match(QUOTING, "R0 !read_ok"), Miss)
    assert isinstance(match(QUOTING, "R0 !read_ok\n"), Miss)
    assert isinstance(match(QUOTING, '; int f(void *ctx) __failure __msg("R0'), Match)
    found = match(QUOTING + "R0 !read_ok\n", "R0 !read_ok")
    assert isinstance(found, Match)
    assert found.line == "R0 !read_ok"
    assert not parse_log(QUOTING).has("R0 !read_ok")
