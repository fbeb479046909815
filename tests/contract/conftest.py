"""Fixtures of the contract suite: a kernel, a scope that must not leak, and ``run`` in that scope."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_ebpf.agent.ops import Describe, Described, Handle, Op, Result, ScopeClose, ScopeClosed, ScopeOpen
from pytest_ebpf.kernels.base import Kernel, check, made
from support.contract_kernels import REAL, Opened, Run


@pytest.fixture(scope="session")
def opened() -> Iterator[Opened]:
    kernels = Opened()
    yield kernels
    kernels.close()


@pytest.fixture(params=REAL, scope="module")
def kernel(request: pytest.FixtureRequest, opened: Opened) -> Kernel:
    return opened[request.param]


@pytest.fixture
def scope(kernel: Kernel) -> Iterator[Handle]:
    """A scope of the test's own; nothing may outlive it."""
    (opened,) = kernel.run([ScopeOpen("test")])
    handle = made(opened)
    yield handle
    (closed,) = kernel.run([ScopeClose(handle)])
    assert closed == ScopeClosed(()), closed


@pytest.fixture
def run(kernel: Kernel, scope: Handle) -> Run:
    """Run ops in the test's scope."""

    def in_scope(*ops: Op) -> list[Result]:
        return kernel.run(ops, scope=scope)

    return in_scope


@pytest.fixture
def release(kernel: Kernel) -> tuple[int, int]:
    """(major, minor) of the kernel, where a test must know what to expect."""
    text = check(kernel.run([Describe()])[0], Described).release
    major, minor = text.split(".")[:2]
    return int(major), int(minor.split("-")[0])
