"""Results of many runs."""

from __future__ import annotations

from pytest_ebpf.agent.ops import RanMany
from pytest_ebpf.live.run.many import read_many
from pytest_ebpf.uapi.enums import ProgType


def test_results_share_nothing_that_a_test_could_change() -> None:
    ran = RanMany((1, 2), (b"one", b"two"), (10, 20), ())
    first, second = read_many(ran, prog_type=ProgType.XDP, byteorder="little")
    assert (first.retval, first.data, second.retval, second.data) == (1, b"one", 2, b"two")
    assert first.ctx == second.ctx == {}
    assert first.ctx is not second.ctx
