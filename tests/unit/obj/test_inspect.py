from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_ebpf.cli.inspect import inspect
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.obj.summary import summarise
from support.paths import ROOT
from support.sample_object import sample


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "sample.o"
    file.write_bytes(sample())
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(inspect, [str(argument) for argument in arguments])


def test_tables_show_programs_maps_globals_and_externs(path: Path) -> None:
    result = run(path)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert f"{path}: little endian, license 'GPL', 43 BTF types" in lines
    assert "main_prog xdp XDP XDP 10 2 1" in lines
    assert "probe ?kprobe/x KPROBE x 3 0 0 not loaded by default" in lines
    assert "sub .text 2 1" in lines
    assert "counters HASH __u32 struct value 64" in lines
    assert "jumps PROG_ARRAY 4 bytes 4 bytes 2 [1]=main_prog" in lines
    assert "second .data __u32 4 2" in lines
    assert "fmt .rodata 4 bytes 4 25 64 0a 00" in lines
    assert "bpf_kfunc kfunc __u32 (void *) weak" in lines
    assert "jiffies ksym untyped" in lines


def test_json_holds_the_same(path: Path) -> None:
    result = run("--json", path, path)
    first, second = json.loads(result.output)
    assert first == second
    assert {row["loader"] for row in first.pop("elsewhere")} == {"Aya"}  # of plan/portable.py; the rest is the object's
    outlook = [{name: row.pop(name) for name in ("first_kernel", "needs", "expects")} for row in first["programs"]]
    assert outlook[1] == {"first_kernel": "5.2", "needs": ["global data"], "expects": []}
    assert first == summarise(parse_object(sample(), name=str(path)))
    assert [program["name"] for program in first["programs"]] == ["main_prog", "probe"]
    (zeroes,) = [row for row in first["globals"] if row["name"] == "zeroes"]
    assert zeroes["value"] == {"packets": 0, "name": ""}


def test_a_bad_file_does_not_hide_the_good_ones(path: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.o"
    bad.write_bytes(b"")
    result = run(bad, path, tmp_path / "missing.o")
    assert result.exit_code == 1
    assert f"pytest-ebpf: {bad}: the file is empty" in result.output
    assert "missing.o: no such file" in result.output
    assert "main_prog" in result.output
    assert "Traceback" not in result.output


def test_names_from_the_file_are_no_markup(tmp_path: Path) -> None:
    hostile = sample().replace(b"main_prog\0", b"[bold]xx\0\0", 2)
    file = tmp_path / "[red].o"
    file.write_bytes(hostile)
    result = run(file)
    assert "[red].o" in result.output
    assert "[bold]xx" in result.output


@pytest.mark.parametrize("name", ["xdp_lb", "core_task", "map_kinds", "config"])
def test_committed_samples(name: str) -> None:
    file = ROOT / "sample_programs/built" / f"{name}.bpf.o"
    summary = summarise(parse_object(file.read_bytes(), name=file.name))
    assert summary["problems"] == []
    assert summary["license"] == "Dual MIT/GPL"
    source = (ROOT / "sample_programs" / f"{name}.bpf.c").read_text()
    for program in summary["programs"]:
        assert f"{program['name']}(" in source
        assert f'SEC("{program["section"]}")' in source
        assert program["lines"] > 0
    for map_ in summary["maps"]:
        assert f"{map_['name']} SEC(" in source
