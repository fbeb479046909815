"""What tests of network programs have in common: namespaces, devices, traffic."""

from __future__ import annotations

import socket
from typing import Any

from pytest_ebpf import Bpf
from pytest_ebpf.agent.ops import Handle, NetNs
from pytest_ebpf.errors import KernelCallError

__all__ = ["LOST", "arrives", "ip", "namespace", "refused"]

LOST = 0.2  # seconds after which a datagram over a device of memory is lost


def namespace(bpf: Bpf) -> Handle:
    """A network namespace of the test's own, with nothing but the loopback."""
    return bpf.session.make(NetNs())


def ip(bpf_vm: Any, netns: Handle, command: str) -> None:
    """Run iproute2 in a namespace."""
    done = bpf_vm.run(["/usr/bin/env", "ip", *command.split()], netns=netns)
    assert done.returncode == 0, (command, done.stderr)


def arrives(bpf: Bpf, netns: Handle | None = None, *, family: str = "ipv4", cgroup: Any = None) -> bool:
    """Whether a datagram gets from one socket to another over the loopback."""
    with (
        bpf.socket("udp", family=family, netns=netns).bind() as there,
        bpf.socket("udp", family=family, netns=netns, cgroup=cgroup) as here,
    ):
        try:
            here.send_to(b"x", there)
        except KernelCallError as error:
            if error.errno != 1:  # EPERM: a program says no
                raise
            return False
        return not there.silent(within=LOST)


def refused(error: Any) -> bool:
    """EPERM: a program said no."""
    return isinstance(error, KernelCallError) and error.errno == 1


ETH_P_IP = 0x0800
FRAME = bytes(12) + ETH_P_IP.to_bytes(2, "big") + bytes.fromhex("45000014000000004011") + bytes(10)
SOL_SOCKET = socket.SOL_SOCKET
