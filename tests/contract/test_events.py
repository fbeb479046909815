"""Ring buffers, perf buffers, trace_pipe and the kernel log."""

from __future__ import annotations

import os
import struct
import time

import pytest

from pytest_ebpf.agent.ops import (
    Close,
    Data,
    Done,
    Failed,
    Kmsg,
    KmsgSince,
    Made,
    MapCreate,
    PerfDrain,
    PerfOpen,
    ProgRun,
    ProgRunMany,
    Records,
    Ref,
    Region,
    Result,
    RingDrain,
    SwitchOn,
    TraceDrain,
    TraceOpen,
    Try,
    WriteFile,
)
from pytest_ebpf.kernels.base import Kernel, check
from pytest_ebpf.kernels.remote import RemoteKernel
from support.bpf_asm import discarding, emitting, perf_emitting, printing, program, returning
from support.contract_kernels import Run

RINGBUF, PERF_ARRAY = 27, 4
PAGE = 4096
SEND = bytes(64)


@pytest.fixture
def needs_ringbuf(release: tuple[int, int]) -> None:
    assert release >= (5, 8), "every kernel of the matrix has ring buffers"


def u64(value: int) -> bytes:
    return struct.pack("=Q", value)


def drained(result: Result) -> tuple[tuple[bytes, ...], int, int]:
    """The records, how many were lost, and how many discarded."""
    region = check(result, Region)
    assert len(region) == len(region.records)
    assert [region[index] for index in range(-len(region), 0)] == list(region)
    return region.records, region.lost, region.discarded


@pytest.mark.usefixtures("needs_ringbuf")
def test_records_come_in_order_in_the_batch_that_made_them(run: Run) -> None:
    results = run(
        MapCreate(RINGBUF, 0, 0, PAGE),
        program(emitting(1), maps=(Ref(0),)),
        program(emitting(2, size=24), maps=(Ref(0),)),
        RingDrain(Ref(0)),
        *[ProgRun(Ref(1), data=SEND), ProgRun(Ref(2), data=SEND), ProgRun(Ref(1), data=SEND)],
        RingDrain(Ref(0)),
        RingDrain(Ref(0)),
    )
    assert drained(results[3]) == ((), 0, 0)
    assert drained(results[7]) == ((u64(1), u64(2) + bytes(16), u64(1)), 0, 0)
    assert drained(results[8]) == ((), 0, 0)


def test_discarded_records_are_counted(run: Run) -> None:
    results = run(
        MapCreate(RINGBUF, 0, 0, PAGE),
        program(discarding(), maps=(Ref(0),)),
        program(emitting(9), maps=(Ref(0),)),
        *[ProgRun(Ref(1), data=SEND), ProgRun(Ref(2), data=SEND), ProgRun(Ref(1), data=SEND)],
        RingDrain(Ref(0)),
        RingDrain(Ref(0)),
    )
    assert drained(results[6]) == ((u64(9),), 0, 2)
    assert drained(results[7]) == ((), 0, 0)


def test_records_that_wrap_around_the_end_are_whole(run: Run) -> None:
    """Records of 32 bytes with their header do not divide 4096 evenly once a short one shifted them."""
    results = run(MapCreate(RINGBUF, 0, 0, PAGE), program(emitting(7, size=40), maps=(Ref(0),)))
    ring, prog = check(results[0], Made).handle, results[1].handle  # type: ignore[union-attr]
    for _ in range(7):
        result = run(ProgRunMany(prog, data=(SEND,) * 60), RingDrain(ring))[1]
        assert drained(result)[0] == (u64(7) + bytes(32),) * 60
        assert check(result, Region).places == b"", "records of one size need no list of places"


def test_a_full_ring_keeps_what_fits(run: Run) -> None:
    results = run(
        MapCreate(RINGBUF, 0, 0, PAGE),
        program(emitting(7), maps=(Ref(0),)),
        ProgRunMany(Ref(1), data=(SEND,) * 600),
        RingDrain(Ref(0)),
        ProgRun(Ref(1), data=SEND),
        RingDrain(Ref(0)),
    )
    kept = check(results[3], Region).count
    assert PAGE // 16 - 1 <= kept <= PAGE // 16
    assert drained(results[5])[0] == (u64(7),)


