"""Attaching, one test per kind of attachment: the event is made to happen and its effect is seen."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pytest_ebpf import Bpf, BpfUsageError, ObjectError
from support.host_policy import policy_of_the_host
from support.paths import TESTS

pytestmark = pytest.mark.slow

BUILT = TESTS / "data" / "attach" / "built"
# Calls getppid() of the C library as often as it is told; the second form says its pid first.
CALLS = "import ctypes, sys; c = ctypes.CDLL('libc.so.6')\nfor _ in range(int(sys.argv[1])): c.getppid()"
TALK = """
import socket
server = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(server.getsockname()[:2])
peer, _ = server.accept()
client.sendall(b'hello')
assert peer.recv(5) == b'hello'
"""
PING = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))"


def python(bpf_vm: Any, code: str, *args: str) -> Any:
    done = bpf_vm.run(["/usr/bin/env", "python3", "-c", code, *args])
    return done


@pytest.mark.attach_kind("iter")
def test_iterator_over_tasks(bpf: Bpf) -> None:
    with bpf.load(BUILT / "iterators.bpf.o", only=["each_task"])["each_task"].attach() as link:
        lines = [tuple(map(int, line.split())) for line in link.text().splitlines()]
    processes = {process for process, _ in lines}
    assert len(processes) > 1
    assert all((process, process) in lines for process in processes)


@pytest.mark.bpf_kernel(">=6.1")
@pytest.mark.attach_kind("iter", option="of a process or thread")
def test_iterator_over_one_task(bpf: Bpf) -> None:
    program = bpf.load(BUILT / "iterators.bpf.o", only=["each_task"])["each_task"]
    threads = program.attach(pid=2).text().splitlines()
    assert len({line.split()[0] for line in threads}) == 1
    assert len(program.attach(tid=2).text().splitlines()) == 1
    assert len(program.attach().text().splitlines()) > len(threads)
    with pytest.raises(BpfUsageError, match="exclude each other"):
        program.attach(pid=2, tid=2)


@pytest.mark.attach_kind("iter", option="of a map's elements")
def test_iterator_over_a_map(bpf: Bpf) -> None:
    with policy_of_the_host(bpf):
        obj = bpf.load(BUILT / "iterators.bpf.o", only=["each_element"])
    obj.maps["counts"][3] = 77
    link = obj["each_element"].attach(map=obj.maps["counts"])
    assert struct.unpack("=8Q", link.read()) == (0, 0, 0, 77, 0, 0, 0, 0)
    assert link.read() == link.read()
    with pytest.raises(BpfUsageError, match="map= expects a loaded map"):
        obj["each_element"].attach(map="counts")


@pytest.mark.attach_kind("uprobe")
@pytest.mark.attach_kind("uretprobe")
def test_uprobe_and_uretprobe(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(BUILT / "uprobes.bpf.o", only=["entered", "returned"])
    for name in ("entered", "returned"):
        obj[name].attach(binary="libc.so.6", symbol="getppid")
    python(bpf_vm, CALLS, "100")
    assert obj.maps["counts"][0] >= 100
    assert obj.maps["counts"][1] >= 100


def test_uprobe_of_a_process_and_detached(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(BUILT / "uprobes.bpf.o", only=["entered"])
    with obj["entered"].attach(binary="libc", symbol="getppid", pid=1):
        python(bpf_vm, CALLS, "100")
    assert obj.maps["counts"][0] < 100
    with obj["entered"].attach(binary="libc", symbol="getppid"):
        pass
    before = obj.maps["counts"][0]
    python(bpf_vm, CALLS, "100")
    assert obj.maps["counts"][0] == before


def test_uprobe_on_nothing_says_what_there_is(bpf: Bpf) -> None:
    program = bpf.load(BUILT / "uprobes.bpf.o", only=["entered"])["entered"]
    with pytest.raises(ObjectError, match="getppid"):
        program.attach(binary="libc.so.6", symbol="getppidd")
    with pytest.raises(BpfUsageError, match="no library or program"):
        program.attach(binary="libnothing.so", symbol="x")
    with pytest.raises(BpfUsageError, match="needs symbol="):
        program.attach(binary="libc.so.6")
    with pytest.raises(BpfUsageError, match="needs binary="):
        program.attach()


@pytest.mark.bpf_kernel(">=5.15")
@pytest.mark.attach_kind("uprobe", option="cookie")
def test_uprobe_cookie(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(BUILT / "uprobes.bpf.o", only=["with_cookie"])
    with obj["with_cookie"].attach(binary="libc.so.6", symbol="getppid", cookie=1 << 40):
        python(bpf_vm, CALLS, "1")
    assert obj.maps["counts"][2] == 1 << 40


@pytest.mark.bpf_kernel(">=6.6")
@pytest.mark.attach_kind("uprobe.multi")
def test_uprobe_multi(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(BUILT / "uprobes.bpf.o", only=["many", "many_returned"])
    obj["many"].attach(binary="libc.so.6", symbol=["getppid", "getpgid"], cookies=[11, 12])
    obj["many_returned"].attach(binary="libc.so.6", symbol="getppid")
    python(bpf_vm, CALLS, "100")
    assert obj.maps["counts"][3] >= 100
    assert obj.maps["counts"][4] >= 100
    assert obj.maps["counts"][2] in (11, 12)
    with pytest.raises(BpfUsageError, match="list of 2 integers"):
        obj["many"].attach(binary="libc.so.6", symbol=["getppid", "getpgid"], cookies=[1])


@pytest.mark.bpf_kernel(">=5.18")
@pytest.mark.bpf_feature("config:CONFIG_FPROBE")
@pytest.mark.attach_kind("kprobe.multi")
def test_kprobe_multi(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(BUILT / "kprobes.bpf.o", only=["entered", "returned"])
    obj["entered"].attach(function=["vfs_read", "vfs_write"], cookies=[5, 6])
    obj["returned"].attach(function="vfs_re*")
    bpf_vm.run(["/bin/cat", "/proc/self/stat"])
    assert obj.maps["counts"][0] > 0
    assert obj.maps["counts"][1] > 0
    assert obj.maps["counts"][2] in (5, 6)
    with pytest.raises(BpfUsageError, match="no function of this kernel"):
        obj["entered"].attach(function="no_such_thing_*")


@pytest.mark.attach_kind("perf_event", option="software, by frequency")
def test_perf_event_of_every_processor(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(BUILT / "perf_events.bpf.o")
    with obj["sampled"].attach(event="cpu-clock", frequency=1000):
        python(bpf_vm, "for i in range(300_000): pass")
    seen = obj.maps["counts"][0]
    assert seen > 0
    python(bpf_vm, "for i in range(300_000): pass")
    assert obj.maps["counts"][0] == seen


@pytest.mark.attach_kind("perf_event", option="software, by period")
def test_perf_event_by_period(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(BUILT / "perf_events.bpf.o")
    with obj["sampled"].attach(event="context-switches", period=1):
        python(bpf_vm, "import time; time.sleep(0.01)")
    assert obj.maps["counts"][0] > 0
    with pytest.raises(BpfUsageError, match="either period"):
        obj["sampled"].attach(event="cpu-clock")
    with pytest.raises(BpfUsageError) as error:
        obj["sampled"].attach(event="cpu-clok", period=1)
    assert "did you mean cpu-clock" in str(error.value) + error.value.hint


@pytest.mark.bpf_kernel(">=6.4")
@pytest.mark.bpf_feature("config:CONFIG_NETFILTER_BPF_LINK")
@pytest.mark.attach_kind("netfilter")
def test_netfilter(bpf: Bpf, bpf_vm: Any) -> None:
    obj = bpf.load(BUILT / "netfilter.bpf.o")
    with obj["seen"].attach(family="ipv4", hook="output"):
        python(bpf_vm, PING)
        assert obj.maps["counts"][0] > 0
        with obj["dropped"].attach(family="ipv4", hook="output", priority=-200):
            before = obj.maps["counts"][0]
            assert python(bpf_vm, PING).returncode == 1
            assert obj.maps["counts"][0] == before
        assert obj.maps["counts"][1] > 0
    with pytest.raises(BpfUsageError, match="hook= must be one of prerouting"):
        obj["seen"].attach(family="ipv4", hook="out")


@pytest.mark.attach_kind("sk_msg")
def test_sk_msg_on_a_sockmap(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "sockets.bpf.o", only=["established", "sending", "refusing"])
    group = bpf.cgroup()
    obj["established"].attach(cgroup=group)
    with obj["sending"].attach(map=obj.maps["sockets"]):
        assert group.run(["/usr/bin/env", "python3", "-c", TALK]).returncode == 0
    assert obj.maps["counts"][0] == 1
    with obj["refusing"].attach(map=obj.maps["sockets"]):
        assert group.run(["/usr/bin/env", "python3", "-c", TALK]).returncode == 1
    assert obj.maps["counts"][2] == 1
    assert group.run(["/usr/bin/env", "python3", "-c", TALK]).returncode == 0
    assert obj.maps["counts"][0] == 1
    with pytest.raises(BpfUsageError, match="sockmap or sockhash"):
        obj["sending"].attach(map=obj.maps["counts"])


@pytest.mark.bpf_kernel(">=5.13")
@pytest.mark.attach_kind("sk_skb/verdict")
def test_sk_skb_on_a_sockmap(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "sockets.bpf.o", only=["established", "receiving"])
    group = bpf.cgroup()
    obj["established"].attach(cgroup=group)
    with obj["receiving"].attach(map=obj.maps["sockets"]):
        assert group.run(["/usr/bin/env", "python3", "-c", TALK]).returncode == 0
    assert obj.maps["counts"][1] > 0
