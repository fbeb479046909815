"""Data from a client to a server and back."""

from __future__ import annotations

from pytest_ebpf.live.net.sockets import Socket

__all__ = ["send_and_return"]


def send_and_return(data: bytes, *, client: Socket, server: Socket, kind: str, timeout: float) -> bytes:
    """Send ``data`` from a connected client to a server, which sends it back; return what the client received.
    ``kind``: "udp", or a stream."""
    client.send(data, timeout=timeout)
    if kind == "udp":
        got, sender = server.recv_from(timeout=timeout)
        assert sender is not None
        server.send_to(got, sender.host, port=sender.port, timeout=timeout)
        return client.recv(timeout=timeout)
    with server.accept(timeout=timeout) as connection:
        connection.send(_exactly(connection, len(data), timeout=timeout), timeout=timeout)
        return _exactly(client, len(data), timeout=timeout)


def _exactly(connection: Socket, size: int, *, timeout: float) -> bytes:
    """``size`` bytes of a stream, fewer at its end."""
    got = b""
    while len(got) < size and (part := connection.recv(size - len(got), timeout=timeout)):
        got += part
    return got
