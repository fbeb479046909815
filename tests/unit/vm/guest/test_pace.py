"""Deadlines follow what was measured on this machine (issue 16, Deliver 5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.vm.guest.accel import Accel
from pytest_ebpf.vm.guest.pace import keep_pace, kept_pace, pace_of


@pytest.mark.parametrize(
    ("seconds", "way", "pace"),
    [(1.0, "cold", 1.0), (4.5, "cold", 1.0), (9.0, "cold", 2.0), (1.8, "warm", 3.0), (900, "warm", 8)],
)
def test_a_slow_machine_has_more_time_and_a_fast_one_no_less(seconds: float, way: str, pace: float) -> None:
    assert pace_of(seconds, kind="tcg", way=way) == pytest.approx(pace)


def test_a_guest_of_a_slow_machine_has_longer_deadlines() -> None:
    assert Accel("tcg", "", pace=2.5).factor == 2.5 * Accel("tcg", "").factor


def test_the_pace_of_the_last_guests_is_kept(tmp_path: Path) -> None:
    assert kept_pace(tmp_path, kind="tcg") == 1.0
    for pace in (8.0, 1.0, 3.0, 2.0, 2.0, 1.0):
        keep_pace(tmp_path, pace, kind="tcg")
    assert kept_pace(tmp_path, kind="tcg") == 2.0  # the first was long ago
    assert kept_pace(tmp_path, kind="kvm") == 1.0


@pytest.mark.parametrize("content", ["", "[]", '{"tcg": 3}', '{"tcg": ["x"]}', '{"tcg": []}', "\0\0"])
def test_a_damaged_record_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "pace.json").write_text(content)
    assert kept_pace(tmp_path, kind="tcg") == 1.0
    keep_pace(tmp_path, 2.0, kind="tcg")
    assert kept_pace(tmp_path, kind="tcg") == 2.0
