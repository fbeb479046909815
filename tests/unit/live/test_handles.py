"""What the end of a block closes."""

from __future__ import annotations

from pytest_ebpf.errors import GuestLost
from pytest_ebpf.live.handles import close_after


def test_a_block_closes_unless_the_guest_was_lost() -> None:
    closed: list[str] = []
    for name, error in (("end", None), ("failure", ValueError()), ("loss", GuestLost("it stopped"))):
        close_after((type(error), error, None), lambda name=name: closed.append(name))  # type: ignore[misc]
    assert closed == ["end", "failure"]
