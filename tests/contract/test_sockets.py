"""Sockets of the agent: opened, connected, written to and read, on every kind of kernel."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest

from pytest_ebpf.agent.ops import (
    Address,
    Close,
    Data,
    Done,
    Failed,
    Handle,
    Made,
    MakeDir,
    Named,
    NetNs,
    PidFd,
    ReadFile,
    Received,
    Ref,
    Result,
    SocketAccept,
    SocketBind,
    SocketConnect,
    SocketGet,
    SocketListen,
    SocketName,
    SocketOpen,
    SocketPeer,
    SocketReceive,
    SocketSend,
    SocketSet,
    SocketShutdown,
    Try,
)
from pytest_ebpf.kernels.base import Kernel, check
from support.contract_kernels import Run
from support.contract_names import cgroup_root, unique

INET, INET6, UNIX = int(socket.AF_INET), int(socket.AF_INET6), int(socket.AF_UNIX)
STREAM, DGRAM = int(socket.SOCK_STREAM), int(socket.SOCK_DGRAM)
SOL_SOCKET = int(socket.SOL_SOCKET)


def opened(run: Run, *args: object, **more: object) -> Handle:
    return check(run(SocketOpen(*args, **more))[0], Made).handle  # type: ignore[arg-type]


def received(result: Result) -> bytes:
    """Without the sender: unix sockets name it over connections too."""
    return check(result, Received).data


def bound(run: Run, handle: Handle, host: str = "127.0.0.1") -> Address:
    return check(run(SocketBind(handle, Address(host)), SocketName(handle))[1], Named).address


@pytest.mark.parametrize(("family", "host"), [(INET, "127.0.0.1"), (INET6, "::1"), (UNIX, "@")])
def test_a_stream_there_and_back(run: Run, family: int, host: str) -> None:
    server, client = opened(run, family, STREAM), opened(run, family, STREAM)
    address = bound(run, server, host + os.urandom(4).hex() if host == "@" else host)
    run(SocketListen(server))
    assert run(SocketConnect(client, address)) == [Done()]
    peer = check(run(SocketAccept(server))[0], Made).handle
    assert received(run(SocketSend(client, b"over"), SocketReceive(peer))[1]) == b"over"
    assert received(run(SocketSend(peer, b"and back"), SocketReceive(client, limit=3))[1]) == b"and"
    assert check(run(SocketPeer(client))[0], Named).address == address
    rest = run(SocketShutdown(peer, 1), SocketReceive(client), SocketReceive(client))[1:]
    assert [received(result) for result in rest] == [b" back", b""]


def test_a_datagram_says_from_whom_it_is(run: Run) -> None:
    one, two = opened(run, INET, DGRAM), opened(run, INET, DGRAM)
    here, there = bound(run, one), bound(run, two)
    assert run(SocketSend(one, b"x", there), SocketReceive(two)) == [Done(), Received(b"x", here)]


def test_silence_ends_with_the_time(run: Run) -> None:
    handle = opened(run, INET, DGRAM)
    bound(run, handle)
    (late,) = run(SocketReceive(handle, timeout=0.05))
    assert isinstance(late, Failed)
    assert (late.errno, late.text) == (errno.ETIMEDOUT, "nothing arrived within 0.05 s")
    listening = opened(run, INET, STREAM)
    bound(run, listening)
    late = run(SocketListen(listening), SocketAccept(listening, timeout=0.05))[1]
    assert isinstance(late, Failed)
    assert late.text == "no peer connected within 0.05 s"


def test_options_are_bytes(run: Run) -> None:
    handle = opened(run, INET, DGRAM)
    results = run(
        SocketSet(handle, SOL_SOCKET, int(socket.SO_PRIORITY), struct.pack("=i", 5)),
        SocketGet(handle, SOL_SOCKET, int(socket.SO_PRIORITY)),
    )
    assert results == [Done(), Data(struct.pack("=i", 5))]


def test_what_the_kernel_refuses_has_its_errno(run: Run) -> None:
    handle = opened(run, INET, STREAM)
    (refused,) = run(SocketConnect(handle, Address("127.0.0.1", 1)))
    assert isinstance(refused, Failed)
    assert refused.errno == errno.ECONNREFUSED
    (refused,) = run(SocketOpen(INET, 77))
    assert isinstance(refused, Failed)
    assert refused.errno in (errno.EINVAL, errno.ESOCKTNOSUPPORT)
    _, refused = run(NetNs(), Try(SocketSend(Ref(0), b"x")))
    assert isinstance(refused, Failed)
    assert "is not a socket" in refused.text
    run(Close(handle))
    (refused,) = run(SocketListen(handle))
    assert isinstance(refused, Failed)
    assert "was closed" in refused.text


def test_a_socket_belongs_to_the_namespace_it_was_opened_in(run: Run) -> None:
    namespace = check(run(NetNs())[0], Made).handle
    inside = opened(run, INET, STREAM, netns=namespace)
    address = bound(run, inside)
    run(SocketListen(inside))
    outside = opened(run, INET, STREAM)
    (refused,) = run(SocketConnect(outside, address))
    assert isinstance(refused, Failed)
    neighbour = opened(run, INET, STREAM, netns=namespace)
    assert run(SocketConnect(neighbour, address)) == [Done()]


def test_a_socket_made_in_a_cgroup_works_as_any(run: Run, kernel: Kernel) -> None:
    path = f"{cgroup_root(kernel)}/{unique('socket')}"
    run(MakeDir(path))
    handle = opened(run, INET, DGRAM, cgroup=path)
    there = bound(run, handle)
    assert run(SocketSend(handle, b"x", there), SocketReceive(handle))[1] == Received(b"x", there)
    assert check(run(ReadFile(f"{path}/cgroup.procs"))[0], Data).data == b""
    (refused,) = run(SocketOpen(INET, 77, cgroup=path))
    assert isinstance(refused, Failed)
    assert refused.errno in (errno.EINVAL, errno.ESOCKTNOSUPPORT)
    (refused,) = run(SocketOpen(INET, DGRAM, cgroup="/no/such/group"))
    assert isinstance(refused, Failed)
    assert refused.errno == errno.ENOENT


def test_a_descriptor_of_a_process(run: Run) -> None:
    made, gone = run(PidFd(), Try(PidFd(1 << 21)))
    assert check(made, Made).handle.kind == "pidfd"
    assert isinstance(gone, Failed)
    assert gone.errno in (errno.ESRCH, errno.EINVAL)
