"""What a guest had is given back when it ends (issue 16, line 3)."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from pytest_ebpf.kernels.config import PLAIN, PoolConfig
from pytest_ebpf.kernels.pool import KernelPool


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["5.10", "newest"])
def test_a_guest_that_ended_leaves_no_descriptor(spec: str) -> None:
    """One lock of the image was kept for each guest until the session ended."""
    pool, counts = KernelPool(PoolConfig()), []
    for _ in range(3):
        pool.get(spec)
        pool.discard((spec, PLAIN))
        gc.collect()  # what earlier tests of this process left open ends now, not between two counts
        counts.append(len(list(Path("/proc/self/fd").iterdir())))
    assert counts[1:] == counts[:1] * 2
