"""The output of test programs of other languages, as they really print it."""

from __future__ import annotations

import pytest

from pytest_ebpf.suites.case import Case, program_name
from pytest_ebpf.suites.golang import parse_go, parse_go_json
from pytest_ebpf.suites.libtest import parse_libtest, parse_libtest_json, parse_libtest_list
from pytest_ebpf.suites.read import add_unfinished, detect_format, read_suite
from pytest_ebpf.suites.tap import parse_tap

LIBTEST = """
running 5 tests
test tests::adds ... ok
test tests::later ... ignored, needs Linux 6.6
test tests::panics - should panic ... ok
test tests::slow ... ok <0.250s>
test tests::subtracts ... FAILED

failures:

---- tests::subtracts stdout ----

thread 'tests::subtracts' panicked at src/lib.rs:14:9:
assertion `left == right` failed
  left: 1
 right: 2
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    tests::subtracts

test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.25s
"""
LIBTEST_JSON = """\
{ "type": "suite", "event": "started", "test_count": 3 }
{ "type": "test", "event": "started", "name": "adds" }
{ "type": "test", "name": "adds", "event": "ok", "exec_time": 0.5 }
{ "type": "test", "event": "started", "name": "breaks" }
{ "type": "test", "name": "breaks", "event": "failed", "stdout": "thread panicked\\n" }
{ "type": "test", "event": "started", "name": "hangs" }
"""
GO = """\
=== RUN   TestAdd
--- PASS: TestAdd (0.00s)
=== RUN   TestTable
=== RUN   TestTable/one
=== RUN   TestTable/two
    a_test.go:12: got 1, want 2
--- FAIL: TestTable (0.01s)
    --- PASS: TestTable/one (0.00s)
    --- FAIL: TestTable/two (0.01s)
=== RUN   TestSkipped
    a_test.go:20: needs Linux 6.6
--- SKIP: TestSkipped (0.00s)
=== RUN   TestPanics
panic: no such map

goroutine 7 [running]:
"""
GO_JSON = """\
{"Time":"2026-11-30T17:00:00Z","Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestAdd"}
{"Action":"output","Package":"p","Test":"TestAdd","Output":"=== RUN   TestAdd\\n"}
{"Action":"output","Package":"p","Test":"TestAdd","Output":"    a_test.go:3: wrong\\n"}
{"Action":"output","Package":"p","Test":"TestAdd","Output":"--- FAIL: TestAdd (0.10s)\\n"}
{"Action":"fail","Package":"p","Test":"TestAdd","Elapsed":0.1}
{"Action":"fail","Package":"p","Elapsed":0.2}
"""
TAP = """\
TAP version 14
1..6
ok 1 - loads
not ok 2 - attaches
  ---
  message: 'EINVAL'
  ...
ok 3 # SKIP needs Linux 6.6
not ok 4 - later # TODO not written
# Subtest: maps
    1..2
    ok 1 - hash
    not ok 2 - array
not ok 5 - maps
"""


def names(cases: list[Case]) -> list[tuple[str, str]]:
    return [(case.name, case.outcome) for case in cases]


def test_libtest_text() -> None:
    cases = parse_libtest(LIBTEST)
    assert names(cases) == [
        ("tests::adds", "passed"),
        ("tests::later", "skipped"),
        ("tests::panics", "passed"),
        ("tests::slow", "passed"),
        ("tests::subtracts", "failed"),
    ]
    assert cases[1].message == "needs Linux 6.6"
    assert cases[3].seconds == 0.25
    assert cases[4].message.startswith("thread 'tests::subtracts' panicked at src/lib.rs:14:9:")


def test_output_between_a_name_and_its_result() -> None:
    text = "running 2 tests\ntest noisy ... hello\nand more\nok\ntest last ... "
    assert names(parse_libtest(text)) == [("noisy", "passed"), ("last", "failed")]


def test_libtest_json() -> None:
    cases = parse_libtest_json(LIBTEST_JSON)
    assert names(cases) == [("adds", "passed"), ("breaks", "failed"), ("hangs", "failed")]
    assert (cases[0].seconds, cases[1].message, cases[2].message) == (0.5, "thread panicked", "it did not end")


