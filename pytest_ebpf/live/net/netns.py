"""Network namespaces of a test, their interfaces, and pairs of interfaces.

One file: a namespace makes interfaces, an interface knows its namespace, and a pair has two of them.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Iterable, Sequence
from typing import Unpack

from pytest_ebpf.agent.ops import Close, Data, Done, Failed, Handle, NetNs, PacketSend
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.machine.commands import Commands, RunOptions, StartOptions
from pytest_ebpf.live.machine.process import Background
from pytest_ebpf.live.machine.results import Completed
from pytest_ebpf.live.net import requests
from pytest_ebpf.live.net.capture import Capture, Wanted
from pytest_ebpf.live.net.netlink import attributes, messages, netlink_op
from pytest_ebpf.live.net.resolve import all_interfaces, find_interface
from pytest_ebpf.live.net.sockets import Socket, open_socket
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.typed.as_bytes import as_bytes
from pytest_ebpf.packets import Packet

__all__ = ["NetInterface", "Netns", "Veth"]

_MARK = 0x5EBF5EBF  # stands where the fd of a namespace goes
_NEWLINK, _IFINFO_SIZE = 16, 16
_IFLA_ADDRESS, _IFLA_MTU, _IFLA_QDISC = 1, 4, 6
_PATIENCE = 2.0  # seconds for an interface to begin to send
_SHORTEST = 14


class NetInterface:
    """One end of a pair. Programs attach to it: ``prog.attach(interface=veth.b)``.

    It records what arrives from the moment it is made, so that ``sniff`` sees what was sent before it is called.
    """

    def __init__(self, netns: Netns, *, name: str, index: int, mac: bytes = b"") -> None:
        self.netns = netns
        self.name = name
        self.index = index
        self.mac = ":".join(f"{byte:02x}" for byte in mac)
        self.addresses: tuple[str, ...] = ()
        self._capture: Capture | None = None

    def look(self) -> NetInterface:
        """Take its MAC address from the kernel. Returns itself."""
        self.mac = ":".join(f"{byte:02x}" for byte in self._asked().get(_IFLA_ADDRESS, b""))
        return self

    @property
    def ip(self) -> str:
        """Its first IPv4 address."""
        return self._first(".")

    @property
    def ip6(self) -> str:
        """Its first IPv6 address."""
        return self._first(":")

    def _first(self, mark: str) -> str:
        for address in self.addresses:
            if mark in address:
                return address.partition("/")[0]
        raise BpfUsageError(
            f"{self.name} has no {'IPv4' if mark == '.' else 'IPv6'} address; add_address() gives it one"
        )

    def send(self, *packets: object) -> None:
        """Packets (bytes, ours or Scapy's) out of this interface, to the other end. They go through tc egress.
        ``KernelCallError``: the interface is down (ENETDOWN) or a packet is longer than its MTU (EMSGSIZE)."""
        frames = tuple(map(as_bytes, packets))
        if short := [frame for frame in frames if len(frame) < _SHORTEST]:
            raise BpfUsageError(f"{self.name}: a frame has at least {_SHORTEST} bytes, not {len(short[0])}")
        op = PacketSend(self.capture().handle, frames)
        sent = self.netns.session.attempt(op, Done)
        if isinstance(sent, Failed):
            raise self._refused(sent)

    def _refused(self, failed: Failed) -> KernelCallError:
        hints = {
            errno.EMSGSIZE: f"Its MTU is {self.mtu}: set(mtu=...) raises it, here and at the other end.",
            errno.ENETDOWN: "It is down: up() changes that.",
            errno.ENXIO: "It is gone, or was moved to another namespace.",
        }
        message = f"{self.name} did not send {failed.text}"
        return KernelCallError(message, op=failed.op, errno=failed.errno, hint=hints.get(failed.errno, ""))

    def sniff(self, *, timeout: float = 1.0, count: int = 0, filter: Wanted = None) -> list[Packet]:
        """The packets that arrived here since the last time, what tc ingress programs drop included. ``count``,
        ``timeout`` and ``filter`` ("udp", or a function of a packet) as of ``Capture.take``."""
        return self.capture().take(timeout=timeout, count=count, filter=filter)

    def capture(self) -> Capture:
        """What records here; begins with the first call."""
        if self._capture is None:
            self._capture = self.new_capture()
        return self._capture

    def behind_tc(self, *protocols: int) -> Capture:
        """A recording of what tc ingress programs let pass, of these EtherTypes: IPv4, IPv6 and ARP unless named. The
        kernel takes a VLAN tag off by then."""
        return self.new_capture(*(protocols or (0x0800, 0x86DD, 0x0806)))

    def new_capture(self, *protocols: int) -> Capture:
        """Another recording, from now on; of these EtherTypes only, if any are given."""
        return Capture(self.netns.session, self.name, netns=self.netns.handle, protocols=protocols)

    @property
    def mtu(self) -> int:
        """The kernel's word of it."""
        return int(struct.unpack("=I", self._asked()[_IFLA_MTU])[0])

    def add_address(self, *addresses: str) -> NetInterface:
        """ "10.0.0.1/24", "fd00::1/64"; usable at once. Returns itself. ``BpfUsageError`` for what is no address."""
        parsed = [requests.parse_interface_address(address) for address in addresses]
        self._change(*(requests.add_address(self.index, address) for address in parsed), what=f"addresses {addresses}")
        self.addresses += tuple(map(str, parsed))
        return self

    def add_neighbour(self, address: str, *, mac: str) -> NetInterface:
        """Who has an address, so that nobody has to ask. Returns itself."""
        try:
            raw = bytes.fromhex(mac.replace(":", ""))
        except ValueError:
            raw = b""
        if len(raw) != 6:
            raise BpfUsageError(f"{mac!r} is no MAC address")
        self._change(requests.add_neighbour(self.index, address, mac=raw), what=f"neighbour {address}")
        return self

    def set(self, *, mtu: int) -> NetInterface:
        """Change it. Returns itself."""
        self._change(requests.set_link(self.index, mtu=mtu), what=f"mtu {mtu}")
        return self

    def up(self) -> NetInterface:
        """It takes part. Returns itself."""
        self._change(requests.set_link(self.index, up=True), what="up")
        return self.settle()

    def settle(self) -> NetInterface:
        """Wait until it sends: after both ends are up, the kernel needs a moment to give the first a queue other than
        "noop", which drops everything (net/core/link_watch.c). Returns itself."""
        deadline = time.monotonic() + _PATIENCE * self.netns.session.target.time_scale
        while self._asked().get(_IFLA_QDISC) == b"noop\0" and time.monotonic() < deadline:
            time.sleep(0.001)
        return self

    def down(self) -> NetInterface:
        """It does not. Its IPv6 addresses and its routes go. Returns itself."""
        self._change(requests.set_link(self.index, up=False), what="down")
        return self

    def delete(self) -> None:
        """It goes; of a pair both ends."""
        self._change(requests.remove_link(self.index), what="delete")

    def _change(self, *messages: bytes, what: str) -> None:
        self.netns.change(*messages, what=f"{self.name}: {what}")

    def _asked(self) -> dict[int, bytes]:
        op = netlink_op(requests.ask_link(self.name), netns=self.netns.handle)
        answer = self.netns.session.one(op, Data)
        for kind, body in messages(answer.data):
            if kind == _NEWLINK:
                return attributes(body[_IFINFO_SIZE:])
        return {}

    def __repr__(self) -> str:
        return f"<NetInterface {self.name} (index {self.index}, {self.mac})>"


class Veth:
    """Ends ``a`` and ``b``, each in a namespace of its own (``veth.a.netns``). Attach programs to either:
    ``prog.attach(interface=veth.b)``."""

    def __init__(self, a: NetInterface, b: NetInterface) -> None:
        self.a = a
        self.b = b

    def send(self, *packets: object) -> None:
        """Out of ``a``, so that they arrive at ``b``. Errors as of ``NetInterface.send``."""
        self.a.send(*packets)

    def sniff(self, *, timeout: float = 1.0, count: int = 0, filter: Wanted = None) -> list[Packet]:
        """What arrived at ``b``. See ``NetInterface.sniff``."""
        return self.b.sniff(timeout=timeout, count=count, filter=filter)

    def capture(self) -> Capture:
        """A recording at ``b`` of its own: ``with veth.capture() as seen: ...; seen.take()``."""
        return self.b.new_capture()

    def echo(
        self, data: bytes, *, kind: str = "tcp", port: int = 0, family: str = "ipv4", timeout: float = 2.0
    ) -> bytes:
        """Send ``data`` from a client in ``a``'s namespace to a server in ``b``'s, which sends back what it got; say
        what came back. ``port`` 0 takes any. ``KernelCallError``: ETIMEDOUT when a program drops it, ..."""
        host = self.b.ip6 if family == "ipv6" else self.b.ip
        with (
            self.b.netns.listen(host, port, kind=kind) as server,
            self.a.netns.connect(host, server.port, kind=kind, timeout=timeout) as client,
        ):
            client.send(data, timeout=timeout)
            if kind == "udp":
                got, sender = server.recv_from(timeout=timeout)
                assert sender is not None
                server.send_to(got, sender.host, port=sender.port, timeout=timeout)
                return client.recv(timeout=timeout)
            with server.accept(timeout=timeout) as connection:
                connection.send(_exactly(connection, len(data), timeout=timeout), timeout=timeout)
                return _exactly(client, len(data), timeout=timeout)

    def enable_ipv6(self, near: str = "fd77::1/64", far: str = "fd77::2/64") -> Veth:
        """Give both ends an IPv6 address too; each knows the other's. From then on the kernel sends a report of its
        multicast groups (MLD) now and then, which programs and ``sniff`` see. Returns itself."""
        self.a.add_address(near)
        self.b.add_address(far)
        self.a.add_neighbour(far.partition("/")[0], mac=self.b.mac)
        self.b.add_neighbour(near.partition("/")[0], mac=self.a.mac)
        return self

    def delete(self) -> None:
        """Both ends go."""
        self.a.delete()

    def __repr__(self) -> str:
        return f"<Veth {self.a.name} - {self.b.name}>"


def _exactly(connection: Socket, size: int, *, timeout: float) -> bytes:
    """So many bytes of a stream, fewer when it ends."""
    got = b""
    while len(got) < size and (part := connection.recv(size - len(got), timeout=timeout)):
        got += part
    return got


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
            hint = requests.HINTS.get(answer.errno, "")
            text = f"{what}: {os.strerror(answer.errno) if answer.errno else ''} ({answer.text})"
            raise KernelCallError(text, op="Netlink", errno=answer.errno, hint=hint)

    def socket(self, kind: str, *, family: str = "") -> Socket:
        """A socket in the namespace ("tcp", "udp", ...), as ``bpf.socket`` opens them."""
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
