"""Attaching: links of several kinds, attachments without links, pins."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pytest_ebpf.agent.ops import (
    Close,
    Data,
    Done,
    Failed,
    FdAt,
    Handle,
    IterRead,
    LinkCreate,
    LinkDetach,
    LinkUpdate,
    Made,
    MakeDir,
    MapCreate,
    MapGet,
    MapUpdate,
    Mount,
    NetNs,
    ObjGet,
    ObjPin,
    ObjUnpin,
    PerfAttach,
    PerfEventOpen,
    PointerAt,
    ProgAttach,
    ProgDetach,
    ProgLoad,
    ProgLoaded,
    ProgQuery,
    ProgRejected,
    ProgRun,
    Queried,
    Ran,
    RawTracepointOpen,
    ReadFile,
    Ref,
    Spawn,
    Try,
    Value,
)
from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.kernels.base import Kernel, check
from support.bpf_asm import (
    CGROUP_SKB,
    PERF_EVENT,
    R1,
    R2,
    R3,
    R6,
    RAW_TRACEPOINT,
    call,
    copy,
    counting,
    jump_eq,
    load64,
    mov,
    program,
    returning,
)
from support.contract_kernels import Run
from support.contract_names import cgroup_root, unique
from support.host_policy import refused_by_policy

KEY = bytes(4)
TRACING, TRACE_ITER = 26, 28
XDP_ATTACH, EGRESS, PERF_EVENT_ATTACH = 37, 1, 41
LOOPBACK = 1


def counter(run: Run, handle: Handle) -> int:
    data = check(run(MapGet(handle, KEY))[0], Value).data
    assert data is not None
    return int(struct.unpack("=Q", data)[0])


def counters(run: Run, type: int, *, value: int = 1, **more: object) -> tuple[Handle, Handle]:
    """(map, program that counts into it)."""
    results = run(MapCreate(2, 4, 8, 1, name="counts"), program(counting(value), type, maps=(Ref(0),), **more))
    return check(results[0], Made).handle, check(results[1], ProgLoaded).handle


PING = (
    "/usr/bin/env",
    "python3",
    "-c",
    "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('127.0.0.1', 9))",
)


def test_xdp_link_on_the_loopback_of_a_namespace(run: Run) -> None:
    counts, prog = counters(run, 6, value=2, expected_attach_type=XDP_ATTACH)
    namespace, link = run(NetNs(), LinkCreate(prog, XDP_ATTACH, LOOPBACK, flags=2, netns=Ref(0)))
    run(Spawn(PING, netns=check(namespace, Made).handle))
    assert counter(run, counts) == 2  # the datagram, and "port unreachable"
    assert run(LinkDetach(check(link, Made).handle)) == [Done()]
    run(Spawn(PING, netns=check(namespace, Made).handle))
    assert counter(run, counts) == 2


def test_link_update_swaps_the_program(run: Run) -> None:
    first, one = counters(run, 6, value=2, expected_attach_type=XDP_ATTACH)
    second, two = counters(run, 6, value=2, expected_attach_type=XDP_ATTACH)
    results = run(
        NetNs(), LinkCreate(one, XDP_ATTACH, LOOPBACK, flags=2, netns=Ref(0)), LinkUpdate(Ref(1), two, old=one)
    )
    assert results[2] == Done()
    (wrong,) = run(LinkUpdate(check(results[1], Made).handle, one, old=one))
    assert check(wrong, Failed).errno == 1  # the old program is another one
    run(Spawn(PING, netns=check(results[0], Made).handle))
    assert (counter(run, first), counter(run, second)) == (0, 2)


def test_cgroup_link_sees_the_packets_of_its_members(kernel: Kernel, run: Run) -> None:
    group = f"{cgroup_root(kernel)}/{unique('link')}"
    counts, prog = counters(run, CGROUP_SKB, expected_attach_type=EGRESS)
    results = run(MakeDir(group), LinkCreate(prog, EGRESS, Ref(0)), Spawn(PING, cgroup=group), Spawn(PING))
    assert [type(result).__name__ for result in results] == ["Made", "Made", "Exited", "Exited"]
    assert counter(run, counts) == 1


def test_cgroup_attachment_without_a_link(kernel: Kernel, run: Run) -> None:
    group = f"{cgroup_root(kernel)}/{unique('attach')}"
    counts, prog = counters(run, CGROUP_SKB, expected_attach_type=EGRESS)
    id = check(run(program(returning(1)))[0], ProgLoaded).id
    results = run(MakeDir(group), ProgAttach(prog, Ref(0), EGRESS), ProgQuery(Ref(0), EGRESS))
    group_fd = check(results[0], Made).handle
    (queried,) = check(results[2], Queried).progs
    assert queried < id  # the counting program is the older one
    run(Spawn(PING, cgroup=group))
    assert counter(run, counts) == 1
    done, queried_again = run(ProgDetach(prog, group_fd, EGRESS), ProgQuery(group_fd, EGRESS))
    assert done == Done()
    assert check(queried_again, Queried).progs == ()
    run(Spawn(PING, cgroup=group))
    assert counter(run, counts) == 1


def test_raw_tracepoint(run: Run) -> None:
    counts, prog = counters(run, RAW_TRACEPOINT, value=0)
    (link,) = run(RawTracepointOpen(prog, "sched_process_exec"))
    before = counter(run, counts)
    run(Spawn(("/bin/true",)))
    assert counter(run, counts) > before
    run(Close(check(link, Made).handle))
    before = counter(run, counts)
    run(Spawn(("/bin/true",)))
    assert counter(run, counts) == before
    assert check(run(RawTracepointOpen(prog, "no_such_tracepoint"))[0], Failed).errno == 2


SOFTWARE, CPU_CLOCK = 1, 0


@contextmanager
def clock(run: Run) -> Iterator[Handle]:
    """A software event that fires every 100,000 ns of CPU 0 time."""
    (event,) = run(PerfEventOpen(SOFTWARE, CPU_CLOCK, sample_period=100_000))
    yield check(event, Made).handle


BUSY = ("/usr/bin/env", "python3", "-c", "import os\nos.sched_setaffinity(0, [0])\nfor i in range(2_000_000): pass")


def test_perf_event_the_old_way(run: Run) -> None:
    counts, prog = counters(run, PERF_EVENT, value=0)
    with clock(run) as event:
        assert run(PerfAttach(event, prog)) == [Done()]
        run(Spawn(BUSY))
        assert counter(run, counts) > 0


def test_perf_event_link(run: Run, release: tuple[int, int]) -> None:
    counts, prog = counters(run, PERF_EVENT, value=0)
    with clock(run) as event:
        (link,) = run(LinkCreate(prog, PERF_EVENT_ATTACH, event, cookie=7))
        if release < (5, 15):
            assert check(link, Failed).errno == 22
            return
        check(link, Made)
        run(Spawn(BUSY))
        assert counter(run, counts) > 0


@pytest.fixture
def bpffs(run: Run) -> str:
    path = f"/tmp/{unique('bpffs')}"
    results = run(MakeDir(path), Mount("bpf", path, "bpf"))
    assert results[1] == Done()
    return path


def test_pins_outlive_handles(run: Run, bpffs: str) -> None:
    results = run(
        MapCreate(2, 4, 8, 1, name="kept"),
        ObjPin(Ref(0), f"{bpffs}/kept"),
        Close(Ref(0)),
        ObjGet(f"{bpffs}/kept"),
        MapGet(Ref(3), KEY),
        Close(Ref(3)),
    )
    assert results[1] == Done()
    assert check(results[3], Made).handle.kind == "map"
    assert check(results[3], Made).handle.name == "kept"
    assert results[4] == Value(bytes(8))


def test_a_pin_is_removed_and_nothing_else(run: Run, bpffs: str) -> None:
    path = f"{bpffs}/short"
    assert run(MapCreate(2, 4, 8, 1), ObjPin(Ref(0), path), ObjUnpin(path))[1:] == [Done(), Done()]
    for no_pin, number in ((path, errno.ENOENT), ("/proc/self/status", errno.EPERM)):
        (refused,) = run(ObjUnpin(no_pin))
        assert isinstance(refused, Failed)
        assert refused.errno in (number, errno.EACCES, errno.EINVAL)


def test_pinned_programs_come_back_as_programs(run: Run, bpffs: str) -> None:
    results = run(
        program(returning(2)), ObjPin(Ref(0), f"{bpffs}/prog"), ObjGet(f"{bpffs}/prog"), ProgRun(Ref(2), data=bytes(64))
    )
    assert check(results[2], Made).handle.kind == "prog"
    assert check(results[3], Ran).retval == 2


def test_pin_errors_name_the_path(run: Run, bpffs: str) -> None:
    results = run(MapCreate(2, 4, 8, 1), Try(ObjPin(Ref(0), f"{bpffs}/no/such")), Try(ObjGet(f"{bpffs}/none")))
    assert results[1] == Failed("ObjPin", 2, f"{bpffs}/no/such: No such file or directory")
    assert results[2] == Failed("ObjGet", 2, f"{bpffs}/none: No such file or directory")


def iterator(kernel: Kernel, name: str, *, reads: bytes = b"") -> ProgLoad:
    """A program for ``iter/name`` that says ``reads`` about each object, where the kernel has BTF to say which."""
    btf = parse_btf(check(kernel.run([ReadFile("/sys/kernel/btf/vmlinux")])[0], Data).data)
    (target,) = btf.find(f"bpf_iter_{name}", Kind.FUNC)
    return program(reads or returning(0), TRACING, expected_attach_type=TRACE_ITER, attach_btf_id=target)


# Writes the u64 value of each element of a map: ctx is {meta, map, key, value}, meta begins with the seq_file.
EACH_VALUE = (
    load64(R6, R1, off=24)
    + jump_eq(R6, 0, off=5)
    + load64(R1, R1, off=0)
    + load64(R1, R1, off=0)
    + copy(R2, R6)
    + mov(R3, 8)
    + call(127)  # seq_write
    + returning(0)
)


def test_an_iterator_of_a_map_is_read_to_its_end(request: pytest.FixtureRequest, kernel: Kernel, run: Run) -> None:
    size, count = 8, 40_000  # more than one read(2) gives
    values = struct.pack(f"={count}Q", *range(count))
    keys = struct.pack(f"={count}I", *range(count))
    named = PointerAt(0, bytes(4), fds=(FdAt(0, Ref(0)),))
    results = run(
        MapCreate(2, 4, size, count),
        MapUpdate(Ref(0), keys, values, count),
        iterator(kernel, "bpf_map_elem", reads=EACH_VALUE),
        LinkCreate(Ref(2), TRACE_ITER, extra=struct.pack("=QI", 0, 4), pointers=(named,)),
        IterRead(Ref(3)),
        IterRead(Ref(3)),
        Try(IterRead(Ref(3), limit=1000)),
    )
    refused = results[2]
    if (
        isinstance(refused, ProgRejected)
        and "vm-" not in request.node.name
        and refused_by_policy(refused.errno, refused.log)
    ):
        pytest.skip("this machine's policy refuses this program: EPERM before the verifier looked at it")
    assert check(results[4], Data).data == values
    assert results[5] == results[4]
    assert "more than 1000 bytes" in check(results[6], Failed).text


def test_addresses_stay_inside_what_they_are_written_into(run: Run) -> None:
    (loaded,) = run(program(returning(2)))
    prog = check(loaded, ProgLoaded).handle
    outside = LinkCreate(prog, 0, extra=bytes(12), pointers=(PointerAt(8, b"x"),))
    (result,) = run(Try(outside))
    assert "no place for an address at byte 8" in check(result, Failed).text
    inside = LinkCreate(prog, 0, extra=bytes(12), pointers=(PointerAt(0, bytes(3), fds=(FdAt(0, prog),)),))
    (result,) = run(Try(inside))
    assert "no place for an fd at byte 0" in check(result, Failed).text