def test_go_text() -> None:
    cases = {case.name: case for case in parse_go(GO)}
    assert names(list(cases.values())) == [
        ("TestAdd", "passed"),
        ("TestTable", "failed"),
        ("TestTable/one", "passed"),
        ("TestTable/two", "failed"),
        ("TestSkipped", "skipped"),
        ("TestPanics", "failed"),
    ]
    assert cases["TestTable/two"].message == "a_test.go:12: got 1, want 2"
    assert "panic: no such map" in cases["TestPanics"].message


def test_go_json() -> None:
    assert parse_go_json(GO_JSON) == [Case("TestAdd", "failed", "a_test.go:3: wrong", 0.1)]
    two = GO_JSON + GO_JSON.replace('"Package":"p"', '"Package":"q"')
    assert [case.name for case in parse_go_json(two)] == ["p.TestAdd", "q.TestAdd"]


def test_tap() -> None:
    cases = parse_tap(TAP)
    assert names(cases) == [
        ("loads", "passed"),
        ("attaches", "failed"),
        ("test 3", "skipped"),
        ("later", "skipped"),
        ("maps/hash", "passed"),
        ("maps/array", "failed"),
        ("maps", "failed"),
        ("test 6", "failed"),
    ]
    assert cases[2].message == "needs Linux 6.6"
    assert cases[-1].message == "the plan has it, and it never came"


def test_kselftest() -> None:
    text = "TAP version 13\n1..1\n# ok 1 first\n# not ok 2 second\nnot ok 1 selftests: bpf: test_x # exit=1\n"
    assert names(parse_tap(text)) == [
        ("selftests: bpf: test_x/first", "passed"),
        ("selftests: bpf: test_x/second", "failed"),
        ("selftests: bpf: test_x", "failed"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1..0 # SKIP no BTF here\n", [Case("all", "skipped", "no BTF here")]),
        ("1..2\nok 1 - a\nBail out! no root\n", [Case("a", "passed"), Case("test 2", "failed", "Bail out! no root")]),
        ("ok 1 - a\nBail out!\n", [Case("a", "passed"), Case("all", "failed", "Bail out! no reason given")]),
    ],
)
def test_tap_that_ends_early(text: str, expected: list[Case]) -> None:
    assert parse_tap(text) == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [(LIBTEST, "libtest"), (LIBTEST_JSON, "libtest"), (GO, "go"), (GO_JSON, "go"), (TAP, "tap"), ("hello", "")],
)
def test_the_format_is_seen(text: str, found: str) -> None:
    assert detect_format(text) == found


def test_a_hang_and_a_crash_are_told_apart_and_cost_one_test() -> None:
    text = "running 2 tests\ntest first ... ok\ntest second ... "
    hung = read_suite(["./suite"], stdout=text, hung=30, status=-9)
    crashed = read_suite(["./suite"], stdout=text, status=-11)
    assert names(list(hung.cases)) == names(list(crashed.cases)) == [("first", "passed"), ("second", "failed")]
    assert hung["second"].message == "it hung: killed after 30 s"
    assert crashed["second"].message == "it crashed: SIGSEGV"


def test_a_program_without_results_is_one_test() -> None:
    assert read_suite(["./smoke"], stdout="").cases == (Case("smoke", "passed"),)
    assert read_suite(["./smoke"], stdout="", stderr="no", status=1).cases == (Case("smoke", "failed", "no"),)
    assert read_suite(["./smoke"], stdout="", status=4).cases[0].outcome == "skipped"
    assert read_suite(["./smoke"], stdout="x", status=-6).cases == (Case("smoke", "failed", "it crashed: SIGABRT\nx"),)


def test_a_status_that_no_test_explains_is_a_failure() -> None:
    run = read_suite(["./suite"], stdout="1..1\nok 1 - a\n", status=3)
    assert names(list(run.cases)) == [("a", "passed"), ("suite", "failed")]
    with pytest.raises(AssertionError, match=r"1 of 2 tests of \./suite failed\n  suite\n    every test passed"):
        run.check()


