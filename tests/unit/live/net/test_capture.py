"""How long a recording waits (issue 14, C14)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_ebpf.agent.ops import Handle, PacketDrain, Records
from pytest_ebpf.live.net import capture as capture_module
from pytest_ebpf.live.net.capture import Capture

SURE = 100  # milliseconds that markers take


class Guest:
    """An emulated guest where nothing comes: eight times as slow as real hardware, with a clock of its own. ``sure``:
    no process of the test runs that might send something."""

    def __init__(self, sure: bool) -> None:
        self.now = 0.0
        self.sure = sure
        self.target = SimpleNamespace(time_scale=8.0)

    def make(self, op: object) -> Handle:
        return Handle(1, "boot")

    def one(self, op: PacketDrain, kind: object) -> Records:
        self.now += (min(op.timeout_ms, op.quiet_ms + SURE) if self.sure else op.timeout_ms) / 1000
        return Records(())


@pytest.mark.parametrize(
    ("arguments", "sure", "else_"),
    [
        ({}, SURE / 1000, 1.0),
        ({"timeout": 0.5}, 0.5 + SURE / 1000, 4.0),
        ({"timeout": 0.5, "count": 2}, 0.5 + SURE / 1000, 4.0),
        ({"count": 1}, 0.8 + SURE / 1000, 8.0),
        ({"timeout": 0}, 0.0, 0.0),
    ],
)
def test_c14_that_nothing_came_costs_a_second(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], sure: float, else_: float
) -> None:
    for known, seconds in ((True, sure), (False, else_)):
        guest: Any = Guest(known)
        monkeypatch.setattr(capture_module.time, "monotonic", lambda guest=guest: guest.now)
        assert Capture(guest, "veth0", netns=Handle(2, "boot")).take(**arguments) == []
        assert guest.now == pytest.approx(seconds)
