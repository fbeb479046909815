"""``pytest-ebpf btf bindings`` of a header, by clang."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_ebpf.cli.bindings import bindings


def output_of(*arguments: str) -> str:
    return CliRunner().invoke(bindings, arguments).output


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
def test_a_header_as_input(tmp_path: Path) -> None:
    header = tmp_path / "events.h"
    header.write_text("struct event { u32 pid; char comm[16]; };\nenum verdict { PASS, DROP };\n")
    everything = output_of("--input-file", str(header))
    assert "pub struct event {" in everything
    assert "pub const DROP: Type = 1;" in everything
    assert "verdict" not in output_of("event", "--input-file", str(header))
