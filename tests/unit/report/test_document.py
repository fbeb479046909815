"""The record of a run as JSON, Markdown, commands of GitHub Actions, and its history."""

from __future__ import annotations

import json

import jsonschema
import pytest

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.outcome import Fault, Outcome
from pytest_ebpf.report.document import build_document, parse_document, records_of, schema_text
from pytest_ebpf.report.github import render_annotations, render_group
from pytest_ebpf.report.headline import advice_of, order_sections, render_headline
from pytest_ebpf.report.history import append_run, insns_of, parse_history
from pytest_ebpf.report.markdown import render_markdown
from support.report_runs import CREATED, failed, record, small_run

SCHEMA = json.loads(schema_text())


def test_documents_fit_the_schema() -> None:
    """A large one: tests/slow/report/test_document.py."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(json.dumps(small_run())), SCHEMA)


@pytest.mark.parametrize("name", ["format", "version", "kernels", "counts", "results"])
def test_the_schema_refuses_a_document_without_a_member(name: str) -> None:
    document = json.loads(json.dumps(small_run()))
    del document[name]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_the_schema_lists_every_kind_and_fault() -> None:
    result = SCHEMA["$defs"]["result"]["properties"]
    assert set(result["kind"]["enum"]) == {"", *Outcome}
    assert set(result["fault"]["enum"]) == set(Fault)


def test_a_document_is_read_back_as_the_records_it_was_made_of() -> None:
    document = small_run()
    text = json.dumps(document)
    again = build_document(
        records_of(parse_document(text, name="a.json")),
        kernels=[kernel["id"] for kernel in document["kernels"]],
        created=CREATED,
        generator="pytest-ebpf 1",
    )
    assert again == document
    assert document["counts"] == {"passed": 3, "failed": 1, "skipped": 2, "error": 1}
    assert document["kernels"][2]["release"] == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("[]", "not a report"), ('{"format": "pytest-ebpf report", "version": 9}', "version 9")],
)
def test_other_files_are_refused(text: str, message: str) -> None:
    with pytest.raises(BpfUsageError, match=f"x.json: {message}"):
        parse_document(text, name="x.json")


def test_markdown_folds_what_passed_everywhere() -> None:
    text = render_markdown(small_run())
    table, folded = text.split("<details><summary>1 tests passed wherever they ran</summary>")
    assert "| `test_same`" not in table
    assert "| `t.py::test_one` | ❌ rejected | ✅ 200 | – |" in table
    assert "| `t.py::test_same` | ✅ 100 | ✅ 100 | – |" in folded
    assert "&lt;/script&gt; &amp;" in folded, "HTML of a message is text"
    assert "pytest 't.py::test_one[5.10]' --bpf-kernels=5.10" in folded


def test_annotations_name_the_source_line_and_all_kernels() -> None:
    document = build_document(
        [failed("t.py::test_one", "5.10"), failed("t.py::test_one", "6.1"), record("t.py::test_two", insns=1)],
        kernels=[],
        created=CREATED,
    )
    (line,) = render_annotations(document)
    assert line.startswith("::error file=src/fw.bpf.c,line=11,title=test_one on 5.10%2C 6.1::rejected: firewall")
    assert "100%25 -> check it%0Apytest" in line


def test_annotations_of_other_failures_are_at_the_test() -> None:
    one = failed("t.py::test_one", kind=Outcome.FAILED)
    del one["failure"]["source"]
    quarantined = failed("t.py::test_two", kind=Outcome.QUARANTINED)
    quarantined["outcome"] = "xfailed"
    lines = render_annotations(build_document([one, quarantined], kernels=[], created=CREATED))
    assert lines[0].startswith("::error file=t.py,line=5,")
    assert lines[1].startswith("::warning ")


def test_groups_fold() -> None:
    assert render_group("log", "a\nb\n") == "::group::log\na\nb\n::endgroup::"


def test_history_keeps_the_most_instructions_of_each_program() -> None:
    document = build_document(
        [record("t.py::a", insns=10), record("t.py::b", insns=30), record("t.py::c", "7.3", insns=5)],
        kernels=[],
        created=CREATED,
    )
    assert insns_of(document) == {"fw.bpf.o/firewall@6.1": 30, "fw.bpf.o/firewall@7.3": 5}
    once = append_run([], document)
    twice = append_run(parse_history(once), document)
    assert [run["created"] for run in parse_history(twice)] == [CREATED, CREATED]
    with pytest.raises(ValueError, match="line 1"):
        parse_history("{}")


def test_the_order_of_sections() -> None:
    ranked = ["what broke", "why p", "map diff", "kernel messages", "console", "verifier log: p"]
    given = [
        "Captured stdout call",
        "repeat",
        "verifier log: p",
        "console",
        "kernel messages",
        "map diff",
        "why p",
        "what broke",
    ]
    assert [title for title, _ in order_sections([(title, "") for title in given])] == [
        *ranked,
        "Captured stdout call",
        "repeat",
    ]


@pytest.mark.parametrize("kind", [kind for kind in Outcome if kind is not Outcome.PASSED])
def test_every_kind_says_what_to_do(kind: Outcome) -> None:
    assert advice_of(kind)
    assert render_headline(kind, message="\nit broke\nmore") == f"{kind}: it broke -> {advice_of(kind)}"
