"""``pytest-ebpf btf size`` and ``btf diff`` on what clang makes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_ebpf.cli.btf_commands import btf


def call(*arguments: str, command: object = btf) -> Result:
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)  # type: ignore[arg-type]  # a command of click
    assert result.exit_code in (0, 1), result.output
    return result


@pytest.mark.skipif(shutil.which("clang") is None, reason="no clang")
def test_btf_size_shows_holes_and_diff_shows_fields(tmp_path: Path) -> None:
    for name, fields in (("a", "char c; int i; short s;"), ("b", "char c; long long i; short s;")):
        source = tmp_path / f"{name}.c"
        source.write_text(
            f"struct t {{ {fields} }}; struct same {{ int x; }}; struct only_{name} {{ int y; }};\n"
            f"struct t t; struct same same; struct only_{name} only;\n"
        )
        subprocess.run(["clang", "-target", "bpf", "-g", "-c", source, "-o", tmp_path / f"{name}.o"], check=True)
    first, second = str(tmp_path / "a.o"), str(tmp_path / "b.o")
    (layout,) = json.loads(call("size", first, "t", "--json").output)
    assert layout["hole_bytes"] == 5
    assert [(row["offset"], row["size"], row["name"]) for row in layout["fields"]] == [
        (0, 1, "c"),
        (1, 3, "(hole)"),
        (4, 4, "i"),
        (8, 2, "s"),
        (10, 2, "(hole)"),
    ]
    assert "struct t: 12 bytes, 5 of them in holes\n     0      1  c\n" in call("size", first, "t").output
    different = call("diff", first, second)
    assert different.exit_code == 1
    assert "~ struct t\n struct t {\n \tchar c;\n-\tint i;\n+\tlong long " in different.output
    listed = call("diff", first, second, "--list").output.splitlines()
    assert listed[:3] == ["- struct only_a", "+ struct only_b", "~ struct t"]
    assert call("diff", first, second, "same").exit_code == 0
