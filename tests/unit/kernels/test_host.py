"""How ``host`` is reached: here, through sudo, or not at all, with words that help."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_ebpf.agent.ops import Describe, Described, Failed, Op, ProgRejected, Result
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.kernels import host
from pytest_ebpf.kernels.host import open_host_kernel
from pytest_ebpf.kernels.local import LocalKernel
from pytest_ebpf.kernels.remote import RemoteKernel


def refuse(monkeypatch: pytest.MonkeyPatch, *, errno: int) -> None:
    """This process gets ``errno`` for every program it loads."""

    def run(self: LocalKernel, ops: list[Op], **more: object) -> list[Result]:
        return [ProgRejected(errno)] * len(ops)

    monkeypatch.setattr(LocalKernel, "run", run)


def fake_sudo(folder: Path, script: str) -> None:
    path = folder / "sudo"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_without_sudo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refuse(monkeypatch, errno=1)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BpfUsageError, match=r"may not call bpf\(\) \(EPERM\), and there is no sudo") as error:
        open_host_kernel()
    assert "--bpf-kernels=" in error.value.hint


def test_sudo_that_wants_a_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refuse(monkeypatch, errno=1)
    fake_sudo(tmp_path, "echo 'sudo: a password is required' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(BpfUsageError, match="nor has it sudo: sudo: a password is required"):
        open_host_kernel()


def test_through_sudo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refuse(monkeypatch, errno=1)
    fake_sudo(tmp_path, 'test "$1" = -n || exit 9\nshift\nexec "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(host, "refusal", lambda kernel: "EPERM" if isinstance(kernel, LocalKernel) else "")
    kernel = open_host_kernel()
    assert isinstance(kernel, RemoteKernel)
    assert isinstance(kernel.run([Describe()])[0], Described)
    kernel.close()


def test_closed_to_root_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_sudo(tmp_path, 'shift\nexec "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(host, "refusal", lambda kernel: "EPERM")
    with pytest.raises(BpfUsageError, match=r"bpf\(\) is closed here, for root too \(EPERM\)") as error:
        open_host_kernel()
    assert "--privileged" in error.value.hint


def test_a_kernel_without_bpf(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, errno=38)
    with pytest.raises(BpfUsageError, match=r"no bpf\(\) system call"):
        open_host_kernel()


def test_refusal_reads_both_kinds_of_no(monkeypatch: pytest.MonkeyPatch) -> None:
    for result, why in ((ProgRejected(1), "EPERM"), (Failed("ProgLoad", 13, "no"), "EACCES")):
        monkeypatch.setattr(LocalKernel, "run", lambda self, ops, result=result: [result])
        assert host.refusal(LocalKernel()) == why
