"""Ops done without some capabilities, and the streams that programs write to."""

from __future__ import annotations

import pytest

from pytest_ebpf.agent.ops import Data, Failed, ProgLoaded, ProgRejected, Ref, StreamRead, Try, Unprivileged
from pytest_ebpf.kernels.base import check
from support.bpf_asm import RAW_TRACEPOINT, XDP_PASS, program, returning
from support.contract_kernels import Run

_NET_ADMIN, _SYS_ADMIN, _PERFMON, _BPF = 12, 21, 38, 39
_ALL = sum(1 << number for number in (_NET_ADMIN, _SYS_ADMIN, _PERFMON, _BPF))
_EPERM = 1


def test_without_capabilities_and_with_them_again(run: Run) -> None:
    xdp = program(returning(XDP_PASS))
    refused, again = run(Try(Unprivileged(_ALL, xdp)), xdp)
    assert isinstance(refused, ProgRejected)
    assert refused.errno == _EPERM
    assert isinstance(again, ProgLoaded)


def test_what_is_not_dropped_stays(run: Run) -> None:
    """Tracing programs want CAP_PERFMON, and CAP_SYS_ADMIN would do as well."""
    tracing = program(returning(0), RAW_TRACEPOINT)
    without, kept = run(
        Try(Unprivileged(1 << _SYS_ADMIN | 1 << _PERFMON, tracing)), Unprivileged(1 << _NET_ADMIN, tracing)
    )
    assert isinstance(without, ProgRejected)
    assert without.errno == _EPERM
    assert isinstance(kept, ProgLoaded)


def test_a_failure_gives_the_capabilities_back_too(run: Run) -> None:
    lost, loaded = run(Try(Unprivileged(_ALL, StreamRead(Ref(7), 1))), program(returning(XDP_PASS)))
    assert isinstance(lost, Failed)
    assert "Ref(7)" in lost.text
    assert isinstance(loaded, ProgLoaded)


@pytest.mark.parametrize("stream", [1, 2])
def test_streams_of_a_program(run: Run, release: tuple[int, int], stream: int) -> None:
    loaded, read = run(program(returning(XDP_PASS)), Try(StreamRead(Ref(0), stream)))
    check(loaded, ProgLoaded)
    if release >= (6, 17):
        assert check(read, Data).data == b""
    else:
        assert isinstance(read, Failed)
        assert read.errno == 22
