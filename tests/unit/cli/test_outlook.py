"""The first kernel that should take a program, as ``inspect`` shows it."""

from __future__ import annotations

from pytest_ebpf.cli.outlook import first_kernel
from pytest_ebpf.obj.read import read_object
from support.paths import ROOT

UPROBES = ROOT / "tests/data/attach/built/uprobes.bpf.o"


def test_a_section_that_came_later_than_its_program_type_counts() -> None:
    obj = read_object(UPROBES)
    needs = {program.spec.prefix: first_kernel(obj, program) for program in obj.programs if program.spec is not None}
    assert ("6.0", 'SEC("uprobe.s")') in needs["uprobe.s"]
    assert ("6.13", 'SEC("uprobe.session")') in needs["uprobe.session"]
    assert needs["uprobe.session"][0].release == "6.13"
