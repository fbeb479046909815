"""Line 24: what loads here and not, or differently, elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytest_ebpf import Bpf
from pytest_ebpf.obj.object import ObjectFile

Parsed = Callable[[str], ObjectFile]


def test_variables_in_sections_of_their_own_are_typed(bpf: Bpf, built: Path, parsed: Parsed) -> None:
    """clang 14 -fdata-sections: BTF lists them in ``.data``, which is not there."""
    obj = bpf.load(built / "data_sections.bpf.o")
    assert [obj.globals["first"], obj.globals["second"]] == [1, 2]
    variables = [variable for section in parsed("data_sections").data for variable in section.variables]
    assert all(variable.type_id for variable in variables)
