"""pytest's JUnit file with properties of kernels; shards; ``pytest-ebpf merge``: one file and one matrix of all."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from pytest_ebpf.cli.runs.merge import merge
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.fixtures.runs.shard import stretch
from pytest_ebpf.report.junit import Case, Merged, render_junit

TESTS = """
    import pytest
    def test_plain(): pass
    def test_passes(bpf): bpf.load("config.bpf.o")
    def test_fails(bpf_kernel): assert 0, "what & <why>"
    def test_is_skipped(bpf_kernel): pytest.skip("because")
    @pytest.mark.xfail(reason="known")
    def test_is_expected(bpf_kernel): assert 0
    @pytest.fixture
    def broken(bpf_kernel): yield; 1 / 0
    def test_errs(broken): pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, objects: object) -> pytest.Pytester:
    objects("config")  # type: ignore[operator]  # a fixture that is a function
    pytester.makepyfile(test_suite=TESTS)
    return pytester


def junit(pytester: pytest.Pytester, *options: str, name: str = "one.xml") -> Path:
    pytester.runpytest("--bpf-kernels=host", f"--junitxml={name}", *options)
    return Path(pytester.path, name)


def properties(element: ElementTree.Element) -> dict[str, str]:
    found = element.findall("properties/property")
    assert len({one.get("name") for one in found}) == len(found)
    return {one.get("name", ""): one.get("value", "") for one in found}


def cases(path: Path) -> dict[str, dict[str, str]]:
    return {one.get("name", ""): properties(one) for one in ElementTree.parse(path).iter("testcase")}


def test_each_case_says_its_kernel_outcome_and_instructions(suite: pytest.Pytester) -> None:
    path = junit(suite)
    found = cases(path)
    assert found["test_plain"] == {}
    passed = found["test_passes[host]"]
    assert passed["bpf.kernel"] == "host"
    assert passed["bpf.release"]
    assert passed["bpf.accelerator"].startswith("this machine")
    assert passed["bpf.outcome"] == passed["bpf.result"] == "passed"
    assert int(passed["bpf.insns.police"]) > 0
    assert passed["bpf.verdict.police"] == "success"
    failed = found["test_fails[host]"]
    assert (failed["bpf.outcome"], failed["bpf.fault"], failed["bpf.error"]) == ("failed", "test", "AssertionError")
    assert found["test_is_skipped[host]"]["bpf.reason"] == "because"
    assert "bpf.outcome" not in found["test_is_skipped[host]"]
    assert found["test_is_expected[host]"]["bpf.result"] == "xfailed"
    assert found["test_errs[host]"]["bpf.result"] == "error"
    assert found["test_errs[host]"]["bpf.error"] == "ZeroDivisionError"
    (one,) = ElementTree.parse(path).iter("testsuite")
    assert properties(one)["bpf.kernels"] == "host"


def test_they_are_the_same_under_xdist(suite: pytest.Pytester) -> None:
    alone, spread = cases(junit(suite)), cases(junit(suite, "-n1", name="two.xml"))
    assert spread == alone


def run_merge(*files: Path, to: Path) -> Result:
    return CliRunner().invoke(merge, [*map(str, files), "-o", str(to)], catch_exceptions=False)


def shards(pytester: pytest.Pytester, of: int) -> list[Path]:
    return [junit(pytester, f"--bpf-shard={i}/{of}", name=f"shard-{i}.xml") for i in range(1, of + 1)]


