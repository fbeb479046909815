"""Line 24: what loads here and not, or differently, elsewhere: the loaders that refuse it are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_ebpf import Bpf
from pytest_ebpf.cli.inspect import inspect
from pytest_ebpf.cli.verify import verify
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.portable import RULES, elsewhere

Parsed = Callable[[str], ObjectFile]


@pytest.mark.bpf_feature("prog:syscall")
def test_variables_in_sections_of_their_own_are_typed(bpf: Bpf, built: Path, parsed: Parsed) -> None:
    """clang 14 -fdata-sections: BTF lists them in ``.data``, which is not there."""
    obj = bpf.load(built / "data_sections.bpf.o")
    assert [obj.globals["first"], obj.globals["second"]] == [1, 2]
    variables = [variable for section in parsed("data_sections").data for variable in section.variables]
    assert all(variable.type_id for variable in variables)


@pytest.mark.parametrize(
    ("name", "loader", "what", "effect"),
    [
        ("static_map", "libbpf", "counts", "unsupported map linkage static"),
        ("odd_ring", "libbpf", "ring", "the next power of two"),
        ("odd_ring", "cilium/ebpf", "ring", "the kernel refuses it"),
        ("section_prefix", "cilium/ebpf", "xdp_devmap", "reads the section by its beginning"),
        ("local_static", "libbpf", "calls_static", "a static function outside of .text"),
        ("static_one", "Aya", "tc", "does not know the section"),
        ("jump_table", "Aya", "syscall", "does not know the section"),
        ("struct_ops_tables", "Aya", "?struct_ops", "does not know the section"),
    ],
)
def test_the_loader_is_named(parsed: Parsed, name: str, loader: str, what: str, effect: str) -> None:
    found = [each for each in elsewhere(parsed(name)) if each.rule.loader == loader and effect in each.rule.effect]
    assert [what in each.names for each in found] == [True]


def test_an_object_for_every_loader(parsed: Parsed) -> None:
    assert not elsewhere(parsed("local_programs"))


def test_every_rule_says_who_since_when_and_where_that_is_written() -> None:
    assert all(rule.loader and rule.versions and rule.effect and "(" in rule.source + "(" for rule in RULES)
    assert {rule.loader for rule in RULES} == {"libbpf", "cilium/ebpf", "Aya"}


def test_inspect_shows_them(built: Path) -> None:
    run = CliRunner().invoke(inspect, [str(built / "static_map.bpf.o")])
    assert "libbpf 1.7" in run.output
    (summary,) = json.loads(CliRunner().invoke(inspect, ["--json", str(built / "odd_ring.bpf.o")]).output)
    assert {row["loader"] for row in summary["elsewhere"]} >= {"libbpf", "cilium/ebpf"}


def test_verify_says_them_when_asked(bpf: Bpf, built: Path) -> None:
    path = str(built / "static_map.bpf.o")
    silent = CliRunner().invoke(verify, ["-q", path])
    told = CliRunner().invoke(verify, ["-q", "--portable", path])
    assert "unsupported map linkage static" not in silent.output
    assert "counts: libbpf (1.7) refuses the object: unsupported map linkage static" in told.output
    assert told.exit_code == silent.exit_code == 0
