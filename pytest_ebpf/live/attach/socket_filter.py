"""Programs on single sockets: filters, and the choice among the sockets of a reuseport group."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping

from pytest_ebpf.agent.ops import Done, Failed, Handle, SocketSet
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.net.sockets import Socket
from pytest_ebpf.live.session import Session

__all__ = ["attach_socket"]

# include/uapi/asm-generic/socket.h; SO_DETACH_REUSEPORT_BPF came with Linux 5.3
_ATTACH_BPF, _ATTACH_REUSEPORT_EBPF, _DETACH_BPF, _DETACH_REUSEPORT = 50, 52, 27, 68
_SK_REUSEPORT = 21  # enum bpf_prog_type
_NOTHING = struct.pack("=i", 0)


def attach_socket(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """``socket``: one from ``bpf.socket``. A filter sees what arrives at it; with ``reuseport=True`` it chooses the
    socket of the group by its number, which sk_reuseport programs do in any case."""
    sock = named["socket"]
    if not isinstance(sock, Socket):
        raise BpfUsageError(
            f"{program.name}: socket= is a socket from bpf.socket(...), not {sock!r}",
            hint="A socket of the test itself may be on another kernel than the program.",
        )
    group = program.type_number == _SK_REUSEPORT or bool(named.get("reuseport"))
    put, off = (_ATTACH_REUSEPORT_EBPF, _DETACH_REUSEPORT) if group else (_ATTACH_BPF, _DETACH_BPF)

    def attach(new: Handle, old: Handle) -> None:
        op = SocketSet(sock.handle, socket.SOL_SOCKET, put, new)
        answer = session.attempt(op, Done)
        if isinstance(answer, Failed):
            _say_why(session, op, failed=answer, group=group)

    def undo() -> None:
        session.attempt(SocketSet(sock.handle, socket.SOL_SOCKET, off, _NOTHING), Done)

    attach(program.handle, program.handle)
    mechanism = "reuseport group" if group else "socket filter"
    return Link(session, program=program, target=repr(sock), mechanism=mechanism, undo=undo, swap=attach)


def _say_why(session: Session, op: SocketSet, *, failed: Failed, group: bool) -> None:
    try:
        session.checked(op, failed, kind=Done)
    except KernelCallError as error:
        if group and error.errno == errno.EINVAL:
            error.hint = "The socket is in no group: open it with bpf.socket(..., reuse_port=True) and bind it first."
        elif error.errno == errno.EINVAL:
            error.hint = 'A socket takes filters of type socket (SEC("socket")) only.'
        raise