def test_five_shards_give_the_file_and_the_matrix_of_one_run(suite: pytest.Pytester) -> None:
    whole = junit(suite)
    joined, again = suite.path / "joined.xml", suite.path / "again.xml"
    five = run_merge(*shards(suite, 5), to=joined)
    one = run_merge(whole, to=again)
    assert (five.exit_code, five.stderr) == (0, "")
    assert five.stdout == one.stdout
    assert "test_suite.py" in five.stdout
    found = {suite.get("name"): suite for suite in ElementTree.parse(joined).iter("testsuite")}
    assert set(found) == {"host", "without a kernel"}
    assert properties(found["host"])["bpf.kernel"] == "host"
    outputs = {case.get("name"): case.findtext("system-out") or "" for case in found["host"].iter("testcase")}
    assert len(outputs) == 5
    assert "bpf.outcome: passed" in outputs["test_passes[host]"]
    failure = found["host"].find("testcase[@name='test_fails[host]']/failure")
    assert failure is not None
    assert "what & <why>" in failure.get("message", "")
    counts = {
        name: (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped"))
        for name, suite in found.items()
    }
    assert counts == {"host": ("5", "1", "1", "2"), "without a kernel": ("1", "0", "0", "0")}


# junit-10.xsd of Jenkins' xUnit plugin, the narrowest of those in use: an element's attributes, those it must have, and
# what may be in it. GitLab reads name, classname, time and file of a case, and what is in the case.
SCHEMA: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package", "file"},
        {"name", "tests", "failures", "errors"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, {"name", "value"}, set()),
    "testcase": (
        {"name", "classname", "time", "group"},
        {"name"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    **{name: ({"type", "message"}, set(), set()) for name in ("skipped", "error", "failure")},
    "system-out": (set(), set(), set()),
}
SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")


def assert_valid(element: ElementTree.Element) -> None:
    """By the schema, down to the last element."""
    allowed, required, inside = SCHEMA[element.tag]
    assert required <= set(element.attrib) <= allowed, f"{element.tag}: {element.attrib}"
    assert "time" not in element.attrib or SECONDS.fullmatch(element.attrib["time"])
    for child in element:
        assert child.tag in inside, f"{child.tag} in {element.tag}"
        assert_valid(child)


def test_a_joined_file_is_valid_by_the_schema_of_jenkins(suite: pytest.Pytester) -> None:
    joined = suite.path / "joined.xml"
    run_merge(junit(suite), to=joined)
    root = ElementTree.parse(joined).getroot()
    assert root.tag == "testsuites"
    assert_valid(root)
    for case in root.iter("testcase"):
        assert len([child for child in case if child.tag in ("skipped", "error", "failure")]) <= 1


def test_a_test_of_microseconds_has_a_time_that_jenkins_reads() -> None:
    case = Case("test_it", "test_quick", 0.00005, "", "", "", "", {}, None)
    root = ElementTree.fromstring(render_junit(Merged((case,), (), ())))
    assert_valid(root)
    assert root.get("time") == "0.000050"


@pytest.mark.parametrize("content", ["", "<testsuite", "<html/>", "<testsuites><testsuite/></testsuites>"])
def test_a_damaged_or_foreign_file_is_one_clear_error(suite: pytest.Pytester, content: str) -> None:
    bad = suite.path / "bad.xml"
    bad.write_text(content)
    with pytest.raises(BpfUsageError, match=r"bad\.xml: (no XML|no JUnit file|a JUnit file without kernels)"):
        run_merge(bad, to=suite.path / "joined.xml")
    assert not (suite.path / "joined.xml").exists()


def test_shards_one_after_the_other_in_one_folder_have_each_test_once(pytester: pytest.Pytester) -> None:
    """What the first took does not move the border of the second, though it is slow beyond measure."""
    pytester.makepyfile(
        """
        import time, pytest
        @pytest.mark.parametrize("n", range(8))
        def test_a(bpf_kernel, n):
            time.sleep(0.3 if n < 2 else 0)
        """
    )
    results = [pytester.runpytest("--bpf-kernels=host", f"--bpf-shard={i}/4") for i in range(1, 5)]
    assert [result.parseoutcomes()["passed"] for result in results] == [2, 2, 2, 2]
    pytester.runpytest("--bpf-kernels=host")  # a whole run is remembered
    results = [pytester.runpytest("--bpf-kernels=host", f"--bpf-shard={i}/4") for i in range(1, 5)]
    counts = [result.parseoutcomes().get("passed", 0) for result in results]
    assert counts[0] == 1
    assert sum(counts) == 8


def test_shards_that_were_split_by_other_times_are_of_different_runs(suite: pytest.Pytester) -> None:
    first = junit(suite, "--bpf-shard=1/2", name="first.xml")
    junit(suite, name="whole.xml")  # its times are remembered
    second = junit(suite, "--bpf-shard=2/2", name="second.xml")
    with pytest.raises(BpfUsageError, match="shards of different runs") as refused:
        run_merge(first, second, to=suite.path / "joined.xml")
    assert "the same pytest cache" in str(refused.value.hint)


def test_missing_mixed_and_repeated_shards_are_one_clear_error_each(suite: pytest.Pytester) -> None:
    first, second, third = shards(suite, 3)
    to = suite.path / "joined.xml"
    with pytest.raises(BpfUsageError, match="missing shards: 2/3"):
        run_merge(first, third, to=to)
    with pytest.raises(BpfUsageError, match="shard 1/3 is there more than once"):
        run_merge(first, second, third, first, to=to)
    with pytest.raises(BpfUsageError, match="whole run"):
        run_merge(first, junit(suite), second, third, to=to)
    other = junit(suite, "--bpf-shard=2/3", "--deselect=test_suite.py::test_errs", name="other.xml")
    with pytest.raises(BpfUsageError, match="shards of different runs"):
        run_merge(first, other, third, to=to)


def test_tests_that_two_runs_have_are_told_and_the_last_counts(suite: pytest.Pytester) -> None:
    first = junit(suite)
    suite.makepyfile(test_suite=TESTS.replace('assert 0, "what', 'assert 1, "what'))
    result = run_merge(first, junit(suite, name="two.xml"), to=suite.path / "joined.xml")
    assert "note: 6 tests are in several files" in result.stderr
    assert 'name="host" skipped="2"' in (suite.path / "joined.xml").read_text()
    assert "✗ 1" not in result.stdout


@pytest.mark.parametrize("of", [1, 2, 5, 9])
def test_each_test_is_in_one_shard_and_shards_are_alike(of: int) -> None:
    names = [str(number) for number in range(40)]
    known = {name: 1.0 + int(name) % 3 for name in names[:30]}
    parts = [stretch(names, known=known, number=number, of=of) for number in range(1, of + 1)]
    assert parts[0][0] == 0
    assert parts[-1][1] == 40
    assert all(first[1] == second[0] for first, second in pairwise(parts))
    took = [sum(known.get(name, 2.0) for name in names[first:last]) for first, last in parts]
    assert max(took) - min(took) <= 6


def test_more_shards_than_tests() -> None:
    parts = [stretch(["a", "b"], known={}, number=number, of=5) for number in range(1, 6)]
    assert sorted(place for first, last in parts for place in range(first, last)) == [0, 1]


def test_a_shard_without_tests_is_no_failure(suite: pytest.Pytester) -> None:
    codes = [suite.runpytest("--bpf-kernels=host", f"--bpf-shard={i}/9", "-k", "passes").ret for i in range(1, 10)]
    assert codes == [0] * 9


def test_a_shard_that_is_none_is_a_usage_error(suite: pytest.Pytester) -> None:
    for text in ("6/5", "0/5", "x", "1/0"):
        result = suite.runpytest("--bpf-kernels=host", f"--bpf-shard={text}")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*--bpf-shard={text}: expected a number and how many there are, such as 2/5*"])
