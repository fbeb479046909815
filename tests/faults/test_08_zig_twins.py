"""Line 8: Zig (0.16 and later) gives each export a local twin; maps and globals have the name of the export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_ebpf import Bpf
from pytest_ebpf.obj.elf import Symbol, twin_names, without_twins
from pytest_ebpf.obj.object import ObjectFile

Parsed = Callable[[str], ObjectFile]
NAMES = ["zig_twins", "zig_twins_named"]


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_there_once_under_its_own_name(parsed: Parsed, name: str) -> None:
    obj = parsed(name)
    assert [program.name for program in obj.programs] == ["gives_2"]
    assert not obj.text
    assert not obj.problems
    assert [definition.name for definition in obj.maps] == ["counts"]
    variables = [variable for section in obj.data for variable in section.variables]
    assert [variable.name for variable in variables] == ["runs", "step"]
    assert all(variable.type_id for variable in variables)


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_and_runs(bpf: Bpf, built: Path, name: str) -> None:
    obj = bpf.load(built / f"{name}.bpf.o", maps={"counts": {"contents": {3: 7}}})
    assert obj["gives_2"].run(bytes(64)).retval == 2
    assert obj.globals["runs"] == 2
    assert list(obj.maps["counts"].items()) == [(0, 0), (1, 0), (2, 0), (3, 8)]


def test_a_local_symbol_at_the_place_of_a_global_one_is_its_twin() -> None:
    local, export = Symbol("program.x", 1, 0, 5, 8, 4), Symbol("x", 1, 1, 5, 8, 4)
    alone = Symbol("y", 1, 0, 5, 16, 4)
    assert without_twins([local, export, alone]) == [export, alone]
    assert twin_names([local, export, alone]) == {"program.x": "x"}
