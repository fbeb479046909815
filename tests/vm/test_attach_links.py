"""Links in the hands of a test: detached, updated, pinned, let go, taken over, again and again."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from pytest_ebpf import Bpf, BpfUsageError, KernelCallError, Program
from pytest_ebpf.agent.ops import Data, Handle, ListDir
from support.attach_events import BUILT
from support.network_events import arrives, namespace

NETWORK, CGROUPS = BUILT / "network.bpf.o", BUILT / "cgroups.bpf.o"


@pytest.fixture
def netns(bpf: Bpf) -> Handle:
    return namespace(bpf)


def unique(prefix: str) -> str:
    return f"{prefix}-{os.getpid()}-{os.urandom(4).hex()}"


def test_with_detaches_and_twice_is_harmless(bpf: Bpf, netns: Handle) -> None:
    obj = bpf.load(NETWORK, only=["xdp_drop", "xdp_pass"])
    with obj["xdp_drop"].attach(interface="lo", mode="skb", netns=netns) as link:
        assert not arrives(bpf, netns)
    assert arrives(bpf, netns)
    link.detach()
    assert not link.attached
    with pytest.raises(BpfUsageError, match="cannot be updated: it is detached"):
        link.update(obj["xdp_pass"])
    with pytest.raises(BpfUsageError, match="cannot be pinned: it is detached"):
        link.pin("x")


def test_a_pinned_link_is_taken_over(bpf: Bpf, netns: Handle) -> None:
    obj = bpf.load(NETWORK, only=["xdp_drop", "xdp_pass"])
    name = unique("link")
    link = obj["xdp_drop"].attach(interface="lo", mode="skb", netns=netns).pin(name)
    assert link.pins == (f"/sys/fs/bpf/{name}",)
    with pytest.raises(KernelCallError) as error:
        link.pin(name)
    assert "exists already" in str(error.value.hint)
    number = link.info.id
    link.release()
    assert not arrives(bpf, netns)
    taken = bpf.pinned_link(name)
    assert (taken.info.id, taken.mechanism, taken.program.name) == (number, "xdp link", "xdp_drop")
    taken.update(obj["xdp_pass"])
    assert arrives(bpf, netns)
    taken.update(obj["xdp_drop"])
    taken.detach()
    assert arrives(bpf, netns)
    with pytest.raises(KernelCallError) as error:
        bpf.pinned_link(name)
    assert "Nothing is pinned at" in str(error.value.hint)


def test_a_link_outlives_its_pin(bpf: Bpf, netns: Handle) -> None:
    obj = bpf.load(NETWORK, only=["xdp_drop"])
    name = unique("link")
    with obj["xdp_drop"].attach(interface="lo", mode="skb", netns=netns).pin(name) as link:
        link.unpin()
        assert link.pins == ()
        assert not arrives(bpf, netns)
        link.pin(f"/sys/fs/bpf/{name}")
        assert bpf.pinned_link(name).info.id == link.info.id


def test_what_is_no_link_object_says_so(bpf: Bpf) -> None:
    obj = bpf.load(CGROUPS, only=["step1"])
    link = obj["step1"].attach(cgroup=bpf.cgroup(), mechanism="attach")
    assert not link.is_object
    with pytest.raises(BpfUsageError, match="which cannot be pinned"):
        link.pin(unique("link"))
    with pytest.raises(BpfUsageError, match="which is not a link object"):
        _ = link.info


def test_pins_elsewhere(bpf: Bpf, netns: Handle) -> None:
    link = bpf.load(NETWORK, only=["xdp_drop"])["xdp_drop"].attach(interface="lo", mode="skb", netns=netns)
    with pytest.raises(KernelCallError) as error:
        link.pin("/run/x")
    assert "not in a bpf file system" in str(error.value.hint)
    with pytest.raises(KernelCallError) as error:
        link.pin("no/such/directory")
    assert "/sys/fs/bpf exists" in str(error.value.hint)
    with pytest.raises(BpfUsageError, match="expected a name or path for the pin"):
        link.pin("")


def test_update_to_a_program_of_another_type(bpf: Bpf, netns: Handle) -> None:
    obj = bpf.load(NETWORK, only=["xdp_drop", "tc_one"])
    with obj["xdp_drop"].attach(interface="lo", mode="skb", netns=netns) as link:
        with pytest.raises(KernelCallError) as error:
            link.update(obj["tc_one"])
        assert error.value.hint
        assert link.program.name == "xdp_drop"
        with pytest.raises(BpfUsageError, match=r"update\(\) expects a loaded program"):
            link.update("xdp_pass")  # type: ignore[arg-type]


def talk(bpf: Bpf) -> None:
    """Send 50 kB over a connection that asks for the congestion control."""
    server = bpf.socket("tcp").bind().listen()
    client = bpf.socket("tcp").setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, value=b"pe_fixed")
    peer = client.connect(server) and server.accept()
    for _ in range(5):
        client.send(bytes(10_000))
        received = 0
        while received < 10_000:
            received += len(peer.recv())


@pytest.mark.attach_kind("struct_ops", option="update")
@pytest.mark.bpf_kernel(">=6.4")
@pytest.mark.bpf_feature("btf")
def test_a_table_takes_the_place_of_another(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "congestion.bpf.o")
    with obj.struct_ops["first"].attach() as link:
        talk(bpf)
        assert (obj.globals["largest"], obj.globals["acknowledged_by_second"]) == (4, 0)
        link.update(obj.struct_ops["second"])
        before = obj.globals["acknowledged"]
        talk(bpf)
        assert obj.globals["acknowledged_by_second"] > 0
        assert obj.globals["acknowledged"] == before
        assert link.program is obj.struct_ops["second"]
    with pytest.raises(KernelCallError, match="ENOENT"):
        talk(bpf)


# Of what test_attach_tracing_cycles.py does not have.
CYCLES = 1000 if "PYTEST_EBPF_LONG" in os.environ else 20


def left(bpf: Bpf, *names: Program) -> tuple[int, list[int]]:
    """Open files of the process that makes the system calls, and links of the programs."""
    files = bpf.session.one(ListDir("/proc/self/fd"), Data).data.count(b"\0")
    own = {program.id for program in names}
    return files, [link.id for link in bpf.loaded.links() if link.info.prog_id in own]


def again_and_again(bpf: Bpf, program: Program, **options: Any) -> None:
    """Attach and detach; nothing of it stays."""
    program.attach(**options).detach()  # opens what is kept: a socket for netlink
    before = left(bpf, program)
    for _ in range(CYCLES):
        with program.attach(**options):
            pass
    assert left(bpf, program) == before
    assert before[1] == []


def test_again_and_again_on_a_namespace(bpf: Bpf, netns: Handle) -> None:
    again_and_again(bpf, bpf.load(NETWORK, only=["dissect"])["dissect"], netns=netns, mechanism="attach")
    assert bpf.attached(netns=netns) == ()


@pytest.mark.parametrize("way", ["attach", pytest.param("link", marks=pytest.mark.bpf_kernel(">=6.10"))])
def test_again_and_again_on_a_map(bpf: Bpf, way: str) -> None:
    obj = bpf.load(BUILT / "sockets.bpf.o", only=["sending"])
    again_and_again(bpf, obj["sending"], map=obj.maps["sockets"], mechanism=way)


def test_again_and_again_on_a_socket(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "on_sockets.bpf.o", only=["let_in"])
    again_and_again(bpf, obj["let_in"], socket=bpf.socket("udp").bind())
