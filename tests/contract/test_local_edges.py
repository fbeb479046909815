"""What can only be seen from inside the process: file descriptors, signals, memory limits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_ebpf.agent.base import syscalls
from pytest_ebpf.agent.bpf import progs
from pytest_ebpf.agent.ops import (
    KmsgSince,
    MapCreate,
    Netlink,
    NetNs,
    OpenFile,
    PerfOpen,
    ProgLoaded,
    ProgRejected,
    ProgRun,
    ProgRunMany,
    Ran,
    RanMany,
    Ref,
    RingDrain,
    ScopeClose,
    ScopeClosed,
    ScopeOpen,
    Spawn,
    TraceOpen,
    Try,
)
from pytest_ebpf.kernels.base import Kernel, check, made
from support.bpf_asm import R0, XDP_PASS, add, emitting, exit_, mov, perf_emitting, program, returning
from support.contract_kernels import Opened


@pytest.fixture
def local(opened: Opened) -> Kernel:
    return opened["local"]


def open_fds() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists() or path.is_symlink()}


def test_a_closed_scope_leaves_no_descriptor_mapping_or_thread(local: Kernel) -> None:
    links = bytes.fromhex("20000000120001030100000000000000") + bytes(16)
    ops = [
        MapCreate(27, 0, 0, 4096),
        program(emitting(1), maps=(Ref(0),)),
        ProgRun(Ref(1), data=bytes(64)),
        RingDrain(Ref(0)),
        MapCreate(4, 4, 4, 64),
        program(perf_emitting(1), maps=(Ref(4),)),
        PerfOpen(Ref(4)),
        TraceOpen(),
        NetNs(),
        Netlink(links, netns=Ref(8)),
        OpenFile("/proc/version"),
        Spawn(("/bin/true",)),
        Try(OpenFile("/no/such")),
    ]
    local.run([KmsgSince(), Netlink(links)])  # kept for the life of the agent
    for _ in range(2):
        before, mappings = open_fds(), bpf_mappings()
        scope = made(local.run([ScopeOpen()])[0])
        results = local.run(ops, scope=scope)
        assert "NotRun" not in str(results)
        assert len(open_fds()) > len(before) + 5
        assert bpf_mappings() > mappings
        assert local.run([ScopeClose(scope)]) == [ScopeClosed(())]
        assert open_fds() == before
        assert bpf_mappings() == mappings
    assert [thread.name for thread in threading.enumerate() if thread.name == "netns"] == []


def bpf_mappings() -> int:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum("bpf-map" in line or "perf_event" in line for line in lines)


def test_a_failing_perf_open_leaves_nothing(local: Kernel) -> None:
    before = open_fds()
    scope = made(local.run([ScopeOpen()])[0])
    results = local.run([MapCreate(4, 4, 4, 64), PerfOpen(Ref(0), pages=1 << 26)], scope=scope)
    assert type(results[1]).__name__ == "Failed"
    local.run([ScopeClose(scope)])
    assert open_fds() == before


@pytest.fixture
def interval() -> Iterator[list[int]]:
    """A signal every millisecond."""
    caught: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda signum, frame: caught.append(signum))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    yield caught
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_signals_do_not_fail_runs(local: Kernel, interval: list[int]) -> None:
    slow = mov(R0, 0) + add(R0, 1) * 2000 + returning(XDP_PASS)
    scope = made(local.run([ScopeOpen()])[0])
    (loaded,) = local.run([program(slow)], scope=scope)
    prog = check(loaded, ProgLoaded).handle
    results = local.run([ProgRun(prog, data=bytes(64), repeat=20_000)])
    assert check(results[0], Ran).retval == XDP_PASS
    many = local.run([ProgRunMany(prog, data=(bytes(64),) * 3000)])
    assert check(many[0], RanMany).retvals == (XDP_PASS,) * 3000
    assert local.run([RingDrain(Ref(0))])[0] is not None
    assert len(interval) > 3
    local.run([ScopeClose(scope)])


def test_signals_do_not_fail_loads_or_waits(local: Kernel, interval: list[int]) -> None:
    scope = made(local.run([ScopeOpen()])[0])
    big = mov(R0, 0) + add(R0, 1) * 50_000 + exit_()
    (loaded,) = local.run([program(big)], scope=scope)
    assert isinstance(loaded, ProgLoaded)
    results = local.run([MapCreate(27, 0, 0, 4096), RingDrain(Ref(0), at_least=1, timeout_ms=100)], scope=scope)
    assert "Failed" not in str(results)
    (exited,) = local.run([Spawn(("/bin/sleep", "0.1"))])
    assert getattr(exited, "returncode", None) == 0
    local.run([ScopeClose(scope)])


def test_a_log_too_long_for_the_memory_keeps_the_verdict(local: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progs, "_TRACE_LOG", 64 << 10)
    monkeypatch.setattr(progs, "_log_limit", lambda: 128 << 10)
    scope = made(local.run([ScopeOpen()])[0])
    straight = mov(R0, 0) + add(R0, 1) * 30_000
    (good,) = local.run([program(straight + exit_(), log_level=2)], scope=scope)
    loaded = check(good, ProgLoaded)
    assert loaded.truncated
    assert 0 < len(loaded.log) <= 128 << 10
    assert loaded.verified_insns == 30_002
    (rejected,) = local.run([program(straight + add(9, 1) + exit_())], scope=scope)
    rejected = check(rejected, ProgRejected)
    assert (rejected.errno, rejected.truncated) == (13, True)
    assert b"R9 !read_ok" in rejected.log[-400:]
    local.run([ScopeClose(scope)])


@pytest.mark.parametrize(
    ("trace", "whole"),
    [
        (b"0: (b7) r0 = 0\n1: (07) r0", b"0: (b7) r0 = 0\n1: (07) r0\nR9 !read_ok\nprocessed 2 insns\n"),
        (b"R9 !read_ok\nprocessed 2 insns\n", b"R9 !read_ok\nprocessed 2 insns\n"),
    ],
)
def test_the_verdict_goes_behind_a_trace_that_was_cut(trace: bytes, whole: bytes) -> None:
    """Before Linux 6.4 what is written last is what is missing; since then it is what was written first."""
    assert progs._ended(trace, verdict=b"R9 !read_ok\nprocessed 2 insns\n") == whole


def test_the_kernel_may_answer_behind_a_short_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query of tcx writes a revision at byte 56, however short the attribute: there must be memory of ours."""
    attr = bytearray(8)
    rooms: list[int] = []

    def kernel(cmd: int, address: int, *, size: int) -> int:
        rooms.append(len(attr))
        assert size == 8
        return 0

    monkeypatch.setattr(syscalls, "bpf_at", kernel)
    assert syscalls.bpf_errno(16, attr) == 0
    assert rooms[0] >= 64
    assert len(attr) == 8
