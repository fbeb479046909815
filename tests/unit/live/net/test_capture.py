"""How long a recording waits (issue 14, C14)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_ebpf.agent.ops import Handle, PacketDrain, Records
from pytest_ebpf.live.net import capture as capture_module
from pytest_ebpf.live.net.capture import Capture


class Guest:
    """An emulated guest where nothing comes: eight times as slow as real hardware, with a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.target = SimpleNamespace(time_scale=8.0)

    def make(self, op: object) -> Handle:
        return Handle(1, "boot")

    def one(self, op: PacketDrain, kind: object) -> Records:
        self.now += op.timeout_ms / 1000
        return Records(())


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ({}, 1.0),
        ({"timeout": 0.5}, 4.0),
        ({"count": 1}, 8.0),
        ({"timeout": 0}, 0.0),
    ],
)
def test_c14_that_nothing_came_costs_a_second(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], seconds: float
) -> None:
    guest: Any = Guest()
    monkeypatch.setattr(capture_module.time, "monotonic", lambda: guest.now)
    assert Capture(guest, "veth0", netns=Handle(2, "boot")).take(**arguments) == []
    assert guest.now == pytest.approx(seconds)
