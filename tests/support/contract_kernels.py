"""The kernels that the contract suite runs on: this process, an agent behind a pipe, and guests."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from pytest_ebpf.agent.ops import Result
from pytest_ebpf.kernels.base import Kernel
from pytest_ebpf.kernels.host import open_agent_kernel, refusal
from pytest_ebpf.kernels.local import LocalKernel

# The ends of the range; CONTRACT_GUESTS="5.10 6.1 6.12 newest" runs them all.
GUESTS = tuple(os.environ.get("CONTRACT_GUESTS", "5.10 newest").split())
REAL = ["local", "pipe", *[pytest.param(f"vm-{spec}", marks=pytest.mark.slow) for spec in GUESTS]]


class Opened:
    """Kernels opened so far, one of a kind."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._kernels: dict[str, Kernel] = {}
        self._pool: Any = None

    def __getitem__(self, where: str) -> Kernel:
        if where not in self._kernels:
            self._kernels[where] = self._open(where)
        return self._kernels[where]

    def _open(self, where: str) -> Kernel:
        if where.startswith("vm-"):
            return self._guest(where.removeprefix("vm-"))
        local = LocalKernel()
        why = refusal(local)
        if where == "local":
            if why:
                pytest.skip(f"this process may not call bpf(): {why}")
            self._stack.callback(local.close)
            return local
        return self._stack.enter_context(open_agent_kernel(prefix=("sudo", "-n") if why else (), name="pipe"))

    def _guest(self, spec: str) -> Kernel:
        from pytest_ebpf.kernels.config import PoolConfig
        from pytest_ebpf.kernels.pool import KernelPool

        if self._pool is None:
            self._pool = KernelPool(PoolConfig())
            self._stack.callback(self._pool.close)
        return self._pool.get(spec).kernel

    def close(self) -> None:
        self._stack.close()


Run = Callable[..., list[Result]]