def test_long_and_mixed_streams_lose_nothing(run: Run) -> None:
    """More records than headers are read at once; runs of one size, then sizes in turn."""
    results = run(
        MapCreate(RINGBUF, 0, 0, 1 << 20),
        program(emitting(1), maps=(Ref(0),)),
        program(emitting(2, size=24), maps=(Ref(0),)),
    )
    ring, small, large = check(results[0], Made).handle, results[1].handle, results[2].handle  # type: ignore[union-attr]
    turns = [ProgRun(prog, data=SEND) for _ in range(20) for prog in (small, large)]
    results = run(
        ProgRunMany(small, data=(SEND,) * 9000), *turns, ProgRunMany(large, data=(SEND,) * 5000), RingDrain(ring)
    )
    one, two = u64(1), u64(2) + bytes(16)
    assert drained(results[-1]) == ((one,) * 9000 + (one, two) * 20 + (two,) * 5000, 0, 0)


def test_a_limit_leaves_the_rest_for_the_next_look(run: Run) -> None:
    results = run(MapCreate(RINGBUF, 0, 0, PAGE), program(emitting(1), maps=(Ref(0),)))
    ring, prog = check(results[0], Made).handle, results[1].handle  # type: ignore[union-attr]
    results = run(
        ProgRunMany(prog, data=(SEND,) * 10),
        *[RingDrain(ring, limit=64)] * 2,
        RingDrain(ring, limit=17),
        RingDrain(ring),
    )
    assert [check(result, Region).count for result in results[1:]] == [4, 4, 2, 0]


def test_waiting_ends_with_enough_records_or_with_time(run: Run) -> None:
    results = run(MapCreate(RINGBUF, 0, 0, PAGE), program(emitting(1), maps=(Ref(0),)), ProgRun(Ref(1), data=SEND))
    ring = check(results[0], Made).handle
    began = time.monotonic()
    assert check(run(RingDrain(ring, at_least=1, timeout_ms=60_000))[0], Region).count == 1
    assert time.monotonic() - began < 60  # before its time was up
    began = time.monotonic()
    assert run(RingDrain(ring, at_least=1, timeout_ms=150)) == [Region(b"")]
    assert time.monotonic() - began >= 0.15


def test_only_ring_buffers_are_drained(run: Run) -> None:
    results = run(MapCreate(2, 4, 8, 1, name="array"), Try(RingDrain(Ref(0))), Try(PerfOpen(Ref(0))))
    assert "is not a ring buffer (ARRAY)" in check(results[1], Failed).text
    assert "is not a perf event array (ARRAY)" in check(results[2], Failed).text


def test_perf_buffers(run: Run) -> None:
    results = run(
        MapCreate(PERF_ARRAY, 4, 4, 64, name="events"),
        program(perf_emitting(5), maps=(Ref(0),)),
        program(perf_emitting(6), maps=(Ref(0),)),
        PerfOpen(Ref(0), pages=4),
        PerfOpen(Ref(0), pages=4),
        *[ProgRun(Ref(1), data=SEND), ProgRun(Ref(2), data=SEND), ProgRun(Ref(1), data=SEND)],
        PerfDrain(Ref(0), at_least=3, timeout_ms=5000),
        PerfDrain(Ref(0)),
    )
    assert results[3:5] == [Done(), Done()]
    records = check(results[8], Records)
    assert [record[:8] for record in records.records] == [u64(5), u64(6), u64(5)]
    assert records.lost == 0
    again = check(results[9], Records)
    assert (again.records, again.lost) == ((), 0)


def test_lost_perf_records_are_counted(run: Run) -> None:
    results = run(
        MapCreate(PERF_ARRAY, 4, 4, 64),
        program(perf_emitting(5), maps=(Ref(0),)),
        PerfOpen(Ref(0), pages=1),
        ProgRunMany(Ref(1), data=(SEND,) * 1000),
        PerfDrain(Ref(0)),
    )
    events, prog = check(results[0], Made).handle, results[1].handle  # type: ignore[union-attr]
    first = check(results[4], Records)
    assert 0 < len(first.records) < 1000
    if first.all_lost:  # Linux 6.0 counts a loss when it happens
        assert len(first.records) + first.lost == 1000
    emitted, kept, lost = 1000, len(first.records), first.lost
    # The kernel tells of a processor's losses with the first record of that processor that fits again.
    for _ in range(200):
        if kept + lost == emitted:
            break
        again = check(run(ProgRunMany(prog, data=(SEND,) * 8), PerfDrain(events))[1], Records)
        emitted, kept, lost = emitted + 8, kept + len(again.records), lost + again.lost
    assert (kept + lost, lost > 0) == (emitted, True)


