from __future__ import annotations

import ast
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_ebpf.cli.btf import btf
from pytest_ebpf.errors import BpfUsageError, ObjectError
from support.btf_writer import BtfWriter
from support.paths import ROOT

SAMPLE = ROOT / "sample_programs" / "built" / "exec_tracer.bpf.o"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(btf, ["dump", *map(str, arguments)])


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    w = BtfWriter()
    u32 = w.int("unsigned int", 4)
    w.struct("first", 4, [("a", u32, 0)])
    w.struct("second", 4, [("a", u32, 0)])
    w.func("do_it", w.func_proto(0, [("x", u32)]))
    path = tmp_path / "vmlinux"
    path.write_bytes(w.build())
    return path


def test_a_header_of_an_object_file() -> None:
    result = run(SAMPLE)
    assert result.exit_code == 0
    assert result.output.startswith("#ifndef __EXEC_TRACER_H__\n")
    assert "struct event {\n\tu32 pid;\n\tu32 uid;\n\tchar comm[16];\n\tchar filename[256];\n};" in result.output
    assert "preserve_access_index" not in result.output
    assert "preserve_access_index" in run(SAMPLE, "--preserve-access-index").output


def test_python_of_an_object_file(tmp_path: Path) -> None:
    out = tmp_path / "event.py"
    assert run(SAMPLE, "event", "--format", "python", "-o", out).output == ""
    tree = ast.parse(out.read_text())
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == ["event"]
    assert "    filename: bytes  # offset 24, 256 bytes" in out.read_text()


def test_raw_btf_is_a_kernels(raw: Path) -> None:
    result = run(raw)
    assert result.output.startswith("#ifndef __VMLINUX_H__\n")
    assert "preserve_access_index" in result.output
    assert run(raw, "--guard", "X_H").output.startswith("#ifndef X_H\n")


def test_types_by_name_pattern_and_function(raw: Path) -> None:
    assert "struct second" not in run(raw, "first").output
    assert run(raw, "struct *").output.count("struct ") == 2
    assert "extern void do_it(unsigned int x)" in run(raw, "do_it").output


def test_no_such_type(raw: Path) -> None:
    error = run(raw, "frist", "second").exception
    assert isinstance(error, BpfUsageError)
    assert "has no type 'frist'" in str(error)
    assert str(run(raw, "secnd").exception).endswith("did you mean second?")


def test_split_btf(raw: Path, tmp_path: Path) -> None:
    from pytest_ebpf.btf.parse import parse_btf

    base = parse_btf(raw.read_bytes())
    w = BtfWriter(first_id=len(base), first_string=base.string_end)
    w.struct("third", 8, [("in", base.find("first")[0], 0), ("x", 1, 32)])
    module = tmp_path / "module"
    module.write_bytes(w.build())
    result = run(module, "--base", raw)
    assert "struct third {\n\tstruct first in;\n\tunsigned int x;\n};" in result.output
    assert "second" not in result.output


def test_an_object_without_types(tmp_path: Path) -> None:
    from support.elf_writer import ElfWriter

    path = tmp_path / "plain.o"
    path.write_bytes(ElfWriter().build())
    error = run(path).exception
    assert isinstance(error, ObjectError)
    assert "plain.o" in str(error)
    assert "BTF" in str(error)
