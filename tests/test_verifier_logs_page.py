"""The page about logs lists the rules there are, and its examples hold."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from pytest_ebpf.verifier.rejection.classes import CLASSES
from support.paths import ROOT
from support.verifier_logs import all_logs

PAGE = (ROOT / "docs" / "verifier-logs.md").read_text()


def test_the_tables_are_those_of_the_rules() -> None:
    """Run ci/gen when this fails."""
    assert runpy.run_path(str(ROOT / "ci" / "gen_verifier_docs.py"))["render"](PAGE) == PAGE
    assert all(f"### {name}\n" in PAGE for name in CLASSES)


def test_the_example_without_a_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("build.log", "huge.log"):
        (tmp_path / name).write_text(all_logs()["c-6.12/null_deref.l1"])
    example = next(block for block in PAGE.split("```python\n")[1:] if "digest_log" in block).partition("```")[0]
    exec(compile(example, "docs/verifier-logs.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "null-deref" in printed
    assert printed.splitlines()[-1] == "14 0 7"
