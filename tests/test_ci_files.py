"""The files for CI systems are what those systems read, and call only what exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pytest_ebpf.cli.commands import COMMANDS
from pytest_ebpf.cli.group import all_commands
from pytest_ebpf.cli.new import write_project
from pytest_ebpf.fixtures import options
from support.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FILES = [*WORKFLOWS, ROOT / "examples/gitlab-ci.yml", ROOT / "examples/Jenkinsfile"]


def check_calls(text: str) -> None:
    """Every ``pytest-ebpf COMMAND`` and ``--option`` behind it, and every ``--bpf-`` option of pytest."""
    known = (ROOT / "docs/reference.md").read_text()
    for option in re.findall(r"pytest .*?(--bpf-[a-z-]+)", text):
        assert f"`{option}" in known, option
    for line in re.findall(r"pytest-ebpf ([a-z].*)", text):
        words = line.replace('"', "").split()
        if words[0] not in COMMANDS:
            continue  # a name of a package
        group = [word for word in words[:2] if not word.startswith("-")]
        path = group if words[0] in ("kernels", "btf", "log") else group[:1]
        shown = CliRunner().invoke(all_commands(), [*path, "--help"]).output
        for option in re.findall(r"--[a-z-]+", line):
            assert option in shown, f"{line}: {option}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_calls_exist(file: Path) -> None:
    assert options.MARKERS
    check_calls(file.read_text())


def jobs_of(text: str) -> dict[str, Any]:
    found = yaml.safe_load(text)
    assert True in found or "on" in found, "YAML reads the key on as a truth value"
    jobs: dict[str, Any] = found["jobs"]
    return jobs


@pytest.mark.parametrize("lang", ["c", "rust"])
def test_workflows_of_new_projects(tmp_path: Path, lang: str) -> None:
    write_project(tmp_path / "demo", lang=lang)
    text = (tmp_path / "demo/.github/workflows/test.yml").read_text()
    check_calls(text)
    check_jobs(jobs_of(text))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_workflows(file: Path) -> None:
    check_jobs(jobs_of(file.read_text()))


def check_jobs(jobs: dict[str, Any]) -> None:
    for name, job in jobs.items():
        for needed in [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", ()):
            assert needed in jobs, f"{name} needs {needed}"
        for step in job.get("steps", ()):
            assert ("run" in step) != ("uses" in step), step
            assert "${{ inputs" not in step.get("run", ""), "an input in a script is run as code: use the environment"


def test_issue_forms() -> None:
    for file in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(file.read_text())
        assert {"name", "description", "body"} <= form.keys(), file.name
        assert all(field["attributes"]["label"] for field in form["body"])


def test_gitlab() -> None:
    job = yaml.safe_load((ROOT / "examples/gitlab-ci.yml").read_text())["test"]
    assert job["parallel"]["matrix"][0]["KERNEL"] == ["5.10", "6.1", "6.12", "newest"]
    assert job["artifacts"]["reports"]["junit"] == "report/junit.xml"
