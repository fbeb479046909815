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
from pytest_ebpf.live.handles import close_after
from pytest_ebpf.live.machine.commands import Commands, RunOptions, StartOptions
from pytest_ebpf.live.machine.process import Background
from pytest_ebpf.live.machine.results import Completed
from pytest_ebpf.live.net import requests
from pytest_ebpf.live.net.capture import Capture, Wanted
from pytest_ebpf.live.net.echo import send_and_return
from pytest_ebpf.live.net.index import IfIndex
from pytest_ebpf.live.net.netlink import attributes, messages, netlink_op
from pytest_ebpf.live.net.resolve import all_interfaces, find_interface
from pytest_ebpf.live.net.sockets import Socket, open_socket
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.typed.as_bytes import as_bytes
from pytest_ebpf.packets import Packet

__all__ = ["NetInterface", "Netns", "Veth"]

_MARK = 0x5EBF5EBF  # stands for the fd of a namespace
_NEWLINK, _IFINFO_SIZE = 16, 16
_IFLA_ADDRESS, _IFLA_MTU, _IFLA_QDISC = 1, 4, 6
_PATIENCE = 2.0  # seconds for an interface to begin to send
_SHORTEST = 14


class NetInterface:
    """A network interface, such as one end of a pair. Programs attach to it: ``prog.attach(veth.b)``.

    An end of a pair records what arrives from the start, so that ``sniff`` returns also what was sent before the call.
    """

    def __init__(self, netns: Netns, *, name: str, index: int, mac: bytes = b"") -> None:
        self.netns = netns
        self.name = name
        self.index = IfIndex(index, netns=netns)
        self.mac = mac.hex(":")
        self.addresses: tuple[str, ...] = ()
        self._capture: Capture | None = None

    def refresh(self) -> NetInterface:
        """Read its MAC address from the kernel. Returns itself."""
        self.mac = self._asked().get(_IFLA_ADDRESS, b"").hex(":")
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
        raise BpfUsageError(f"{self.name} has no {'IPv4' if mark == '.' else 'IPv6'} address; add_address() adds one")

    def send(self, *packets: object) -> None:
        """Send packets (bytes, ours or Scapy's) out of this interface, to the other end. They pass tc egress.
        ``KernelCallError``: the interface is down (ENETDOWN) or a packet is longer than its MTU (EMSGSIZE)."""
        frames = tuple(map(as_bytes, packets))
        if short := [frame for frame in frames if len(frame) < _SHORTEST]:
            raise BpfUsageError(f"{self.name}: a frame must have at least {_SHORTEST} bytes, got {len(short[0])}")
        op = PacketSend(self.capture().handle, frames)
        sent = self.netns.session.attempt(op, Done)
        if isinstance(sent, Failed):
            raise self._refused(sent)

    def _refused(self, failed: Failed) -> KernelCallError:
        hints = {
            errno.EMSGSIZE: f"Its MTU is {self.mtu}: set(mtu=...) raises it, here and at the other end.",
            errno.ENETDOWN: "It is down: call up().",
            errno.ENXIO: "It does not exist any more, or was moved to another namespace.",
        }
        message = f"{self.name} did not send {failed.text}"
        return KernelCallError(message, op=failed.op, errno=failed.errno, hint=hints.get(failed.errno, ""))

    def sniff(self, *, timeout: float | None = None, count: int = 0, filter: Wanted = None) -> list[Packet]:
        """The packets that arrived here since the last call, including those that tc ingress programs drop. ``count``,
        ``timeout`` and ``filter`` ("udp", or a function of a packet) as of ``Capture.take``."""
        return self.capture().take(timeout=timeout, count=count, filter=filter)

    def capture(self) -> Capture:
        """The recording of this interface; it starts with the first call."""
        if self._capture is None:
            self._capture = self.new_capture()
        return self._capture

    def behind_tc(self, *protocols: int) -> Capture:
        """A recording of what tc ingress programs let pass, of these EtherTypes (default: IPv4, IPv6 and ARP). The
        kernel has removed the outer VLAN tag by then."""
        return self.new_capture(*(protocols or (0x0800, 0x86DD, 0x0806)))

    def new_capture(self, *protocols: int) -> Capture:
        """Another recording, from now on; of these EtherTypes only, if any are given."""
        return Capture(self.netns.session, self.name, netns=self.netns.handle, protocols=protocols)

    @property
    def mtu(self) -> int:
        """Its MTU, as the kernel reports it."""
        return int(struct.unpack("=I", self._asked()[_IFLA_MTU])[0])

    def add_address(self, *addresses: str) -> NetInterface:
        """Add "10.0.0.1/24" or "fd00::1/64", usable at once. Returns itself. ``BpfUsageError``: not an address."""
        parsed = [requests.parse_interface_address(address) for address in addresses]
        self._change(*(requests.add_address(self.index, address) for address in parsed), what=f"addresses {addresses}")
        self.addresses += tuple(map(str, parsed))
        return self

    def add_neighbour(self, address: str, *, mac: str) -> NetInterface:
        """Add a permanent neighbour entry, so no ARP or ND is needed. Returns itself."""
        try:
            raw = bytes.fromhex(mac.replace(":", ""))
        except ValueError:
            raw = b""
        if len(raw) != 6:
            raise BpfUsageError(f"mac= expects a MAC address such as '02:00:00:00:00:01', got {mac!r}")
        self._change(requests.add_neighbour(self.index, address, mac=raw), what=f"neighbour {address}")
        return self

    def set(self, *, mtu: int) -> NetInterface:
        """Change the MTU. Returns itself."""
        self._change(requests.set_link(self.index, mtu=mtu), what=f"mtu {mtu}")
        return self

    def up(self) -> NetInterface:
        """Set the interface up. Returns itself."""
        self._change(requests.set_link(self.index, up=True), what="up")
        return self.wait_until_ready()

    def wait_until_ready(self) -> NetInterface:
        """Wait until it can send: after both ends are up, the kernel takes a moment to replace the "noop" queue of the
        first, which drops everything (net/core/link_watch.c). Returns itself."""
        deadline = time.monotonic() + _PATIENCE * self.netns.session.target.time_scale
        while self._asked().get(_IFLA_QDISC) == b"noop\0" and time.monotonic() < deadline:
            time.sleep(0.001)
        return self

    def down(self) -> NetInterface:
        """Set the interface down; the kernel removes its IPv6 addresses and its routes. Returns itself."""
        self._change(requests.set_link(self.index, up=False), what="down")
        return self

    def delete(self) -> None:
        """Delete the interface (both ends of a pair)."""
        self._change(requests.remove_link(self.index), what="delete")

    def close(self) -> None:
        """As ``delete``; harmless if the interface does not exist any more."""
        try:
            self.delete()
        except KernelCallError as error:
            if error.errno != errno.ENODEV:
                raise

    def __enter__(self) -> NetInterface:
        return self

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.close)

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
    """A pair of interfaces, ``a`` and ``b``, each with its namespace (``veth.a.netns``). Programs attach to either:
    ``prog.attach(veth.b)``."""

    def __init__(self, a: NetInterface, b: NetInterface) -> None:
        self.a = a
        self.b = b

    def send(self, *packets: object) -> None:
        """Send packets out of ``a``, to ``b``. Errors as of ``NetInterface.send``."""
        self.a.send(*packets)

    def sniff(self, *, timeout: float | None = None, count: int = 0, filter: Wanted = None) -> list[Packet]:
        """The packets that arrived at ``b``. See ``NetInterface.sniff``."""
        return self.b.sniff(timeout=timeout, count=count, filter=filter)

    def capture(self) -> Capture:
        """Another recording at ``b``: ``with veth.capture() as seen: ...; seen.take()``."""
        return self.b.new_capture()

    def echo(
        self, data: bytes, *, kind: str = "tcp", port: int = 0, family: str = "ipv4", timeout: float = 2.0
    ) -> bytes:
        """Send ``data`` from a client in ``a``'s namespace to a server in ``b``'s, which sends it back; returns the
        reply. ``port`` 0: any free one. ``KernelCallError``: ETIMEDOUT when a program drops it, ..."""
        host = self.b.ip6 if family == "ipv6" else self.b.ip
        with (
            self.b.netns.listen(host, port, kind=kind) as server,
            self.a.netns.connect(host, server.port, kind=kind, timeout=timeout) as client,
        ):
            return send_and_return(data, client=client, server=server, kind=kind, timeout=timeout)

    def enable_ipv6(self, near: str = "fd77::1/64", far: str = "fd77::2/64") -> Veth:
        """Add an IPv6 address to both ends, and neighbour entries. From then on the kernel sends multicast reports
        (MLD) now and then, which programs and ``sniff`` see. Returns itself."""
        self.a.add_address(near)
        self.b.add_address(far)
        self.a.add_neighbour(far.partition("/")[0], mac=self.b.mac)
        self.b.add_neighbour(near.partition("/")[0], mac=self.a.mac)
        return self

    def delete(self) -> None:
        """Delete both ends."""
        self.a.delete()

    def close(self) -> None:
        """Delete both ends; harmless if they do not exist any more."""
        self.a.close()

    def __enter__(self) -> Veth:
        return self

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.close)

    def __repr__(self) -> str:
        return f"<Veth {self.a.name} - {self.b.name}>"


