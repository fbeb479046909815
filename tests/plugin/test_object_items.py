"""Object files with expectations are test files: what is collected, and what each outcome looks like."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from support.paths import TESTS

Objects = Callable[..., None]

TAGGED = TESTS / "objects" / "built"
SAMPLE = "verifier_expectations.bpf.o"


@pytest.fixture
def tagged(pytester: pytest.Pytester) -> Callable[[str], Path]:
    """Puts an object with strange expectations into the inner run's directory."""

    def put(name: str) -> Path:
        return Path(shutil.copy(TAGGED / f"{name}.bpf.o", pytester.path))

    return put


def test_one_item_per_program_and_kernel(pytester: pytest.Pytester, objects: Objects) -> None:
    """No kernel is needed to collect, nor a single line of Python."""
    objects("verifier_expectations")
    result = pytester.runpytest("--collect-only", "-q", "--bpf-kernels=5.10,7.2")
    nodes = [line for line in result.outlines if "::" in line]
    assert nodes == [
        f"{SAMPLE}::{name}[{kernel}]"
        for kernel in ("5.10", "7.2")
        for name in (
            "passes_short_packets",
            "reads_past_the_packet",
            "has_the_tai_clock" if kernel == "7.2" else "lacks_the_tai_clock",
            "drops_dead_code",
            "returns_an_address",
            "returns_an_address @unpriv",
        )
    ]


def test_the_next_run_finds_the_object_parsed(pytester: pytest.Pytester, objects: Objects) -> None:
    """And changes nothing in the cache folder."""
    objects("verifier_expectations")
    options = ("--collect-only", "-q", "--bpf-kernels=5.10", "--bpf-cache-dir=kept")
    first = pytester.runpytest(*options)
    (file,) = (pytester.path / "kept" / "loads").iterdir()
    made = file.stat()
    again = pytester.runpytest(*options)
    assert first.outlines[:-2] == again.outlines[:-2]
    assert [one.name for one in (pytester.path / "kept" / "loads").iterdir()] == [file.name]
    assert file.stat().st_mtime_ns == made.st_mtime_ns


