"""cgroup_egress.rs, short_cut.rs, mkdir_guard.rs: programs of control groups, sockets and the LSM."""

import pytest

from pytest_ebpf import Bpf, BpfLog, BpfVm

pytestmark = pytest.mark.bpf_feature("little_endian")
SEND = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x' * 100, ('127.0.0.1', %d))"
TALK = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
peer, _ = server.accept()
client.sendall(b"hello")
assert peer.recv(5) == b"hello"
"""
MKDIR = "import os, sys; sys.stdin.read(1); os.mkdir('%s')"


def python(bpf_vm: BpfVm, code: str, **options: object) -> int:
    return bpf_vm.run(["/usr/bin/env", "python3", "-c", code], **options).returncode  # type: ignore[arg-type]  # options as of bpf_vm.run


def test_what_a_group_sends(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("built/cgroup_egress.bpf.o", globals={"REFUSED_PORT": 9})
    group = bpf.cgroup()
    with obj["cgroup_egress"].attach(group):
        assert python(bpf_vm, SEND % 10, cgroup=group) == 0
        assert obj.maps["BYTES"][0] >= 128
        assert python(bpf_vm, SEND % 9, cgroup=group) == 1
        assert python(bpf_vm, TALK, cgroup=group) == 0, "TCP passes"
    assert python(bpf_vm, SEND % 9, cgroup=group) == 0


def test_messages_between_the_ends_of_a_connection(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("built/short_cut.bpf.o")
    group = bpf.cgroup()
    obj["established"].attach(group)
    obj["short_cut"].attach(map=obj.maps["SOCKETS"])
    assert python(bpf_vm, TALK, cgroup=group) == 0
    assert obj.globals["ESTABLISHED"] == 2
    assert obj.globals["REDIRECTED"] == 1


@pytest.mark.bpf_feature("attach:lsm", "ringbuf")
def test_a_directory_that_one_process_may_not_make(bpf: Bpf, bpf_vm: BpfVm, bpf_log: BpfLog) -> None:
    path = bpf_vm.tmp_path / "refused"
    process = bpf_vm.start(["/usr/bin/env", "python3", "-c", MKDIR % path])
    obj = bpf.load("built/mkdir_guard.bpf.o", globals={"GUARDED": process.pid})
    obj["mkdir_guard"].attach()
    process.write(b"x\n")
    assert process.wait(timeout=20).returncode
    assert path.name not in bpf_vm.list_dir(path.parent)
    bpf_log.expect(f"refused mkdir to {process.pid}", level="WARN")
