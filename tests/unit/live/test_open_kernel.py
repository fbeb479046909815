"""The loader in a script: open_kernel() without pytest."""

from __future__ import annotations

import errno

import pytest

import pytest_ebpf
from pytest_ebpf import BpfUsageError, EbpfError, KernelCallError, open_kernel


def test_what_fails_in_the_block_is_raised_and_ends_it() -> None:
    with pytest.raises(ZeroDivisionError), open_kernel("host"):
        raise ZeroDivisionError


def test_an_unknown_kernel_is_a_usage_error() -> None:
    with pytest.raises(EbpfError, match="nope"), open_kernel("nope"):
        pass


def test_a_failed_call_is_an_oserror_with_its_errno() -> None:
    with open_kernel("host") as bpf, pytest.raises(OSError, match="ENOENT") as caught:
        bpf.pinned_map("/sys/fs/bpf/pytest-ebpf-is-not-here")
    assert isinstance(caught.value, KernelCallError)
    assert (caught.value.errno, caught.value.op) == (errno.ENOENT, "ObjGet")
    assert caught.value.strerror == caught.value.message


def test_a_loader_of_a_test_names_the_fixture_of_its_machine() -> None:
    with open_kernel("host") as bpf:
        other = pytest_ebpf.Bpf(bpf.session.target)
        with pytest.raises(BpfUsageError, match="bpf_vm"):
            _ = other.machine
        other.close()


def test_the_version_is_that_of_the_package() -> None:
    assert pytest_ebpf.__version__.count(".") == 2