def test_they_pass(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("verifier_expectations")
    result = pytester.runpytest("--bpf-kernels=host", "-k", "not unpriv", "-rs")
    result.assert_outcomes(passed=5, skipped=1)
    result.stdout.re_match_lines(
        [
            f"{SAMPLE} .*",
            r".*  passes_short_packets +✓ \d+",
            r".*  reads_past_the_packet +✓",
            r"SKIPPED .*verifier_expectations.bpf.c:\d+: for kernels <6.1, and this run has host",
        ]
    )


def test_other_objects_in_a_tree_do_nothing(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config", "reject_packet_bounds")
    (pytester.path / "text.bpf.o").write_text("comment:test_expect_success")
    (pytester.path / "empty.o").write_bytes(b"")
    (pytester.path / "nothing_in_here").mkdir()
    (pytester.path / "x86.o").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\1\0\x3e\0" + b"comment:test_retval=1")
    result = pytester.runpytest("--collect-only", "-q")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert not [line for line in result.outlines if "::" in line or "rror" in line]


def test_an_object_that_is_named_and_says_nothing(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config")
    result = pytester.runpytest("config.bpf.o")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["*config.bpf.o: no function has a test tag*--bpf-smoke=config.bpf.o*"])


@pytest.mark.parametrize("by", ["option", "ini"])
def test_smoke(pytester: pytest.Pytester, objects: Objects, by: str) -> None:
    """Objects without tags whose programs have to load, when they are named."""
    objects("config", "reject_packet_bounds", "exec_tracer")
    if by == "ini":
        pytester.makeini("[pytest]\nbpf_smoke = config.* reject_*")
    given = ["--bpf-smoke=config.*,reject_*"] if by == "option" else []
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-no-matrix", *given)
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] == 1
    assert outcomes["passed"] >= 1
    result.stdout.fnmatch_lines(
        ["reject_packet_bounds.bpf.c:*: unchecked_packet: expected to load, but rejected: *invalid access to packet*"]
    )
    result.stdout.no_fnmatch_line("*exec_tracer*")


def test_failures_say_what_was_there_instead(pytester: pytest.Pytester, tagged: Callable[[str], Path]) -> None:
    tagged("tags_wrong")
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-no-matrix")
    result.assert_outcomes(passed=1, failed=7)
    result.stdout.fnmatch_lines(
        [
            "tags_wrong.bpf.c:18: rejected_after_all: expected to load, but rejected: *invalid access to packet*",
            "*- verifier log: rejected_after_all -*",
            '*: accepted_after_all: expected to be rejected with "invalid access to packet", but the kernel loaded it',
            "*: for_another_reason: the verifier log is not what was expected (0 of 1 expectations met):",
            '  EXPECTED    "invalid access to packet, off=1 size=8"',
            "              nearest:",
            "              line *: invalid access to packet, off=0 size=1*",
            "*: unexpectedly_said: the verifier log is not what was expected (1 of 2 expectations met):",
            '  matched     "(71) r0 ="',
            '  UNEXPECTED  not "invalid access to packet"',
            "*: returns_two: expected to return 1, returned 2",
            "*: other_code: the rewritten program is not what was expected (1 of 2 expectations met):",
            '  EXPECTED    next line "{{[[]rw]}}0 = 3"',
            "              on that line there is:",
            "*- rewritten program: other_code -*",
            "FAILED tags_wrong.bpf.o::rejected_after_all[[]host] - tags_wrong.bpf.c:18: *",
        ]
    )


def test_a_conftest_fills_maps_before_the_run(pytester: pytest.Pytester, tagged: Callable[[str], Path]) -> None:
    tagged("tags_wrong")
    pytester.makeconftest(
        """
        def pytest_bpf_object_loaded(item, loaded):
            if item.name.startswith("answer_of_the_map["):
                loaded.maps["answers"][0] = 42
        """
    )
    result = pytester.runpytest("--bpf-kernels=host", "tags_wrong.bpf.o::answer_of_the_map")
    result.assert_outcomes(passed=1)


def test_tags_that_make_no_sense(pytester: pytest.Pytester, tagged: Callable[[str], Path]) -> None:
    """Each costs its own program, as an error that says what to write; what is not known is kept, and told."""
    tagged("tags_bad")
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-no-matrix")
    result.assert_outcomes(passed=2, errors=6, warnings=1)
    result.stdout.fnmatch_lines_random(
        [
            "no_program has test tags but is not a program of this object*",
            "*__msg: pattern 'off={{[[]0-9+}}': *is not a regular expression*",
            "*both __success and __failure: a program cannot do both",
            "*__retval wants a number*not 'two'",
            "*there is no 'BPF_F_STRICT_ALIGMENT'; did you mean BPF_F_STRICT_ALIGNMENT?",
            '*__kernel("6.1 and later"): write releases as in __kernel(">=5.15,<6.12")',
            "*unknown test tag 'comment:*:test_expect_warning=soon' is ignored",
        ]
    )


def test_an_object_that_cannot_be_read(pytester: pytest.Pytester, tagged: Callable[[str], Path]) -> None:
    path = tagged("tags_wrong")
    path.write_bytes(path.read_bytes()[:-200])
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*tags_wrong.bpf.o: the file is cut off*"])
    result.stdout.fnmatch_lines(["ERROR tags_wrong.bpf.o::object[[]host] - Failed: *"])


def test_an_object_that_came_to_nothing(pytester: pytest.Pytester) -> None:
    """An ELF header of eBPF, and the rest was never written."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\1\0\xf7\0"
    (pytester.path / "half.bpf.o").write_bytes(header)
    pytester.runpytest("--collect-only", "-q").stdout.no_fnmatch_line("*::*")
    result = pytester.runpytest("half.bpf.o", "--bpf-kernels=host")
    result.assert_outcomes(errors=1)


def test_no_kernel_is_an_error_of_each_item(
    pytester: pytest.Pytester, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects("verifier_expectations")
    result = pytester.runpytest("--bpf-kernels=no/such/kernel")
    assert result.ret == 6  # the infrastructure alone
    assert result.parseoutcomes()["errors"] >= 6


def test_nodes_can_be_chosen(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("verifier_expectations")
    for given in (
        [f"{SAMPLE}::drops_dead_code[host]"],
        [f"{SAMPLE}::drops_dead_code"],
        ["-k", "dead_code"],
        ["-k", "everybody and not unpriv"],
    ):
        pytester.runpytest("--bpf-kernels=host", *given).assert_outcomes(
            passed=1, deselected=0 if "::" in given[0] else 6
        )


def test_junit_and_verbose_lines_have_the_place_in_c(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("verifier_expectations")
    result = pytester.runpytest("--bpf-kernels=host", "-vv", "--junitxml=out.xml", "-o", "junit_family=xunit1")
    result.stdout.fnmatch_lines([f"{SAMPLE}::passes_short_packets[[]host] <- verifier_expectations.bpf.c PASSED*"])
    cases = {case.get("name"): case for case in ElementTree.parse(pytester.path / "out.xml").iter("testcase")}
    assert cases["drops_dead_code[host]"].get("file") == "verifier_expectations.bpf.c"
    assert int(cases["drops_dead_code[host]"].get("line") or 0) > 30
    assert cases["lacks_the_tai_clock[host]"].find("skipped") is not None


def test_workers_share_the_items(pytester: pytest.Pytester, objects: Objects) -> None:
    pytest.importorskip("xdist")
    objects("verifier_expectations")
    result = pytester.runpytest_subprocess("--bpf-kernels=host", "-n2", "--dist=loadgroup", "-k", "not unpriv")
    result.assert_outcomes(passed=5, skipped=1)


def test_the_unprivileged_load_is_skipped_where_there_is_none(pytester: pytest.Pytester, objects: Objects) -> None:
    """It passes, or the kernel lets nobody do it: then the reason is the sysctl."""
    objects("verifier_expectations")
    allowed = Path("/proc/sys/kernel/unprivileged_bpf_disabled").read_text().strip() == "0"
    result = pytester.runpytest("--bpf-kernels=host", "-k", "unpriv", "-rs")
    result.assert_outcomes(passed=int(allowed), skipped=int(not allowed), deselected=6)
    if not allowed:
        result.stdout.fnmatch_lines(["SKIPPED*unprivileged users load no programs*"])


@pytest.mark.slow
def test_guests(pytester: pytest.Pytester, objects: Objects, tagged: Callable[[str], Path]) -> None:
    """A guest lets the unprivileged load, and is put back; a newer one has streams. Each has its own items."""
    objects("verifier_expectations")
    tagged("tags_streams")
    pytester.makepyfile(
        test_after="""
        def test_the_switch_is_back(bpf_vm):
            assert bpf_vm.read_file("/proc/sys/kernel/unprivileged_bpf_disabled").strip() == b"2"
        """
    )
    result = pytester.runpytest_subprocess("--bpf-kernels=6.1,7.2", "-v")
    result.stdout.fnmatch_lines_random(
        [
            "*returns_an_address @unpriv[[]6.1] PASSED*",
            "*has_the_tai_clock[[]7.2] PASSED*",
            "*spins_until_stopped[[]7.2] PASSED*",
            "*says_nothing[[]7.2] FAILED*",
            "*says_nothing: the stream 1 (output) is not what was expected (0 of 1 expectations met):",
            "*test_the_switch_is_back[[]6.1] PASSED*",
            "*test_the_switch_is_back[[]7.2] PASSED*",
        ]
    )
    result.assert_outcomes(passed=15, failed=1, skipped=1)  # no kernel here is old enough for one program
