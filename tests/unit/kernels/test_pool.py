"""What a pool does besides booting."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.kernels.pool import has_room


@pytest.mark.parametrize(
    ("meminfo", "room"), [("MemAvailable:   24105000 kB\n", True), ("MemAvailable:     900000 kB\n", False), ("", True)]
)
def test_nothing_is_booted_ahead_where_memory_is_short(tmp_path: Path, meminfo: str, room: bool) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal:       30000000 kB\n{meminfo}")
    assert has_room(tmp_path / "meminfo") is room


def test_a_machine_that_does_not_say_has_room(tmp_path: Path) -> None:
    assert has_room(tmp_path / "none")
