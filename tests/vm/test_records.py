"""Records of ring buffers and perf event arrays, none of which goes without being counted. The host unless kernels are
named."""

from __future__ import annotations

import asyncio

import pytest

from pytest_ebpf import Bpf, BpfUsageError, BpfVm
from support.paths import TESTS

RECORDS = TESTS / "objects" / "built" / "records.bpf.o"
FRAME, LARGE = bytes(64), bytes(2000)


def test_records_that_came_and_those_that_were_discarded(bpf: Bpf) -> None:
    obj = bpf.load(RECORDS)
    events = obj.maps["events"]
    obj["write"].run_many([FRAME] * 6)
    assert events.events() == [{"number": n, "kind": n % 3} for n in (0, 1, 3, 4)]
    assert (events.discarded, events.lost) == (2, 0)
    obj["write"].run_many([FRAME] * 3)
    assert events.expect({"number": 7}) == {"number": 7, "kind": 1}
    assert events.events() == [{"number": 6, "kind": 0}]
    assert events.discarded == 3
    assert events.events(timeout=0.05) == []


def test_a_full_ring_refuses_and_what_is_in_it_stays(bpf: Bpf) -> None:
    """The kernel does not count what it refuses: the program has to."""
    obj = bpf.load(RECORDS)
    obj["write"].run_many([FRAME] * 1000)
    events = obj.maps["events"]
    came = len(events.events())
    refused = obj.globals["refused"]
    assert refused > 0
    assert came + events.discarded + refused == 1000


def test_what_a_full_perf_buffer_loses_is_counted(bpf: Bpf) -> None:
    obj = bpf.load(RECORDS)
    samples, emitted, came = obj.maps["samples"], 1000, 0
    obj["sample"].run_many([LARGE] * emitted)
    came += len(samples.events())
    assert 0 < came < emitted
    assert came + samples.lost == emitted  # at once, before another record fits
    assert samples.events() == []  # of what asked for the losses nothing is left


def test_c7_what_expect_did_not_find_may_have_been_lost(bpf: Bpf) -> None:
    obj = bpf.load(RECORDS, perf_pages=2)
    samples = obj.maps["samples"]
    assert samples.definition.perf_pages == 2
    obj["sample"].run_many([LARGE] * 100)
    with pytest.raises(AssertionError, match=r"(?s)dropped \d+ records.*perf_pages=4\) makes it larger \(now 2 pages"):
        samples.expect(lambda record: False, timeout=0.05)
    larger = bpf.load(RECORDS, maps={"samples": {"perf_pages": 512}})
    larger["sample"].run_many([LARGE] * 900)
    assert len(larger.maps["samples"].events()) == 900
    assert larger.maps["samples"].lost == 0
    with pytest.raises(BpfUsageError, match="perf_pages=3 is no power of two"):
        bpf.load(RECORDS, perf_pages=3)


def test_c7_losses_are_asked_for_where_the_kernel_tells_late(bpf: Bpf, monkeypatch: pytest.MonkeyPatch) -> None:
    """As before Linux 6.0: the format of which the kernel does not know is asked for."""
    monkeypatch.setattr("pytest_ebpf.uapi.numbers.PERF_FORMAT_LOST", 1 << 40)
    obj = bpf.load(RECORDS, perf_pages=2)
    samples = obj.maps["samples"]
    obj["sample"].run_many([LARGE] * 100)
    came = samples.events()
    assert 0 < len(came) < 100
    assert len(came) + samples.lost == 100
    assert samples.events() == []  # of what asked for the losses nothing is left
    assert samples.lost == 100 - len(came)


