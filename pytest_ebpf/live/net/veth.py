"""A pair of interfaces: what goes out of one arrives at the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_ebpf.packets import Packet

if TYPE_CHECKING:
    from pytest_ebpf.live.net.interface import Capture, NetInterface, Wanted
    from pytest_ebpf.live.net.sockets import Socket

__all__ = ["Veth"]


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
        from pytest_ebpf.live.net.interface import Capture

        return Capture(self.b)

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
