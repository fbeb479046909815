"""Headers through clang and back: sizes and offsets stay. For any vmlinux: benchmarks/c_header.py."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import pytest

from support.every_kind import every_kind
from support.paths import ROOT
from support.random_structs import random_structs

sys.path.append(str(ROOT / "benchmarks"))
from c_header import differences, layouts, round_trip

from pytest_ebpf.btf.parse import Btf, parse_btf

pytestmark = pytest.mark.skipif(not shutil.which("clang"), reason="needs clang with the bpf target")

OBJECTS = ROOT / "sample_programs" / "built"


def check(btf: Btf) -> None:
    """Everything that has a name, there and back."""
    assert sum(layouts(btf).values()) > 0
    assert differences(btf, round_trip(btf)) == []


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_every_kind(byteorder: str) -> None:
    check(parse_btf(every_kind(byteorder)[0].build()))


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("seed", range(4))
def test_structs_of_any_shape(byteorder: str, seed: int) -> None:
    """300 structs and unions with members, bitfields, gaps and sizes as chance has it."""
    check(parse_btf(random_structs(random.Random(seed), byteorder=byteorder).build()))


@pytest.mark.parametrize("path", sorted(OBJECTS.glob("*.bpf.o")), ids=lambda path: path.name)
def test_types_of_objects(path: Path) -> None:
    from pytest_ebpf.obj.read import read_object

    btf = read_object(path).btf
    assert btf is not None
    check(btf)