class Netns:
    """A network namespace with a loopback that is up. It is deleted, with everything in it, by ``close()``, at the end
    of a ``with`` block, or at the end of the test.

    ``prog.attach(netns=...)``, ``bpf.socket(..., netns=...)``, ``bpf_vm.run(..., netns=...)`` take it.
    """

    def __init__(self, session: Session, *, name: str = "") -> None:
        self.session = session
        self.name = name
        self.handle: Handle = session.make(NetNs(name))
        self._commands = Commands(session, options={"netns": self.handle})
        self._pairs = 0
        self._open = True

    def run(self, argv: Sequence[str], **options: Unpack[RunOptions]) -> Completed:
        """Run a command in the namespace; options and errors as of ``bpf_vm.run``."""
        return self._commands.run(argv, **options)

    def start(self, argv: Sequence[str], **options: Unpack[StartOptions]) -> Background:
        """Start a command in the namespace; options and errors as of ``bpf_vm.start``."""
        return self._commands.start(argv, **options)

    def new(self, name: str = "") -> Netns:
        """Another namespace of the test. One with a ``name`` is visible to ``ip netns``."""
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
        "fd00::1/64") can be used at once, and each end has neighbour entries for the other: no ARP or ND is
        needed. ``queues``: for each direction. ``BpfUsageError``: a name that exists or is not valid, or a bad address.
        """
        if names and len(names) != 2:
            raise BpfUsageError(f"a pair needs two names, got {len(names)}: {', '.join(names)}")
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
            end.addresses = tuple(map(str, own))
            end.netns.change(
                *requests.configure(end.index, own=own, known=known, mac=mac), what=f"{end.name}: its addresses"
            )
        for end in (a, b):
            end.wait_until_ready().capture()
        return Veth(a, b)

    def _make(self, near: requests.Device, far: requests.Device, *, other: Netns) -> None:
        message = requests.add_veth(near, far, namespace=_MARK)
        op = netlink_op(message, netns=self.handle, fds={_MARK: other.handle})
        made = self.session.attempt(op, Data)
        if isinstance(made, Failed) and made.errno == errno.EEXIST:
            taken = [name for name, place in ((near.name, self), (far.name, other)) if name in place.interfaces]
            raise BpfUsageError(f"interface {' and '.join(taken)} exists already", hint="Use other names for the pair.")
        if isinstance(made, Failed) and made.errno == errno.EOPNOTSUPP:
            raise BpfUsageError(f"kernel {self.session.target.name} has neither veth (CONFIG_VETH) nor a module for it")
        self.session.checked(op, made, kind=Data)

    def _found(self, device: requests.Device) -> NetInterface:
        index = find_interface(self.session, device.name, netns=self).index
        return NetInterface(self, name=device.name, index=index, mac=device.mac)

    def interface(self, name: str) -> NetInterface:
        """An interface of the namespace by name. ``BpfUsageError`` lists the existing ones."""
        place = find_interface(self.session, name, netns=self)
        return NetInterface(self, name=name, index=place.index).refresh()

    @property
    def interfaces(self) -> list[str]:
        """The names of its interfaces."""
        return list(all_interfaces(self.session, netns=self.handle))

    def route(self, network: str, *, via: str = "", interface: NetInterface | None = None) -> Netns:
        """Add a route to "10.1.0.0/16", "default" (IPv4) or "default6". Returns itself. ``BpfUsageError``: not a
        network or address; ``KernelCallError`` when the kernel cannot reach ``via``."""
        if not via and interface is None:
            raise BpfUsageError("a route needs via=, interface=, or both")
        index = interface.index if interface is not None else 0
        self.change(requests.add_route(requests.parse_network(network), index=index, via=via), what=f"route {network}")
        return self

    def sysctl(self, name: str, value: str | int) -> None:
        """Set a sysctl of the namespace: ``sysctl("net.ipv4.ip_forward", 1)``."""
        path = f"/proc/sys/{name.replace('.', '/')}"
        self.run(["sh", "-c", 'printf %s "$1" > "$2"', "sysctl", str(value), path], check=True)

    def change(self, *messages: bytes, what: str) -> None:
        """Send requests to rtnetlink. The message of ``KernelCallError`` begins with ``what``."""
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
        """A server: a listening TCP socket, or with ``kind="udp"`` a bound one. ``host`` "" is the loopback, ``port`` 0
        any free port (``server.port``)."""
        server = self.socket(kind, family="ipv6" if ":" in host else "ipv4").bind(host, port)
        return server.listen() if kind == "tcp" else server

    def connect(self, host: str, port: int, *, kind: str = "tcp", timeout: float = 2.0) -> Socket:
        """A connected client. ``KernelCallError``: ECONNREFUSED (no listener), ETIMEDOUT (no answer), EHOSTUNREACH,
        ENETUNREACH (no route), EPERM (a program forbids it)."""
        client = self.socket(kind, family="ipv6" if ":" in host else "ipv4")
        try:
            return client.connect(host, port, timeout=timeout)
        except KernelCallError:
            client.close()
            raise

    def close(self) -> None:
        """Delete it now, with everything in it. Twice is harmless."""
        if self._open:
            self._open = False
            self.session.one(Close(self.handle), Done)

    def __enter__(self) -> Netns:
        return self

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.close)

    def __repr__(self) -> str:
        return f"<Netns {self.name or self.handle.serial}>"
