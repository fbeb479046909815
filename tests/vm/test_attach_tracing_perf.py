"""Perf events: software, hardware, caches, raw, breakpoints, any source; of a process, on a processor.

Runs on the host unless kernels are named (--bpf-kernels); ``ci/program_types.py`` names them.
"""

from __future__ import annotations

from typing import Any

import pytest

from pytest_ebpf import Bpf, BpfUsageError, KernelCallError, PlanError
from pytest_ebpf.live.attach.perf_event import PERF_EVENTS, PerfEvent, perf_event
from support.attach_events import BUILT, getpgid, python

pytestmark = pytest.mark.slow

OBJECT = BUILT / "perf_events.bpf.o"
BUSY = "for i in range(300_000): pass"


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(name, marks=pytest.mark.attach_kind("perf_event", option="software"))
        for name in ("cpu-clock", "task-clock", "page-faults", "minor-faults", "context-switches")
    ],
)
def test_software_events(bpf: Bpf, bpf_vm: Any, event: str) -> None:
    obj = bpf.load(OBJECT)
    period = 1_000_000 if "clock" in event else 1
    with obj["sampled"].attach(event=event, period=period):
        python(
            bpf_vm,
            "import time\nx=bytearray(1<<24)\nfor i in range(50): time.sleep(0.001)\nfor i in range(300_000): pass",
        )
    seen = obj.maps["counts"][0]
    assert seen > 0
    python(bpf_vm, BUSY)
    assert obj.maps["counts"][0] == seen


@pytest.mark.attach_kind("perf_event", option="of one process, with its children")
def test_of_a_process(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(OBJECT)
    code = "import sys, subprocess\nprint('ready', flush=True)\nsys.stdin.readline()\n"
    code += f"subprocess.run([sys.executable, '-c', '{BUSY}'])\nprint('done', flush=True)\nsys.stdin.read()"
    seen = {}
    for inherit in (False, True):
        obj.maps["counts"][0] = 0
        with bpf_vm.start(["/usr/bin/env", "python3", "-c", code]) as running:
            running.expect("ready")
            with obj["sampled"].attach(event="page-faults", period=1, pid=running.pid, inherit=inherit):
                running.write("go\n")
                running.expect("done", timeout=30)
            seen[inherit] = obj.maps["counts"][0]
    assert seen[False] > 0
    assert seen[True] > 2 * seen[False]


@pytest.mark.attach_kind("perf_event", option="on one processor")
def test_on_a_processor(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(OBJECT)
    with obj["sampled"].attach(event="cpu-clock", frequency=1000, cpu=0):
        bpf_vm.run(["/usr/bin/env", "taskset", "1", "python3", "-c", BUSY])
    assert obj.maps["counts"][0] > 0
    with pytest.raises(KernelCallError):
        obj["sampled"].attach(event="cpu-clock", frequency=1000, cpu=4000)


@pytest.mark.bpf_feature("kprobe")
@pytest.mark.attach_kind("perf_event", option="breakpoint")
def test_breakpoints(bpf: Bpf, bpf_vm: Any) -> None:
    """A function that is executed and a variable that is written."""
    obj = bpf.load(OBJECT)
    with obj["sampled"].attach(event="mem:security_task_getpgid:x"):
        getpgid(bpf_vm)
    assert obj.maps["counts"][0] >= 10
    obj.maps["counts"][0] = 0
    with obj["sampled"].attach(event="mem:jiffies_64/8:w"):
        python(bpf_vm, BUSY)
    assert obj.maps["counts"][0] > 0
    with pytest.raises(BpfUsageError, match="has no symbol 'no_such_thing'"):
        obj["sampled"].attach(event="mem:no_such_thing:w")


@pytest.mark.parametrize(
    "event",
    [
        pytest.param("cpu-cycles", marks=pytest.mark.attach_kind("perf_event", option="hardware")),
        pytest.param("L1-dcache-loads", marks=pytest.mark.attach_kind("perf_event", option="cache")),
        pytest.param("raw:0xc0", marks=pytest.mark.attach_kind("perf_event", option="raw")),
    ],
)
def test_counters_of_the_processor(bpf: Bpf, bpf_vm: Any, event: str) -> None:
    """Where there are none, the refusal says what to use instead, and that is all that can be seen."""
    obj = bpf.load(OBJECT)
    link = refused = None
    try:
        link = obj["sampled"].attach(event=event, period=10_000)
    except PlanError as error:
        refused = error
    if refused is not None:
        assert "cpu-clock" in refused.hint
        pytest.skip(f"{refused.message.partition(': ')[2]}: there is no such counter on this machine")
    assert link is not None
    with link:
        python(bpf_vm, BUSY)
    assert obj.maps["counts"][0] > 0


def test_what_names_mean(bpf: Bpf) -> None:
    """perf(1)'s names; sources of sysfs are read from there."""
    program = bpf.load(OBJECT)["sampled"]

    def meant(name: object) -> PerfEvent:
        return perf_event(bpf.session, program.name, given=name)

    assert meant("L1-dcache-load-misses") == PerfEvent(3, 0x10000)
    assert meant("LLC-stores") == PerfEvent(3, 0x102)
    assert meant("branch-load-misses") == PerfEvent(3, 0x10005)
    assert meant("r1a8") == meant("raw:0x1a8") == meant((4, 0x1A8)) == PerfEvent(4, 0x1A8)
    assert meant("mem:0x1000/2:rw") == PerfEvent(5, 0, 0x1000, 2, breakpoint=3, counted=True)
    assert PERF_EVENTS["cgroup-switches"] == (1, 11)
    assert meant("software//").type == 1
    with pytest.raises(PlanError, match="no event source nothing") as error:
        meant("nothing/x/")
    assert "software" in error.value.hint
    with pytest.raises(BpfUsageError, match="has no event or term 'x'"):
        meant("software/x/")
    with pytest.raises(BpfUsageError, match="only tracepoint programs on tracepoints") as tracepoint:
        meant("tracepoint:sched/sched_switch")
    assert 'SEC("tp/sched/sched_switch")' in tracepoint.value.hint
    with pytest.raises(BpfUsageError, match="unknown perf event") as wrong:
        meant("L1-dcache-load-mises")
    assert "did you mean L1-dcache-load-misses" in wrong.value.hint


@pytest.mark.bpf_feature("kprobe")
def test_a_source_with_formats(bpf: Bpf) -> None:
    """The kprobe source says where its bits are."""
    program = bpf.load(OBJECT)["sampled"]
    found = perf_event(bpf.session, program.name, given="kprobe/retprobe/")
    assert found.config == 1
    found = perf_event(bpf.session, program.name, given="uprobe/retprobe=1,ref_ctr_offset=0x10/")
    assert found.config == 1 | 0x10 << 32
