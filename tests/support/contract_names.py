"""Names and places that the contract tests share."""

from __future__ import annotations

import os

from pytest_ebpf.agent.ops import Data, ReadFile
from pytest_ebpf.kernels.base import Kernel, check


def unique(prefix: str) -> str:
    return f"{prefix}-{os.getpid()}-{os.urandom(4).hex()}"


def cgroup_root(kernel: Kernel) -> str:
    mounts = check(kernel.run([ReadFile("/proc/self/mounts")])[0], Data).data.decode()
    return next(line.split()[1] for line in mounts.splitlines() if line.split()[2] == "cgroup2")