# Runs a pinned program so often, with pauses: what a tool of the project under test does.
RUN_PINNED = """
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
path = ctypes.create_string_buffer(b"/sys/fs/bpf/" + sys.argv[1].encode())
number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
attr = ctypes.create_string_buffer(struct.pack("=QI", ctypes.addressof(path), 0).ljust(120, b"\\0"))
fd = libc.syscall(number, 7, attr, 120)
data = ctypes.create_string_buffer(2000)
for _ in range(int(sys.argv[2])):
    run = struct.pack("=IIIIQQII", fd, 0, 2000, 0, ctypes.addressof(data), 0, int(sys.argv[3]), 0).ljust(120, b"\\0")
    attr = ctypes.create_string_buffer(run)
    assert libc.syscall(number, 10, attr, 120) == 0
    time.sleep(0.02)
"""


def test_c7_events_are_read_while_a_command_runs(bpf: Bpf, bpf_vm: BpfVm) -> None:
    """A command that causes many times the records that fit the buffers, with pauses."""
    obj = bpf.load(RECORDS, perf_pages=4)
    samples = obj.maps["samples"]
    obj["sample"].pin("sample_of_c7")
    bpf_vm.run(["python3", "-c", RUN_PINNED, "sample_of_c7", "60", "1"], timeout=60)
    assert (len(samples.events()), samples.lost) == (60, 0)


@pytest.mark.parametrize("how", ["run", "start"])
def test_c7_a_ring_is_read_while_a_command_runs(bpf: Bpf, bpf_vm: BpfVm, how: str) -> None:
    """Of records of 16 bytes 256 fit the ring; here are 900 that nobody has asked for yet."""
    obj = bpf.load(RECORDS)
    obj["write"].pin("write_of_c7")
    argv = ["python3", "-c", RUN_PINNED, "write_of_c7", "30", "30"]
    if how == "run":
        bpf_vm.run(argv, timeout=60).check()
    else:
        bpf_vm.start(argv).wait(timeout=60)
    events = obj.maps["events"]
    assert [record["number"] for record in events.events()] == [n for n in range(900) if n % 3 < 2]
    assert (events.discarded, obj.globals["refused"]) == (300, 0)


def test_c7_the_reader_of_a_pinned_ring_may_be_the_command(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load(RECORDS)
    obj.maps["events"].pin("events_of_c7")
    obj["write"].pin("write_of_c7")
    bpf_vm.run(["python3", "-c", RUN_PINNED, "write_of_c7", "10", "60"], timeout=60).check()
    assert obj.globals["refused"] > 0


def test_records_as_they_come(bpf: Bpf) -> None:
    obj = bpf.load(RECORDS)
    events = obj.maps["events"]
    obj["write"].run_many([FRAME] * 3)
    assert [record["number"] for record in events.follow(timeout=0.1)] == [0, 1]  # type: ignore[index]

    async def numbers() -> list[int]:
        found = []
        async for record in events.follow(timeout=5.0):
            found.append(record["number"])  # type: ignore[index]
            if len(found) == 4:
                break
        return found

    async def both() -> list[int]:
        reader = asyncio.create_task(numbers())
        for _ in range(6):
            await asyncio.sleep(0)
            obj["write"].run(FRAME)
        return await reader

    assert asyncio.run(both()) == [3, 4, 6, 7]


def test_what_was_expected_and_what_came(bpf: Bpf) -> None:
    obj = bpf.load(RECORDS)
    obj["write"].run_many([FRAME] * 2)
    with pytest.raises(AssertionError, match=r"(?s)no record of map 'events' matched.*'number': 1"):
        obj.maps["events"].expect({"number": 9}, timeout=0.05)
    assert len(obj.maps["events"].events()) == 2  # nothing was taken


def test_many_records_are_read_as_one_piece(bpf: Bpf) -> None:
    obj = bpf.load(RECORDS, maps={"events": 1 << 24})
    events = obj.maps["events"]
    obj["write"].run_many([FRAME] * 30_000)
    raw = events.raw_events()
    assert (len(raw), events.discarded, obj.globals["refused"]) == (20_000, 10_000, 0)
    assert bytes(raw[-1]) == (29_998).to_bytes(4, "little") + (29_998 % 3).to_bytes(4, "little")
