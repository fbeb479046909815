"""``host`` is reached through sudo: with an agent, or with a message that helps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_ebpf.agent.ops import Describe, Described, ProgLoad, ProgRejected, Result
from pytest_ebpf.errors import BpfUsageError, GuestLost
from pytest_ebpf.kernels.base import check
from pytest_ebpf.kernels.fake import FakeKernel
from pytest_ebpf.kernels.host import open_agent_kernel, open_host_kernel


def forbidding(answer: Result) -> FakeKernel:
    """A kernel that answers so to every program that it is asked to load."""
    return FakeKernel({ProgLoad: answer})


@pytest.fixture
def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sudo in the way of the real one. It runs its command, unless the test writes another script."""
    path = tmp_path / "sudo"
    path.write_text('#!/bin/sh\ntest "$1" = -n || exit 9\nshift\nexec "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return path


def test_sudo_that_wants_a_password(sudo: Path) -> None:
    sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2; exit 1\n")
    with pytest.raises(BpfUsageError, match="and sudo failed: sudo: a password is required"):
        open_host_kernel(open_local=lambda: forbidding(ProgRejected(1)))


def test_an_agent_runs_behind_its_prefix(sudo: Path) -> None:
    kernel = open_agent_kernel(prefix=(str(sudo), "-n"), name="host")
    assert check(kernel.run([Describe()])[0], Described).release == os.uname().release
    kernel.close()
    with pytest.raises(GuestLost):
        open_agent_kernel(prefix=(str(sudo), "-x"), name="host")
