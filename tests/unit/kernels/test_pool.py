"""What a pool does besides booting."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_ebpf.kernels.config import PLAIN, PoolConfig
from pytest_ebpf.kernels.pool import KernelPool, has_room


@pytest.mark.parametrize(
    ("meminfo", "room"), [("MemAvailable:   24105000 kB\n", True), ("MemAvailable:     900000 kB\n", False), ("", True)]
)
def test_nothing_is_booted_ahead_where_memory_is_short(tmp_path: Path, meminfo: str, room: bool) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal:       30000000 kB\n{meminfo}")
    assert has_room(tmp_path / "meminfo") is room


def test_a_machine_that_does_not_say_has_room(tmp_path: Path) -> None:
    assert has_room(tmp_path / "none")


def test_a_guest_that_was_lost_before_its_first_use_is_closed_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    lost = SimpleNamespace(lost=True, close=lambda: closed.append("lost"))
    fresh = SimpleNamespace(lost=False, close=lambda: closed.append("fresh"))
    coming = iter([lost, fresh])
    pool = KernelPool(PoolConfig())
    monkeypatch.setattr(pool, "_start", lambda slot, **named: next(coming))
    monkeypatch.setattr("pytest_ebpf.kernels.pool.has_room", lambda: True)
    pool.prefetch("6.1")
    assert pool.get("6.1", guest=PLAIN) is fresh
    assert closed == ["lost"]