def test_an_unknown_name_shows_those_that_are_there() -> None:
    with pytest.raises(KeyError, match="there are a, b"):
        read_suite(["./suite"], stdout="1..2\nok 1 a\nok 2 b\n")["c"]


# -- as cargo runs its binaries: a thread per processor, a name once its test is done

BINARY = ["target/debug/deps/guard-0905a3d7418e1684", "--quiet"]


def test_a_program_has_the_name_that_its_next_build_has_too() -> None:
    assert program_name(BINARY) == "guard"
    assert program_name(["./my-tool"]) == "my-tool"
    assert program_name(["add-1234567890abcdeg"]) == "add-1234567890abcdeg"


def test_a_program_without_tests_is_none() -> None:
    assert read_suite(BINARY, stdout="\nrunning 0 tests\n\ntest result: ok. 0 passed\n").cases == ()
    assert read_suite(BINARY, stdout='{ "type": "suite", "event": "started", "test_count": 0 }').cases == ()
    assert read_suite(["t.test", "-test.v"], stdout="testing: warning: no tests to run\nPASS\n").cases == ()
    assert names(list(read_suite(["./t"], stdout="1..0 # SKIP not here\n").cases)) == [("all", "skipped")]
    assert names(list(read_suite(BINARY, stdout="running 0 tests\n", status=1).cases)) == [("guard", "failed")]


def test_the_tests_that_a_crash_left_without_a_result() -> None:
    listed = parse_libtest_list("one: test\ntwo: test\nthree: test\nquick: benchmark\n\n3 tests, 1 benchmark\n")
    assert listed == ["one", "two", "three"]
    crashed = read_suite(BINARY, stdout="running 3 tests\ntest two ... ok\n", status=-6)
    run = add_unfinished(crashed, listed)
    assert names(list(run.cases)) == [("two", "passed"), ("one", "failed"), ("three", "failed")]
    assert run["one"].message.startswith("it crashed: SIGABRT; 2 tests had no result yet, --test-threads=1 tells which")
    (whole,) = read_suite(BINARY, stdout="running 3 tests\n", status=-6).cases
    assert (whole.name, add_unfinished(crashed, []).cases) == ("guard", crashed.cases)


def test_one_without_a_result_is_to_blame() -> None:
    hung = read_suite(BINARY, stdout="running 2 tests\ntest two ... ok\n", hung=3)
    assert add_unfinished(hung, ["one", "two"])["one"].message.startswith("it hung: killed after 3 s\nrunning 2 tests")
    single = read_suite(BINARY, stdout="running 3 tests\ntest a ... ok\ntest b ... ", hung=3)
    run = add_unfinished(single, ["a", "b", "c"])
    assert [case.message for case in run.cases] == [
        "",
        "it hung: killed after 3 s",
        "not run: it hung: killed after 3 s",
    ]
    assert add_unfinished(read_suite(BINARY, stdout="running 1 test\ntest a ... ok\n"), ["a", "b"]).cases[1:] == ()


def test_a_panic_of_go_is_the_end_of_its_test() -> None:
    run = read_suite(["./p.test"], stdout=GO, stderr="panic: no such map\n\ngoroutine 7 [running]:\n", status=2)
    assert run["TestPanics"].message.startswith("it did not end: the program ended with status 2; it printed:\npanic")
    signal = read_suite(
        ["./p.test"], stdout="=== RUN   TestA\n", stderr="SIGSEGV: segmentation violation\nPC=0x1\n", status=2
    )
    assert (
        signal["TestA"].message
        == "it did not end: the program ended with status 2\nSIGSEGV: segmentation violation\nPC=0x1"
    )


def test_the_verdict_of_a_go_binary_is_not_of_its_last_test() -> None:
    text = "=== RUN   TestA\n    a_test.go:5: needs a card\n--- SKIP: TestA (0.00s)\nFAIL\n"
    assert parse_go(text)[0].message == "a_test.go:5: needs a card"
