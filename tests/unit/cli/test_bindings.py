"""``pytest-ebpf btf bindings``."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_ebpf.cli.bindings import bindings
from pytest_ebpf.errors import BpfUsageError, ObjectError
from support.paths import ROOT

SAMPLE = ROOT / "sample_programs" / "built" / "exec_tracer.bpf.o"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(bindings, [*map(str, arguments)])


@pytest.mark.parametrize(
    ("lang", "line"),
    [
        ("rust", "    pub filename: [i8; 256],"),
        ("c", "\tchar filename[256];"),
        ("python", "    filename: bytes  # offset 24, 256 bytes"),
    ],
)
def test_each_language(lang: str, line: str) -> None:
    result = run("event", "--btf", SAMPLE, "--lang", lang)
    assert result.exit_code == 0
    assert line in result.output.splitlines()


def test_rust_is_what_aya_projects_need(tmp_path: Path) -> None:
    out = tmp_path / "vmlinux.rs"
    assert run("event", "--btf", SAMPLE, "-o", out).output == ""
    assert "assert!(::core::mem::size_of::<event>() == 280);" in out.read_text()


def test_mistakes_say_what_to_type(tmp_path: Path) -> None:
    assert "pytest-ebpf btf bindings task_struct" in run("--btf", SAMPLE).output
    missing = run("--input-file", tmp_path / "none.h").exception
    assert isinstance(missing, ObjectError)
    assert "no such file" in str(missing)
    unknown = run("evant", "--btf", SAMPLE).exception
    assert isinstance(unknown, BpfUsageError)
    assert "event" in str(unknown)
