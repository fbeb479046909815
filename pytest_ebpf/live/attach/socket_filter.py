"""Programs on single sockets: filters, and the choice among the sockets of a reuseport group."""

from __future__ import annotations

import errno
import socket as posix
import struct

from pytest_ebpf.agent.ops import Done, Failed, Handle, SocketSet
from pytest_ebpf.errors import KernelCallError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link, Mechanism, ReplaceableAttachment
from pytest_ebpf.live.net.sockets import Socket
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.numbers import SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_EBPF, SO_DETACH_BPF, SO_DETACH_REUSEPORT_BPF

__all__ = ["attach_reuseport", "attach_socket"]

_NOTHING = struct.pack("=i", 0)


def attach_socket(session: Session, program: AttachableProgram, *, socket: Socket, reuseport: bool = False) -> Link:
    """On a socket from ``bpf.socket``. The filter sees what arrives at it; with ``reuseport=True`` it chooses
    the socket of the group by number, as sk_reuseport programs do."""
    if reuseport:
        return attach_reuseport(session, program, socket=socket)
    return _attach(session, program, socket=socket, mechanism=Mechanism.SOCKET_FILTER)


def attach_reuseport(session: Session, program: AttachableProgram, *, socket: Socket) -> Link:
    """On the reuseport group of a socket from ``bpf.socket``."""
    return _attach(session, program, socket=socket, mechanism=Mechanism.REUSEPORT)


def _attach(session: Session, program: AttachableProgram, *, socket: Socket, mechanism: Mechanism) -> Link:
    group = mechanism is Mechanism.REUSEPORT
    # SO_DETACH_REUSEPORT_BPF came with Linux 5.3
    attach, detach = (SO_ATTACH_REUSEPORT_EBPF, SO_DETACH_REUSEPORT_BPF) if group else (SO_ATTACH_BPF, SO_DETACH_BPF)

    def put(new: Handle, old: Handle) -> None:
        op = SocketSet(socket.handle, posix.SOL_SOCKET, attach, new)
        answer = session.attempt(op, Done)
        if isinstance(answer, Failed):
            _raise(session, op, failed=answer, group=group)

    def remove(current: Handle) -> None:
        session.attempt(SocketSet(socket.handle, posix.SOL_SOCKET, detach, _NOTHING), Done)

    put(program.handle, program.handle)
    attachment = ReplaceableAttachment(program.handle, put=put, remove=remove)
    return Link(session, program=program, target=repr(socket), mechanism=mechanism, attachment=attachment)


def _raise(session: Session, op: SocketSet, *, failed: Failed, group: bool) -> None:
    try:
        session.checked(op, failed, kind=Done)
    except KernelCallError as error:
        if group and error.errno == errno.EINVAL:
            error.hint = "The socket is in no group: open it with bpf.socket(..., reuse_port=True) and bind it first."
        elif error.errno == errno.EINVAL:
            error.hint = 'A socket takes filters of type socket (SEC("socket")) only.'
        raise
