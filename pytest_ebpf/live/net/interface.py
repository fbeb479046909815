"""A network interface of the test: frames in and out, addresses, routes."""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from pytest_ebpf.agent.ops import Close, Data, Done, Failed, Handle, PacketDrain, PacketOpen, PacketSend, Records
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.net import requests
from pytest_ebpf.live.net.netlink import attributes, messages, netlink_op
from pytest_ebpf.live.typed.as_bytes import as_bytes
from pytest_ebpf.packets import Packet, parse_packet

if TYPE_CHECKING:
    from pytest_ebpf.live.net.netns import Netns

__all__ = ["Capture", "NetInterface", "Wanted"]

T = TypeVar("T")
Wanted = Callable[[Packet], bool] | str | None
_NEWLINK, _IFINFO_SIZE = 16, 16
_IFLA_ADDRESS, _IFLA_MTU, _IFLA_QDISC = 1, 4, 6
_PATIENCE = 2.0  # seconds for an interface to begin to send
_SHORTEST = 14


class Capture:
    """Frames that arrive at an interface, from now on. ``with`` or ``close()`` ends it, as does the test."""

    def __init__(self, interface: NetInterface, *, protocols: Sequence[int] = ()) -> None:
        self._session = interface.netns.session
        self._interface = interface
        op = PacketOpen(interface.name, interface.netns.handle, tuple(protocols))
        self.handle: Handle = self._session.make(op)
        self.lost = 0

    def take(self, *, timeout: float = 1.0, count: int = 0, filter: Wanted = None) -> list[Packet]:
        """The frames since the last time that ``filter`` wants, as they came. With ``count`` it returns as soon as
        there are so many, else when ``timeout`` (seconds, stretched where the processor is emulated) is over."""
        wanted = _wanted(filter)

        def keep(frame: bytes) -> list[Packet]:
            packet = parse_packet(frame)
            return [packet] if wanted(packet) else []

        return self._collect(keep, timeout=timeout, count=count)

    def frames(self, *, timeout: float = 1.0, count: int = 0) -> list[bytes]:
        """As ``take``, but bytes: for thousands of them."""
        return self._collect(lambda frame: [frame], timeout=timeout, count=count)

    def _collect(self, keep: Callable[[bytes], list[T]], *, timeout: float, count: int) -> list[T]:
        if count < 0 or isinstance(count, bool):
            raise BpfUsageError(f"count= is a number of packets, not {count!r}")
        deadline = time.monotonic() + timeout * self._session.target.time_scale
        found: list[T] = []
        while True:
            left = max(0.0, deadline - time.monotonic())
            limit = count - len(found) if count else 0
            drained = self._drain(at_least=limit or 1 << 30, seconds=left, limit=limit)
            found += [kept for frame in drained.records for kept in keep(frame)]
            if left <= 0 or (count and len(found) >= count):
                return found

    def _drain(self, *, at_least: int, seconds: float, limit: int) -> Records:
        op = PacketDrain(self.handle, at_least, round(seconds * 1000), limit)
        drained = self._session.one(op, Records)
        self.lost += drained.lost
        return drained

    def close(self) -> None:
        """Stop recording."""
        self._session.attempt(Close(self.handle), Done)

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _wanted(filter: Wanted) -> Callable[[Packet], bool]:
    if filter is None:
        return lambda packet: True
    if isinstance(filter, str):
        return lambda packet: filter in packet
    if not callable(filter):
        raise BpfUsageError(f'filter= is the name of a header ("udp") or a function of a packet, not {filter!r}')
    return filter


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
            self._capture = Capture(self)
        return self._capture

    def behind_tc(self, *protocols: int) -> Capture:
        """A recording of what tc ingress programs let pass, of these EtherTypes: IPv4, IPv6 and ARP unless named. The
        kernel takes a VLAN tag off by then."""
        return Capture(self, protocols=protocols or (0x0800, 0x86DD, 0x0806))

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
