"""The reports that a run writes: JSON, Markdown, HTML, history, and what GitHub Actions reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from pytest_ebpf.report.document import schema_text

Objects = Callable[..., None]
SUITE = """
    import pytest
    def test_passes(bpf):
        assert bpf.load("config.bpf.o")["police"].run(bytes(100)).retval == 2
    def test_rejected(bpf):
        bpf.load("reject_packet_bounds.bpf.o")
    def test_differs(bpf):
        obj = bpf.load("map_kinds.bpf.o")
        obj["account"].run(bytes(12) + b"\\x88\\xb5" + bytes(50))
        assert obj.maps["last_seen"] == {(bytes([1] * 6),): 1}
    @pytest.mark.bpf_feature("kfunc:no_such_kfunc")
    def test_skipped(bpf): pass
    @pytest.mark.xfail
    def test_xfails(bpf): assert 0
"""


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def by_name(pytester: pytest.Pytester) -> dict[str, Any]:
    document = json.loads((pytester.path / "run.json").read_text())
    jsonschema.validate(document, json.loads(schema_text()))
    return {result["test"].partition("::")[2]: result for result in document["results"]}


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one", "xdist"])
def test_json_has_every_test_with_its_failure(
    pytester: pytest.Pytester, objects: Objects, workers: tuple[str, ...]
) -> None:
    objects("config", "reject_packet_bounds", "map_kinds")
    pytester.makepyfile(test_shop=SUITE)
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-json=run.json", *workers)
    result.assert_outcomes(passed=1, failed=2, skipped=1, xfailed=1)
    found = by_name(pytester)
    assert {name: one["kind"] for name, one in found.items()} == {
        "test_passes": "passed",
        "test_rejected": "rejected",
        "test_differs": "map-diff",
        "test_skipped": "missing-feature",
        "test_xfails": "failed",
    }
    rejected = found["test_rejected"]["failure"]
    assert rejected["source"] == {
        "file": "reject_packet_bounds.bpf.c",
        "line": 10,
        "text": "return eth->h_proto == bpf_htons(ETH_P_IP) ? XDP_PASS : XDP_DROP;",
    }
    assert rejected["headline"].startswith("rejected: unchecked_packet at reject_packet_bounds.bpf.c:10: 1 byte at ")
    assert " -> Compare with data_end" in rejected["headline"]
    titles = [section["title"] for section in rejected["sections"]]
    assert titles == ["why unchecked_packet was rejected", "verifier log: unchecked_packet", "test"]
    assert rejected["repeat"] == "pytest 'test_shop.py::test_rejected[host]' --bpf-kernels=host"
    assert "is missing, expected 1" in found["test_differs"]["failure"]["sections"][0]["text"]
    assert "failure" not in found["test_passes"]
    assert found["test_passes"]["seconds"] > 0
    assert found["test_passes"]["programs"][0]["row"]["file_name"] == "config.bpf.o"


def test_the_line_to_repeat_a_failure_repeats_it(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("reject_packet_bounds")
    pytester.makepyfile(
        test_shop="import pytest\n@pytest.mark.parametrize('n', ['a b', 'c'])\n"
        "def test_x(bpf, n): bpf.load('reject_packet_bounds.bpf.o')"
    )
    pytester.runpytest("--bpf-kernels=host", "--bpf-json=run.json").assert_outcomes(failed=2)
    import shlex

    argv = shlex.split(by_name(pytester)["test_x[a b]"]["failure"]["repeat"])
    pytester.runpytest(*argv[1:]).assert_outcomes(failed=1)


def test_the_order_of_a_failure_on_the_terminal(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("reject_packet_bounds")
    pytester.makepyfile("def test_a(bpf):\n    print('words')\n    bpf.load('reject_packet_bounds.bpf.o')")
    result = pytester.runpytest("--bpf-kernels=host")
    titles = re.findall(r"^-{3,} (.*?) -{3,}$", result.stdout.str(), re.MULTILINE)
    assert titles == [
        "what broke",
        "why unchecked_packet was rejected",
        "verifier log: unchecked_packet",
        "Captured stdout call",
        "repeat",
    ]
    result.stdout.no_fnmatch_line("*::group::*")


def test_an_explanation_is_printed_once(pytester: pytest.Pytester, objects: Objects) -> None:
    """Where a fixture loads a program that is rejected, all tests fail for one reason; the files have it for each."""
    objects("reject_packet_bounds")
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture
        def obj(bpf): return bpf.load("reject_packet_bounds.bpf.o")
        def test_a(obj): pass
        def test_b(obj): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-json=run.json")
    result.assert_outcomes(errors=2)
    assert result.stdout.str().count("  how it happened\n") == 1
    result.stdout.fnmatch_lines(["*--- why unchecked_packet was rejected ---*", "the same as of test_a[[]host[]]"])
    for failure in (one["failure"] for one in by_name(pytester).values()):
        assert "how it happened" in failure["sections"][0]["text"]


def test_github_actions_without_a_flag(
    pytester: pytest.Pytester, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error at the line of the eBPF source, logs in groups, and a summary of the step that others added to."""
    objects("config", "reject_packet_bounds", "map_kinds")
    source = pytester.mkdir("src") / "reject_packet_bounds.bpf.c"
    source.write_text("// the source\n")
    summary = pytester.path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    pytester.makepyfile(test_shop=SUITE)
    pytester.makeini("[pytest]\nbpf_object_dirs = src")
    result = pytester.runpytest("--bpf-kernels=host")
    result.stdout.fnmatch_lines(["::error file=src/reject_packet_bounds.bpf.c,line=10,title=test_rejected on host::*"])
    result.stdout.fnmatch_lines(["::error file=test_shop.py,line=*,title=test_differs on host::map-diff: *"])
    result.stdout.fnmatch_lines(["::group::verifier log: unchecked_packet", "*processed*", "::endgroup::"])
    result.stdout.no_fnmatch_line("::*test_xfails*")
    text = summary.read_text()
    assert text.startswith("before\n## eBPF matrix\n")
    assert "| `test_shop.py::test_rejected` | ❌ rejected |" in text


