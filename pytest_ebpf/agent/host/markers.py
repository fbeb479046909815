"""Whether the frames that were sent have all arrived: markers go the same way behind them.

A frame between two virtual interfaces waits in the backlog of the processor that sent it (net/core/dev.c), which the
same softirq works off in order, so what is behind it is later. The markers have a network namespace of their own: no
program of a test sees them, none counts or drops them.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.syscalls import unshare
from pytest_ebpf.agent.host.netns import in_thread, loopback_up
from pytest_ebpf.uapi.numbers import CLONE_NEWNET, ETH_P_ALL, PACKET_IGNORE_OUTGOING, SOL_PACKET

__all__ = ["all_arrived"]

# Each takes one look at all queues of the processor. A full queue of a veth (256 frames) takes four looks of 64, and
# a frame that is redirected, answered or forwarded waits in one queue after the other.
_ROUNDS = 16
_PATIENCE_MS = 500  # for one marker
_KEY = "markers"
_TYPE = b"\x88\xb5"  # for experiments (IEEE 802)


def all_arrived(batch: Batch) -> bool:
    """Whether it is sure. Not while a process of the test runs, which may send more, and not where this process may
    not make a network namespace."""
    if any(entry.kind == "process" and not getattr(entry.state, "over", True) for entry in batch.table):
        return False
    try:
        sock = batch.table.cache.get(_KEY)
        if not isinstance(sock, socket.socket):
            sock = batch.table.cache[_KEY] = in_thread(_open)
        marked = sock
        return in_thread(lambda: _mark_each(marked))
    except OSError:
        return False


def _open() -> socket.socket:
    """A socket at the loopback of a new namespace, which lives as long as the socket."""
    unshare(CLONE_NEWNET)
    loopback_up()
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        sock.setblocking(False)
        sock.bind(("lo", ETH_P_ALL))
    except OSError:
        sock.close()
        raise
    return sock


def _mark_each(sock: socket.socket) -> bool:
    """Markers through the queues of every processor. Runs in a thread of its own, which is moved about."""
    for cpu in sorted(os.sched_getaffinity(0)):
        with suppress(OSError):  # went offline: its queue was handed to another one
            os.sched_setaffinity(0, {cpu})
        for number in range(_ROUNDS):
            if not _returns(sock, bytes(12) + _TYPE + os.urandom(8) + number.to_bytes(38, "big")):
                return False
    return True


def _returns(sock: socket.socket, marker: bytes) -> bool:
    sock.send(marker)
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    while poll.poll(_PATIENCE_MS):
        with suppress(BlockingIOError):
            if sock.recv(len(marker)) == marker:
                return True
    return False
