"""Network namespaces of a test, and pairs of interfaces in them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pytest_ebpf.agent.ops import Close, Data, Done, Failed, Handle, NetNs
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.machine.commands import Commands, Completed, RunOptions, StartOptions
from pytest_ebpf.live.net import requests
from pytest_ebpf.live.net.interface import NetInterface
from pytest_ebpf.live.net.netlink import netlink_op
from pytest_ebpf.live.net.resolve import all_interfaces, find_interface
from pytest_ebpf.live.net.veth import Veth
from pytest_ebpf.live.session import Session

if TYPE_CHECKING:
    from typing import Unpack

    from pytest_ebpf.live.machine.process import Background
    from pytest_ebpf.live.net.sockets import Socket

__all__ = ["Netns"]

_MARK = 0x5EBF5EBF  # stands where the fd of a namespace goes


class Netns:
    """A network namespace with a loopback that is up, gone with the test and everything in it.

    ``prog.attach(netns=...)``, ``bpf.socket(..., netns=...)``, ``bpf_vm.run(..., netns=...)`` take it.
    """

    def __init__(self, session: Session, *, name: str = "") -> None:
        self.session = session
        self.name = name
        self.handle: Handle = session.make(NetNs(name))
        self._commands = Commands(session, options={"netns": self.handle})
        self._pairs = 0

    def run(self, argv: Sequence[str], **options: Unpack[RunOptions]) -> Completed:
        """Run a command in the namespace; options and errors as of ``bpf_vm.run``."""
        return self._commands.run(argv, **options)

    def start(self, argv: Sequence[str], **options: Unpack[StartOptions]) -> Background:
        """Start a command in the namespace; options and errors as of ``bpf_vm.start``."""
        return self._commands.start(argv, **options)

    def new(self, name: str = "") -> Netns:
        """Another namespace of the test. A ``name`` makes it visible to ``ip netns``."""
        return Netns(self.session, name=name)

    def veth(
        self,
        *names: str,
        peer: Netns | None = None,
        addresses: Iterable[str] = (),
        peer_addresses: Iterable[str] = (),
        mtu: int = 0,
        queues: int = 0,
    ) -> Veth:
        """A new pair of interfaces, up: ``a`` here, ``b`` in ``peer`` (a namespace made for it unless given).

        ``names`` of the two ends: "veth0" and "peer0", "veth1" and "peer1", ... unless given. Addresses ("10.0.0.1/24",
        "fd00::1/64") can be used at once, and each end knows those of the other: neither ARP nor neighbour discovery is
        needed. ``queues``: for each direction. ``BpfUsageError``: a name that is taken or cannot be one, a bad address.
        """
        if names and len(names) != 2:
            raise BpfUsageError(f"a pair has two names, not {len(names)}: {', '.join(names)}")
        number, self._pairs = self._pairs, self._pairs + 1
        near_name, far_name = names or (f"veth{number}", f"peer{number}")
        tail = bytes([2, 0xEB, 0xBF, number >> 8 & 0xFF, number & 0xFF])
        near = requests.Device(near_name, tail + b"\x0a", mtu, queues).check()
        far = requests.Device(far_name, tail + b"\x0b", mtu, queues).check()
        ours, theirs = ([requests.parse_interface_address(a) for a in given] for given in (addresses, peer_addresses))
        other = peer or self.new()
        self._make(near, far, other=other)
        a, b = self._found(near), other._found(far)
        for end, own, known, mac in ((a, ours, theirs, b.mac), (b, theirs, ours, a.mac)):
            _furnish(end, own=own, known=known, mac=mac)
        for end in (a, b):
            end.settle().capture()
        return Veth(a, b)

    def _make(self, near: requests.Device, far: requests.Device, *, other: Netns) -> None:
        message = requests.add_veth(near, far, namespace=_MARK)
        op = netlink_op(message, netns=self.handle, fds={_MARK: other.handle})
        made = self.session.attempt(op, Data)
        if isinstance(made, Failed) and made.errno == errno.EEXIST:
            taken = [name for name, place in ((near.name, self), (far.name, other)) if name in place.interfaces]
            raise BpfUsageError(
                f"there is an interface {' and '.join(taken)} already", hint="Give the pair other names."
            )
        if isinstance(made, Failed) and made.errno == errno.EOPNOTSUPP:
            raise BpfUsageError(f"kernel {self.session.target.name} has no veth (CONFIG_VETH), nor a module for it")
        self.session.checked(op, made, kind=Data)

    def _found(self, device: requests.Device) -> NetInterface:
        index = find_interface(self.session, device.name, netns=self).index
        return NetInterface(self, name=device.name, index=index, mac=device.mac)

    def interface(self, name: str) -> NetInterface:
        """An interface of the namespace by name. ``BpfUsageError`` names those that there are."""
        place = find_interface(self.session, name, netns=self)
        return NetInterface(self, name=name, index=place.index).look()

    @property
    def interfaces(self) -> list[str]:
        """The names of its interfaces."""
        return list(all_interfaces(self.session, netns=self.handle))

    def route(self, network: str, *, via: str = "", interface: NetInterface | None = None) -> Netns:
        """A route to "10.1.0.0/16", "default" (IPv4) or "default6". Returns itself. ``BpfUsageError`` for what is no
        network or address; ``KernelCallError`` when the kernel cannot reach ``via``."""
        if not via and interface is None:
            raise BpfUsageError("a route needs via=, interface=, or both")
        index = interface.index if interface is not None else 0
        self.change(requests.add_route(requests.parse_network(network), index=index, via=via), what=f"route {network}")
        return self

    def sysctl(self, name: str, value: str | int) -> None:
        """Set one of the namespace's: ``sysctl("net.ipv4.ip_forward", 1)``."""
        path = f"/proc/sys/{name.replace('.', '/')}"
        self.run(["sh", "-c", 'printf %s "$1" > "$2"', "sysctl", str(value), path], check=True)

    def change(self, *messages: bytes, what: str) -> None:
        """Send requests to rtnetlink. ``KernelCallError`` says ``what`` was refused."""
        if not messages:
            return
        op = netlink_op(b"".join(messages), netns=self.handle)
        answer = self.session.attempt(op, Data)
        if isinstance(answer, Failed):
            hint = _HINTS.get(answer.errno, "")
            text = f"{what}: {os.strerror(answer.errno) if answer.errno else ''} ({answer.text})"
            raise KernelCallError(text, op="Netlink", errno=answer.errno, hint=hint)

    def socket(self, kind: str, *, family: str = "") -> Socket:
        """A socket in the namespace ("tcp", "udp", ...), as ``bpf.socket`` opens them."""
        from pytest_ebpf.live.net.sockets import open_socket

        return open_socket(self.session, kind, family=family, netns=self)

    def listen(self, host: str = "", port: int = 0, *, kind: str = "tcp") -> Socket:
        """A server: a TCP socket that listens, or with ``kind="udp"`` a bound one. ``host`` "" is the loopback;
        ``port`` 0 any that is free (``server.port``)."""
        server = self.socket(kind, family="ipv6" if ":" in host else "ipv4").bind(host, port)
        return server.listen() if kind == "tcp" else server

    def connect(self, host: str, port: int, *, kind: str = "tcp", timeout: float = 2.0) -> Socket:
        """A client, connected. ``KernelCallError``: ECONNREFUSED (nobody listens), ETIMEDOUT (nobody answers),
        EHOSTUNREACH, ENETUNREACH (no route), EPERM (a program forbids it)."""
        client = self.socket(kind, family="ipv6" if ":" in host else "ipv4")
        try:
            return client.connect(host, port, timeout=timeout)
        except KernelCallError:
            client.close()
            raise

    def close(self) -> None:
        """It goes now, with everything in it."""
        self.session.one(Close(self.handle), Done)

    def __repr__(self) -> str:
        return f"<Netns {self.name or self.handle.serial}>"


_HINTS = {
    errno.EEXIST: "It is there already.",
    errno.ENETUNREACH: "The next hop is in none of its networks: give an interface an address there first.",
    errno.ENODEV: "The interface is gone.",
    errno.EADDRNOTAVAIL: "IPv6 is off here, or the address cannot be one of an interface.",
    errno.EPERM: "This needs root in the kernel that runs the test.",
    errno.EINVAL: "The kernel takes no such value: an MTU beyond the limits of the device, an address that cannot be.",
}


def _furnish(
    end: NetInterface, *, own: Sequence[requests.Address], known: Sequence[requests.Address], mac: str
) -> None:
    """Quiet, up, with its addresses and its neighbour's: one round trip."""
    end.addresses = tuple(map(str, own))
    raw = bytes.fromhex(mac.replace(":", ""))
    end.netns.change(
        requests.set_link(end.index, quiet=True),
        requests.set_link(end.index, up=True),
        *(requests.add_address(end.index, address) for address in own),
        *(requests.add_neighbour(end.index, str(address.ip), mac=raw) for address in known),
        what=f"{end.name}: its addresses",
    )
