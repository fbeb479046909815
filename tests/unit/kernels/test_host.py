"""How ``host`` is reached: here, through sudo, or not at all, with a message that helps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_ebpf.agent.ops import Failed, ProgLoad, ProgRejected, Result
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.kernels.fake import FakeKernel
from pytest_ebpf.kernels.host import open_host_kernel, refusal


def forbidding(answer: Result) -> FakeKernel:
    """A kernel that answers so to every program that it is asked to load."""
    return FakeKernel({ProgLoad: answer})


class Agents:
    """Opens kernels behind a prefix, and keeps the prefixes."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.prefixes: list[tuple[str, ...]] = []

    def __call__(self, *, prefix: Sequence[str], name: str) -> FakeKernel:
        assert name == "host"
        self.prefixes.append(tuple(prefix))
        return self.kernel


@pytest.fixture
def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sudo in the way of the real one. It runs its command, unless the test writes another script."""
    path = tmp_path / "sudo"
    path.write_text('#!/bin/sh\ntest "$1" = -n || exit 9\nshift\nexec "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return path


def test_in_this_process_where_that_may_load() -> None:
    opened: list[FakeKernel] = []

    def open_local() -> FakeKernel:
        opened.append(FakeKernel())
        return opened[-1]

    kernel = open_host_kernel(open_local=open_local)
    assert kernel is opened[-1]
    assert opened[-1].batches == []  # the one that was asked is closed; this one is fresh


def test_without_sudo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BpfUsageError, match=r"may not call bpf\(\) \(EPERM\), and sudo is not installed") as error:
        open_host_kernel(open_local=lambda: forbidding(ProgRejected(1)))
    assert "--bpf-kernels=" in error.value.hint


def test_through_sudo(sudo: Path) -> None:
    agents = Agents(FakeKernel())
    kernel = open_host_kernel(open_local=lambda: forbidding(ProgRejected(1)), open_agent=agents)
    assert kernel is agents.kernel
    assert agents.prefixes == [(str(sudo), "-n")]


def test_closed_to_root_too(sudo: Path) -> None:
    agents = Agents(forbidding(ProgRejected(1)))
    with pytest.raises(BpfUsageError, match=r"bpf\(\) is closed here, for root too \(EPERM\)") as error:
        open_host_kernel(open_local=lambda: forbidding(ProgRejected(1)), open_agent=agents)
    assert "--privileged" in error.value.hint


def test_a_kernel_without_bpf() -> None:
    with pytest.raises(BpfUsageError, match=r"no bpf\(\) system call"):
        open_host_kernel(open_local=lambda: forbidding(ProgRejected(38)))


def test_refusal_reads_both_kinds_of_no() -> None:
    for result, why in ((ProgRejected(1), "EPERM"), (Failed("ProgLoad", 13, "no"), "EACCES")):
        assert refusal(forbidding(result)) == why
    assert refusal(FakeKernel()) == ""