def test_html_markdown_and_history(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config", "reject_packet_bounds", "map_kinds")
    pytester.makepyfile(test_shop=SUITE)
    options = ("--bpf-kernels=host", "--bpf-report=out/html", "--bpf-markdown=run.md", "--bpf-history=runs.jsonl")
    pytester.runpytest(*options)
    pytester.runpytest(*options)
    page = (pytester.path / "out/html/index.html").read_text()
    assert "in 2 runs" in page
    assert 'data-place="config.bpf.c:' in page, "source lines with their cost"
    assert (pytester.path / "run.md").read_text().startswith("## eBPF matrix\n")
    assert len((pytester.path / "runs.jsonl").read_text().splitlines()) == 2


def test_a_large_matrix_unfolds_with_v(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('n', range(41))\ndef test_a(bpf_kernel, n): pass")
    folded = pytester.runpytest("--bpf-kernels=host").stdout
    folded.re_match_lines([r"  41 passed on all kernels +✓", "-v shows every test"])
    folded.no_re_match_line(r"  test_a\[7\]")
    pytester.runpytest("--bpf-kernels=host", "-v").stdout.re_match_lines([r"  test_a\[7\] +✓"])


def test_the_page_has_the_hits_of_each_line(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config")
    pytester.makepyfile("def test_a(bpf): bpf.load('config.bpf.o')['police'].run(bytes(100))")
    pytester.runpytest("--bpf-kernels=host", "--bpf-cov", "--bpf-report=out", "--bpf-json=run.json").assert_outcomes(
        passed=1
    )
    (program,) = by_name(pytester)["test_a"]["programs"]
    hits = {line["text"]: line.get("hits") for line in program["lines"]}
    assert hits["u32 size = ctx->data_end - ctx->data;"] == 1
    assert hits["refused++;"] == 0
    page = (pytester.path / "out/index.html").read_text()
    assert " unhit" in page


@pytest.mark.parametrize("option", ["--bpf-json=no/x.json", "--bpf-json=.", "--bpf-report=file", "--bpf-history=no/x"])
def test_places_that_cannot_be_written_are_told_at_the_start(pytester: pytest.Pytester, option: str) -> None:
    pytester.makepyfile("def test_a(): pass")
    (pytester.path / "file").write_text("")
    result = pytester.runpytest(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {option}: *"])
