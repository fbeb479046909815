"""The commands that need no kernel: doctor --fix, disasm, schema, btf types, size and diff, new."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_ebpf.cli.btf_commands import btf
from pytest_ebpf.cli.disasm import disasm
from pytest_ebpf.cli.doctor import Finding, commands_for
from pytest_ebpf.cli.new import new, write_project
from pytest_ebpf.cli.schema import schema
from pytest_ebpf.errors import BpfUsageError
from support.paths import ROOT

BUILT = ROOT / "sample_programs" / "built"
EXEC = str(BUILT / "exec_tracer.bpf.o")


def call(*arguments: str, command: object = btf) -> Result:
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)  # type: ignore[arg-type]  # a command of click
    assert result.exit_code in (0, 1), result.output
    return result


def test_fix_is_one_command_per_thing() -> None:
    findings = [
        Finding("qemu", "missing", "", "", "run: apt-get install qemu-system-x86 kmod && py -m pip install virtme-ng"),
        Finding("gpgv", "note", "", "", "apt-get install gpgv kmod"),
        Finding("kernels", "missing", "", "", "run: pytest-ebpf kernels fetch 6.1 newest"),
        Finding("disk", "note", "", "", "run: pytest-ebpf kernels prune, or set PYTEST_EBPF_CACHE to a larger disk"),
        Finding("bpf()", "missing", "", "", "test in guests: --bpf-kernels=6.1"),
        Finding("fine", "ok", "", "", "apt-get install nothing"),
    ]
    assert commands_for(findings, as_root=False) == [
        "sudo apt-get update",
        "sudo apt-get install -y qemu-system-x86 kmod gpgv",
        "py -m pip install virtme-ng",
        "pytest-ebpf kernels fetch 6.1 newest",
        "pytest-ebpf kernels prune",
    ]
    assert commands_for(findings[1:2], as_root=True) == ["apt-get update", "apt-get install -y gpgv kmod"]


def test_disasm_of_one_program() -> None:
    text = call(str(BUILT / "config.bpf.o"), "police", command=disasm).output
    assert text.startswith("police (xdp):\n; u32 size = ctx->data_end - ctx->data;")
    (row,) = json.loads(call(str(BUILT / "config.bpf.o"), "--json", command=disasm).output)
    assert row["listing"][0]["text"] == "(61) r2 = *(u32 *)(r1 +0)"
    with pytest.raises(BpfUsageError, match="did you mean police"):
        call(str(BUILT / "config.bpf.o"), "polise", command=disasm)


def test_schema() -> None:
    assert json.loads(call(command=schema).output)["properties"]["version"] == {"const": 1}


def test_btf_types() -> None:
    assert "     280  struct   event\n" in call("types", EXEC, "event*").output
    rows = json.loads(call("types", EXEC, "--json").output)
    assert {"kind": "struct", "name": "event", "size": 280} in [
        {k: row[k] for k in ("kind", "name", "size")} for row in rows
    ]


def test_new_refuses_what_would_not_work(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("")
    with pytest.raises(BpfUsageError, match="exists and is not empty"):
        write_project(tmp_path / "full", lang="c")
    for name in ("class", "1st", "a_name_of_17_signs", "häuser"):
        with pytest.raises(BpfUsageError, match="cannot be the name"):
            write_project(tmp_path / name, lang="c")
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize("lang", ["c", "rust"])
def test_new_leaves_no_placeholder(tmp_path: Path, lang: str) -> None:
    result = CliRunner().invoke(new, [str(tmp_path / "my-fw"), "--lang", lang])
    assert result.exit_code == 0, result.output
    files = [path for path in (tmp_path / "my-fw").rglob("*") if path.is_file()]
    assert tmp_path / "my-fw/.github/workflows/test.yml" in files
    assert tmp_path / "my-fw/tests/test_my_fw.py" in files
    for path in files:
        assert "@NAME@" not in path.read_text() + path.name
        assert str(path.relative_to(tmp_path)) in result.output
