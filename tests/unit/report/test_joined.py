"""``pytest-ebpf merge`` writes JSON and HTML of several runs: of JSON files, and of JUnit files."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from pytest_ebpf.cli.runs.merge import merge
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.report.document import build_document, schema_text
from support.report_runs import CREATED, failed, record

JUNIT = """<testsuites><testsuite name="pytest"><properties><property name="bpf.kernels" value="5.10"/></properties>
<testcase classname="t" name="test_a[5.10]" time="1.5"><properties>
<property name="bpf.test" value="t.py::test_a"/><property name="bpf.kernel" value="5.10"/>
<property name="bpf.result" value="failed"/><property name="bpf.outcome" value="rejected"/>
<property name="bpf.release" value="5.10.1"/><property name="bpf.insns.firewall" value="7"/></properties>
<failure message="firewall: invalid access&#10;more">the traceback</failure></testcase></testsuite></testsuites>"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(merge, [str(one) for one in arguments], catch_exceptions=False)


def write(path: Path, *records: object, kernels: list[str]) -> Path:
    path.write_text(json.dumps(build_document(records, kernels=kernels, created=CREATED)))  # type: ignore[arg-type]  # records as plain dicts
    return path


def test_runs_of_two_kernels_become_one(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", record("t.py::test_a", "5.10", insns=7), kernels=["5.10"])
    second = write(tmp_path / "b.json", failed("t.py::test_a", "6.1"), kernels=["6.1"])
    result = call(first, second, "--bpf-json", tmp_path / "all.json", "--bpf-report", tmp_path / "page")
    assert "  test_a" in result.output
    assert "✓ 7" in result.output
    document = json.loads((tmp_path / "all.json").read_text())
    jsonschema.validate(document, json.loads(schema_text()))
    assert [kernel["id"] for kernel in document["kernels"]] == ["5.10", "6.1"]
    assert document["results"][1]["failure"]["sections"][0]["title"] == "why firewall was rejected"
    assert "packet-bounds" in (tmp_path / "page/index.html").read_text()


def test_the_last_of_two_results_counts(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", failed("t.py::test_a", "6.1"), kernels=["6.1"])
    second = write(tmp_path / "b.json", record("t.py::test_a", "6.1"), kernels=["6.1"])
    result = call(first, second, "-o", tmp_path / "all.json")
    assert json.loads((tmp_path / "all.json").read_text())["counts"] == {"passed": 1}
    assert "note: 1 tests are in several files" in result.stderr


def test_junit_files_give_json_and_html_too(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(JUNIT)
    call(tmp_path / "a.xml", "-o", tmp_path / "all.xml", "--bpf-json", tmp_path / "all.json", "--bpf-report", tmp_path)
    (one,) = json.loads((tmp_path / "all.json").read_text())["results"]
    assert (one["kind"], one["fault"]) == ("rejected", "program")
    assert one["failure"]["headline"] == "firewall: invalid access"
    assert "the traceback" in (tmp_path / "index.html").read_text()
    assert "testsuite" in (tmp_path / "all.xml").read_text()


def test_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(JUNIT)
    good = write(tmp_path / "a.json", record("t.py::test_a"), kernels=["6.1"])
    (tmp_path / "bad.json").write_text("{")
    for arguments, message in (
        ((good, tmp_path / "a.xml", "-o", tmp_path / "x"), "JSON and JUnit files together"),
        ((good,), "nowhere to write to"),
        ((tmp_path / "bad.json", "-o", tmp_path / "x"), "bad.json: not JSON"),
        ((tmp_path / "no.json", "-o", tmp_path / "x"), "no.json: No such file"),
        ((good, "-o", tmp_path / "no/x"), "No such file or directory"),
    ):
        with pytest.raises(BpfUsageError, match=message):
            call(*arguments)
