"""Programs on functions of user space and on USDT probes: called by programs that the test runs.

Runs on the host unless kernels are named (--bpf-kernels); ``ci/program_types.py`` names them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_ebpf import Bpf, BpfUsageError, ObjectError, PlanError
from support.attach_events import BUILT, PYTHON, python

pytestmark = pytest.mark.slow

TARGET, SERVER = str(BUILT / "usdt_target"), str(BUILT / "usdt_server")
CALL = "import ctypes; c = ctypes.CDLL('libc.so.6')\nfor _ in range(10): c.getppid()"


@pytest.fixture
def server(bpf_vm: Any) -> Iterator[int]:
    """A program that hits a probe again and again: its process."""
    with bpf_vm.start([SERVER]) as running:
        yield running.pid


def wait_for(counts: Any, slot: int) -> None:
    deadline = time.monotonic() + 20
    while not counts[slot]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.attach_kind("uprobe", option="of one process, in its own libraries")
def test_uprobe_of_a_process(bpf: Bpf, bpf_vm: Any) -> None:
    """Only that process is seen; a library is found among those that it has mapped."""
    code = "import ctypes, time\nc = ctypes.CDLL('libc.so.6')\nprint('ready', flush=True)\n"
    code += "while True: c.getppid(); time.sleep(0.01)"
    obj = bpf.load(BUILT / "uprobes.bpf.o", only=["entered"])
    with bpf_vm.start([*PYTHON, "-c", code]) as running:
        running.expect("ready")
        with obj["entered"].attach(binary="libc.so.6", symbol="getppid", pid=running.pid) as link:
            assert link.target.startswith(f"/proc/{running.pid}/root/")
            wait_for(obj.maps["counts"], 0)
    obj.maps["counts"][0] = 0
    with bpf_vm.start(["/bin/sleep", "60"]) as other:
        with obj["entered"].attach(binary="libc.so.6", symbol="getppid", pid=other.pid):
            python(bpf_vm, CALL)
        assert obj.maps["counts"][0] == 0
    with pytest.raises(BpfUsageError, match="there is no process 999999"):
        obj["entered"].attach(binary="libc.so.6", symbol="getppid", pid=999999)


@pytest.mark.attach_kind("uprobe", option="at an offset")
def test_uprobe_at_an_offset(bpf: Bpf, bpf_vm: Any) -> None:
    """The place of a function in the file, which is where its symbol is."""
    from pytest_ebpf.obj.executables import function_places

    obj = bpf.load(BUILT / "uprobes.bpf.o", only=["entered"])
    path = obj["entered"].attach(binary="libc.so.6", symbol="getppid").target.partition(":")[0]
    (place,) = function_places(bpf_vm.read_file(path), ("getppid",), path=path)
    obj.maps["counts"][0] = 0
    with obj["entered"].attach(binary=path, offset=place):
        python(bpf_vm, CALL)
    assert obj.maps["counts"][0] >= 20  # both are attached


@pytest.mark.bpf_kernel(">=6.0")
@pytest.mark.attach_kind("uprobe.s")
def test_uprobe_that_sleeps(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(BUILT / "uprobes.bpf.o", only=["sleeping"])
    with obj["sleeping"].attach(binary="libc.so.6", symbol="getppid"):
        python(bpf_vm, CALL)
    assert obj.maps["counts"][0] >= 10


@pytest.mark.attach_kind("uprobe.multi", option="by pattern or offset")
def test_uprobe_multi_by_pattern(bpf: Bpf, bpf_vm: Any) -> None:
    """Kernels before 6.6 get a perf event for each place instead of a link."""
    obj = bpf.load(BUILT / "uprobes.bpf.o", only=["many_returned"])
    with obj["many_returned"].attach(binary="libc.so.6", symbol=["getpp?d", "getpgid"]) as link:
        python(bpf_vm, CALL)
        assert link.target.endswith(":getpp?d,getpgid")
    seen = obj.maps["counts"][4]
    assert seen >= 10
    python(bpf_vm, CALL)
    assert obj.maps["counts"][4] == seen
    with pytest.raises(ObjectError, match=r"none of its functions matches 'getppidd\*'") as error:
        obj["many_returned"].attach(binary="libc.so.6", symbol="getppidd*")
    assert "getppid" in error.value.hint


@pytest.mark.bpf_kernel(">=6.13")
@pytest.mark.attach_kind("uprobe.session")
def test_uprobe_session(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(BUILT / "uprobes.bpf.o", only=["both_ends"])
    with obj["both_ends"].attach(binary="libc.so.6", symbol="getppid"):
        python(bpf_vm, CALL)
    assert obj.maps["counts"][5] >= 20
    assert obj.maps["counts"][5] % 2 == 0


def test_binaries_and_symbols_that_are_not_there(bpf: Bpf) -> None:
    program = bpf.load(BUILT / "uprobes.bpf.o", only=["entered"])["entered"]
    with pytest.raises(BpfUsageError, match="cannot be read") as error:
        program.attach(binary="/usr/bin/enw", symbol="main")
    assert "/usr/bin/env" in error.value.hint
    with pytest.raises(ObjectError, match="it is no program or library"):
        program.attach(binary="/etc/passwd", symbol="main")
    with pytest.raises(ObjectError, match="it has no function 'getppidd'") as missing:
        program.attach(binary="libc.so.6", symbol="getppidd")
    assert "did you mean getppid" in missing.value.hint


@pytest.mark.attach_kind("usdt")
def test_usdt(bpf: Bpf, bpf_vm: Any) -> None:
    """All places of the probe, and every kind of argument: constant, register, half of one, memory, a byte."""
    obj = bpf.load(BUILT / "usdt.bpf.o")
    counts = obj.maps["counts"]
    with obj["seen"].attach(binary=TARGET, provider="demo", name="mixed", cookie=1 << 40):
        bpf_vm.run([TARGET])
    signed = [value - (1 << 64) if value >> 63 else value for value in counts.values()]
    assert signed == [2, -7, 1002, -5, -333, 0xFF, 5, 1 << 40]
    bpf_vm.run([TARGET])
    assert counts[0] == 2


@pytest.mark.attach_kind("usdt", option="semaphore")
def test_usdt_semaphore(bpf: Bpf, bpf_vm: Any) -> None:
    """The program looks whether anybody listens, and says how often it hit the probe."""
    obj = bpf.load(BUILT / "usdt.bpf.o")
    assert bpf_vm.run([TARGET]).stdout == b"0\n"
    with obj["seen"].attach(binary=TARGET, provider="demo", name="guarded"):
        assert bpf_vm.run([TARGET]).stdout == b"2\n"
        assert obj.maps["counts"][1] == 42
    assert bpf_vm.run([TARGET]).stdout == b"0\n"
    with obj["seen"].attach(binary=TARGET, provider="demo", name="none"):
        bpf_vm.run([TARGET])
    assert (obj.maps["counts"][0], obj.maps["counts"][6]) == (3, 0)


@pytest.mark.attach_kind("usdt", option="of one process")
def test_usdt_of_a_process(bpf: Bpf, bpf_vm: Any, server: int) -> None:
    """A position-independent program: kernels without cookies have to know the process."""
    obj = bpf.load(BUILT / "usdt.bpf.o")
    with obj["seen"].attach(binary=SERVER, provider="demo", name="mixed", pid=server):
        wait_for(obj.maps["counts"], 0)
    assert obj.maps["counts"][2] == 1003
    if not bpf.has("attach:perf_link"):
        with pytest.raises(PlanError, match=r"the address of .* in memory is not known") as error:
            obj["seen"].attach(binary=SERVER, provider="demo", name="mixed")
        assert error.value.since == "5.15"


def test_usdt_attached_again_and_again_takes_no_more_room(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(BUILT / "usdt.bpf.o", maps={"__bpf_usdt_specs": 3})
    for _ in range(5):
        obj["seen"].attach(binary=TARGET, provider="demo", name="mixed", cookie=1).detach()
    with (
        obj["seen"].attach(binary=TARGET, provider="demo", name="guarded"),
        obj["seen"].attach(binary=TARGET, provider="demo", name="none"),
        pytest.raises(BpfUsageError, match="is full with 3 places") as error,
    ):
        obj["seen"].attach(binary=TARGET, provider="demo", name="mixed", cookie=2)
    assert "maps={'__bpf_usdt_specs': 12}" in error.value.hint
    if not bpf.has("attach:perf_link"):
        assert len(obj.maps["__bpf_usdt_ip_to_spec_id"]) == 0


def test_usdt_probes_that_are_not_there(bpf: Bpf) -> None:
    program = bpf.load(BUILT / "usdt.bpf.o")["seen"]
    with pytest.raises(BpfUsageError, match="has no USDT probe demo:mixt") as error:
        program.attach(binary=TARGET, provider="demo", name="mixt")
    assert "did you mean demo:mixed" in error.value.hint
    with pytest.raises(BpfUsageError) as other:
        program.attach(binary=TARGET, provider="nothing", name="alike")
    assert "known: demo:mixed, demo:guarded, demo:none" in other.value.hint
    with pytest.raises(BpfUsageError) as none:
        program.attach(binary="libc.so.6", provider="demo", name="mixed")
    assert "no USDT probes at all" in none.value.hint
    with pytest.raises(BpfUsageError, match="needs binary="):
        program.attach()


def test_usdt_by_section_and_without_maps(bpf: Bpf, bpf_vm: Any) -> None:
    """A program that asks for no argument has no maps of probes, and its section says all."""
    section = f"usdt/{TARGET}:demo:none"
    obj = bpf.load(BUILT / "usdt_plain.bpf.o", programs={"collected": section}).attach()
    assert obj.links[0].target == f"{TARGET}:demo:none"
    bpf_vm.run([TARGET])
    assert obj.maps["counts"][0] == 1
