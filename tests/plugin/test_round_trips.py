"""What a small test costs on a guest (issue 16): each message to it and back takes milliseconds under emulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pytest_ebpf.kernels.remote import RemoteKernel
from support.fake_guests import install
from support.paths import ROOT

TESTS = f"""
import pytest

@pytest.mark.parametrize("n", range(3))
def test_small(bpf, n):
    assert bpf.load({str(ROOT / "sample_programs/built/xdp_decap.bpf.o")!r})["decap"].run(bytes(64)).retval == 2
"""


def test_a_small_test_takes_five(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Does it live, load, run, what has it said, close."""
    install(monkeypatch.setattr)
    batches: list[list[str]] = []
    run = RemoteKernel.run

    def counted(self: RemoteKernel, ops: Sequence[Any], **named: Any) -> list[Any]:
        batches.append([type(getattr(op, "op", op)).__name__ for op in ops])
        return run(self, ops, **named)

    monkeypatch.setattr(RemoteKernel, "run", counted)
    pytester.makepyfile(test_it=TESTS)
    result = pytester.runpytest_inprocess("--bpf-kernels=6.1", "-p", "no:cacheprovider", "-p", "no:randomly")
    result.assert_outcomes(passed=3)
    last = [at for at, batch in enumerate(batches) if batch == ["ScopeClose"]][-2:]
    assert batches[last[0] + 1 : last[1] + 1] == [
        ["KmsgSince"],
        ["BtfLoad", "ProgLoad"],
        ["ProgRun"],
        ["KmsgSince"],
        ["ScopeClose"],
    ]
