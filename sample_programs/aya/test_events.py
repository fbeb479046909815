"""exec_events.rs, getppid_calls.rs, connect_chase.rs: probes and tracepoints with records of their own structs."""

import pytest

from pytest_ebpf import Bpf, BpfVm

pytestmark = pytest.mark.bpf_feature("little_endian")
CALLS = "import ctypes, os; c = ctypes.CDLL('libc.so.6'); [c.getppid() for _ in range(%d)]; print(os.getpid())"
CONNECT = """
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
print(server.getsockname()[1])
"""


@pytest.mark.bpf_feature("ringbuf")
def test_a_program_that_starts(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("built/exec_events.bpf.o", only=["started"])
    obj["started"].attach()
    with bpf_vm.start(["sha256sum", "/dev/null"]) as started:
        event = obj.maps["EVENTS"].expect({"comm": "sha256sum", "what": "Exec"}, timeout=5, type="Event")
        assert event["pid"] == started.pid


@pytest.mark.bpf_feature("ringbuf", "kprobe")
def test_a_process_that_ends(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("built/exec_events.bpf.o")
    obj.attach()
    bpf_vm.run(["/bin/true"], check=True)
    started = obj.maps["EVENTS"].expect({"comm": "true", "what": "Exec"}, timeout=5, type="Event")
    obj.maps["EVENTS"].expect({"pid": started["pid"], "what": "Exit"}, timeout=5, type="Event")


def test_calls_of_a_function_in_user_space(bpf: Bpf, bpf_vm: BpfVm) -> None:
    obj = bpf.load("built/getppid_calls.bpf.o")
    obj["called"].attach("libc.so.6", "getppid")
    few, many = (bpf_vm.run(["/usr/bin/env", "python3", "-c", CALLS % n], check=True).text for n in (7, 107))
    assert obj.maps["CALLS"][int(many)] - obj.maps["CALLS"][int(few)] == 100


@pytest.mark.bpf_feature("ringbuf", "kprobe", "pt_regs_x86_64")
def test_pointers_from_a_socket_to_the_name_of_its_protocol(bpf: Bpf, bpf_vm: BpfVm) -> None:
    kernel = next(one for one in bpf.loaded.btfs() if one.name == "vmlinux")
    obj = bpf.load("built/connect_chase.bpf.o", globals={"NAME_OFFSET": kernel.types["proto"].offset("name")})
    obj["connect_chase"].attach()
    port = int(bpf_vm.run(["/usr/bin/env", "python3", "-c", CONNECT], check=True).stdout)
    event = obj.maps["CONNECTS"].expect({"port": port, "protocol": "TCP"}, timeout=5, type="Connect")
    assert (event["address"], event["family"]) == (0x7F000001, 2)