def test_perf_buffers_wrap_around(run: Run) -> None:
    results = run(MapCreate(PERF_ARRAY, 4, 4, 64), program(perf_emitting(3), maps=(Ref(0),)), PerfOpen(Ref(0), pages=1))
    events, prog = check(results[0], Made).handle, results[1].handle  # type: ignore[union-attr]
    for _ in range(9):
        seen = check(run(ProgRunMany(prog, data=(SEND,) * 50), PerfDrain(events))[1], Records)
        assert [record[:8] for record in seen.records] == [u64(3)] * 50


def test_perf_buffers_have_rules(run: Run) -> None:
    results = run(
        MapCreate(PERF_ARRAY, 4, 4, 64, name="events"), Try(PerfDrain(Ref(0))), Try(PerfOpen(Ref(0), pages=3))
    )
    assert "PerfOpen comes first" in check(results[1], Failed).text
    assert "1, 2, 4, 8" in check(results[2], Failed).text


def test_an_answer_tells_whether_the_kernel_log_has_news(kernel: Kernel, run: Run) -> None:
    """So that a test whose kernel said nothing costs no round trip to find out."""
    if not isinstance(kernel, RemoteKernel):
        pytest.skip("this kernel is asked in this process")
    mark = check(run(KmsgSince())[0], Kmsg).mark
    run()
    assert kernel.logged == mark
    run(WriteFile("/dev/kmsg", b"<6>pytest-ebpf: news\n"))
    assert kernel.logged == -1
    seen = check(run(KmsgSince(mark))[0], Kmsg)
    assert kernel.logged == seen.mark > mark


def test_trace_pipe(run: Run) -> None:
    run(Try(SwitchOn("tracefs", "tracing_on")))  # another tool, or an oops, may have set it to 0
    results = run(
        program(printing(b"hello!\n"), type=6),
        ProgRun(Ref(0), data=SEND),
        TraceOpen(),
        TraceDrain(Ref(2)),
        ProgRun(Ref(0), data=SEND),
        TraceDrain(Ref(2), timeout_ms=20_000),
        TraceDrain(Ref(2), timeout_ms=20),
    )
    assert results[3] == Data(b"")
    text = check(results[5], Data).data
    assert text.count(b"hello!") == 1
    assert results[6] == Data(b"")


def test_tracing_is_on_for_a_scope(run: Run) -> None:
    made = check(run(SwitchOn("tracefs", "tracing_on"))[0], Made)
    assert made.handle.name.startswith("tracing_on")
    assert run(Close(made.handle)) == [Done()]


def test_the_kernel_log_since_a_mark(run: Run) -> None:
    mark = check(run(KmsgSince())[0], Kmsg).mark
    # Without the newline the kernel waits for a continuation of the line before anybody can read it.
    words = f"pytest-ebpf contract {os.urandom(4).hex()}"
    run(WriteFile("/dev/kmsg", f"<6>{words} one\n".encode()), WriteFile("/dev/kmsg", f"<6>{words} two\ttab\n".encode()))
    for _ in range(2):  # a mark may be used again
        kmsg = check(run(KmsgSince(mark))[0], Kmsg)
        ours = [line for line in kmsg.lines if words in line]
        assert [line.split("] ", 1)[1] for line in ours] == [f"{words} one", f"{words} two\ttab"]
        assert kmsg.dropped == 0
        assert kmsg.mark >= mark + 2
    assert words not in " ".join(check(run(KmsgSince(kmsg.mark))[0], Kmsg).lines)


def test_a_program_that_does_nothing_emits_nothing(run: Run) -> None:
    results = run(MapCreate(RINGBUF, 0, 0, PAGE), program(returning(2)), ProgRun(Ref(1), data=SEND), RingDrain(Ref(0)))
    assert results[3] == Region(b"")
