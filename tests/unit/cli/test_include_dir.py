"""The header of expectations comes with the package (B6)."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from pytest_ebpf.cli.schema import include_dir


def test_b6_the_header_is_where_the_command_says() -> None:
    result = CliRunner().invoke(include_dir)
    assert result.exit_code == 0
    assert "__msg" in (Path(result.output.strip()) / "expectations.h").read_text()
