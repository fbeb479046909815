"""tcp_window.bpf.c: a TCP congestion control that a connection asks for by name."""

import pytest

from pytest_ebpf import Bpf, BpfVm

pytestmark = [pytest.mark.bpf_feature("prog:struct_ops"), pytest.mark.attach_kind("struct_ops")]

TALK = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.socket()
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"lesson_window")
client.connect(server.getsockname())
peer, _ = server.accept()
for _ in range(200):
    client.sendall(bytes(20_000))
    left = 20_000
    while left:
        left -= len(peer.recv(left))
client.close()
"""


def test_a_connection_is_controlled(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("tcp_window.bpf.o", globals={"limit": 20}).attach()
    bpf_vm.run(["/usr/bin/env", "python3", "-c", TALK]).check()
    assert obj.globals["connections"] == 1
    assert obj.globals["closed"] == 1
    assert obj.globals["acknowledgements"] > 0
    assert obj.globals["largest"] == 20


def test_it_grows_by_one_packet_for_each_acknowledgement(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("tcp_window.bpf.o", globals={"limit": 100_000}).attach()
    bpf_vm.run(["/usr/bin/env", "python3", "-c", TALK]).check()
    assert 20 < obj.globals["largest"] <= 10 + obj.globals["acknowledgements"]


def test_it_is_known_while_it_is_attached(bpf: Bpf, bpf_vm: BpfVm) -> None:
    def known() -> bool:
        return b"lesson_window" in bpf_vm.read_file("/proc/sys/net/ipv4/tcp_available_congestion_control")

    obj = bpf.load("tcp_window.bpf.o")
    assert not known()
    with obj.struct_ops["lesson_window"].attach():
        assert known()
    assert not known()
    assert bpf_vm.run(["/usr/bin/env", "python3", "-c", TALK]).returncode == 1
