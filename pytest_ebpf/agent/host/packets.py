"""Ops on packet sockets (packet(7))."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Refused
from pytest_ebpf.agent.base.syscalls import error_text
from pytest_ebpf.agent.host.markers import all_arrived
from pytest_ebpf.agent.host.netns import inside
from pytest_ebpf.agent.ops import Done, Failed, Made, Obj, PacketDrain, PacketOpen, PacketSend, Records, Result
from pytest_ebpf.uapi import numbers

__all__ = ["packet_drain", "packet_open", "packet_send"]

_ROOM = 16 << 20  # bytes of frames that nobody took yet
_LARGEST = 1 << 18
_HAND_OVER = 0.05  # seconds for what a thread of the kernel hands on (a cpumap), behind all softirqs
_AUX = struct.Struct("=IIIHHHH")


def packet_open(op: PacketOpen, batch: Batch) -> Result:
    """One socket, or one per protocol."""
    wanted = op.protocols or (numbers.ETH_P_ALL,)
    sockets: list[socket.socket] = []
    try:
        for protocol in wanted:
            sockets.append(inside(batch, op.netns, call=lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)))
            _prepare(sockets[-1], op.interface, protocol=protocol)
    except OSError as error:
        for each in sockets:
            each.close()
        return Failed("PacketOpen", error.errno or 0, f"{op.interface}: {error_text(error.errno or 0)}")
    entry = batch.own(-1, "capture", name=op.interface, site=op.site, own=False)
    entry.state = sockets
    entry.closers += [each.close for each in sockets]
    return Made(entry.handle)


def _prepare(sock: socket.socket, interface: str, *, protocol: int) -> None:
    sock.setsockopt(numbers.SOL_PACKET, numbers.PACKET_AUXDATA, 1)
    sock.setsockopt(numbers.SOL_PACKET, numbers.PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, numbers.SO_RCVBUFFORCE, _ROOM)
    sock.setblocking(False)
    sock.bind((interface, protocol))  # Python puts the protocol into network byte order


def _sockets(batch: Batch, obj: Obj) -> list[socket.socket]:
    entry = batch.entry(obj)
    if not isinstance(entry.state, list) or entry.kind != "capture":
        raise Refused(f"{entry.label} is not a packet socket")
    return entry.state


def packet_send(op: PacketSend, batch: Batch) -> Result:
    """All frames, or an error that says which of them was refused."""
    sock = _sockets(batch, op.socket)[0]
    for number, frame in enumerate(op.frames, 1):
        try:
            _send(sock, frame)
        except OSError as error:
            words = f"frame {number} of {len(op.frames)} ({len(frame)} bytes): {error_text(error.errno or 0)}"
            return Failed("PacketSend", error.errno or 0, words)
    return Done()


def _send(sock: socket.socket, frame: bytes) -> None:
    while True:
        try:
            sock.send(frame)
            return
        except BlockingIOError:  # the queue is full
            poll = select.poll()  # select(2) knows no descriptor above 1,023
            poll.register(sock.fileno(), select.POLLOUT)
            poll.poll(1000)
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # NET_XMIT_DROP: a program on its way took it
                raise
            return


def packet_drain(op: PacketDrain, batch: Batch) -> Result:
    """What there is, after waiting for as many as were asked for."""
    sockets = _sockets(batch, op.socket)
    poll = select.poll()
    for sock in sockets:
        poll.register(sock.fileno(), select.POLLIN)
    deadline = time.monotonic() + op.timeout_ms / 1000
    quiet = deadline if op.quiet_ms < 0 else time.monotonic() + op.quiet_ms / 1000
    frames: list[bytes] = []
    while True:
        _take(sockets, frames, limit=op.limit)
        now = time.monotonic()
        if len(frames) >= op.at_least or now >= deadline or (op.limit and len(frames) >= op.limit):
            lost = sum(
                struct.unpack("=II", s.getsockopt(numbers.SOL_PACKET, numbers.PACKET_STATISTICS, 8))[1] for s in sockets
            )
            return Records(tuple(frames), lost=lost)
        if quiet <= now < deadline:  # asked once: what is not sure now takes the whole time
            quiet = deadline
            deadline = min(deadline, time.monotonic() + _HAND_OVER) if all_arrived(batch) else deadline
        poll.poll(max(0.0, min(quiet, deadline) - time.monotonic()) * 1000)


def _take(sockets: list[socket.socket], frames: list[bytes], *, limit: int) -> None:
    for sock in sockets:
        while not limit or len(frames) < limit:
            try:
                data, extra, _, _ = sock.recvmsg(_LARGEST, socket.CMSG_SPACE(_AUX.size))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENETDOWN:  # said once after an interface went down; frames before it stay
                    continue
                raise
            frames.append(_with_tag(data, extra))


def _with_tag(data: bytes, extra: list[tuple[int, int, bytes]]) -> bytes:
    """The frame with the VLAN tag that the kernel keeps beside it."""
    for level, kind, raw in extra:
        if level == numbers.SOL_PACKET and kind == numbers.PACKET_AUXDATA and len(raw) >= _AUX.size:
            status, _, _, _, _, tci, tpid = _AUX.unpack_from(raw)
            if status & numbers.TP_STATUS_VLAN_VALID:
                tag = struct.pack(">HH", tpid if status & numbers.TP_STATUS_VLAN_TPID_VALID else 0x8100, tci)
                return data[:12] + tag + data[12:]
    return data
