"""The types of the running kernel: parsed, as C header and as Python classes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from pytest_ebpf.btf.parse import Btf, dump_index, load_index, parse_btf
from pytest_ebpf.btf.types import Enum, Kind, Struct
from support.made_classes import check_places, run_classes
from support.paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))
from c_header import differences, layouts, round_trip

VMLINUX = Path("/sys/kernel/btf/vmlinux")
pytestmark = pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")


@pytest.fixture(scope="module")
def btf() -> Btf:
    return parse_btf(VMLINUX.read_bytes())


def test_types_are_found_by_name(btf: Btf) -> None:
    (task,) = btf.find("task_struct", Kind.STRUCT)
    found = btf.type(task)
    assert isinstance(found, Struct)
    assert {"pid", "tgid", "real_parent"} <= {member.name for member in found.members}


def test_an_index_stands_for_the_types(btf: Btf) -> None:
    again = load_index(VMLINUX.read_bytes(), dump_index(btf))
    assert again.find("task_struct") == btf.find("task_struct")


@pytest.mark.slow
def test_python_classes_of_the_whole_kernel(btf: Btf) -> None:
    assert check_places(btf, run_classes(btf)) > 30_000
    assert sum(isinstance(found, Enum) for _, found in btf) > 500


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("clang"), reason="needs clang with the bpf target")
def test_a_header_of_the_whole_kernel(btf: Btf) -> None:
    assert sum(layouts(btf).values()) > 5000
    assert differences(btf, round_trip(btf)) == []
