"""Line 9: a member of a struct_ops table that this kernel lacks can be left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_ebpf import Bpf, PlanError


def test_the_error_says_how_to_leave_it_out(bpf: Bpf, built: Path) -> None:
    with pytest.raises(PlanError, match="not_yet: this kernel has no such member, and the object sets it") as caught:
        bpf.load(built / "struct_ops_optional.bpf.o")
    assert "struct_ops={'with_new': {'not_yet': None}}" in caught.value.hint


@pytest.mark.bpf_kernel(">=6.4")  # the first that registers a table through a link
@pytest.mark.parametrize(
    "asked",
    [
        {"programs": {"not_yet": False}},
        {"programs": {"not_yet": None}},
        {"struct_ops": {"with_new": {"not_yet": None}}},
    ],
)
def test_left_out_the_table_is_registered_without_it(bpf: Bpf, built: Path, asked: dict[str, Any]) -> None:
    obj = bpf.load(built / "struct_ops_optional.bpf.o", **asked)
    assert list(obj.programs) == ["ssthresh", "cong_avoid", "undo_cwnd"]
    with obj.struct_ops["with_new"].attach():
        pass
