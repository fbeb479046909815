"""What programs write to their own streams (bpf_stream_vprintk, and the kernel's reports about them)."""

from __future__ import annotations

from struct import Struct

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.syscalls import Memory, bpf_errno, error_text
from pytest_ebpf.agent.ops import Data, Result, StreamRead
from pytest_ebpf.uapi.enums import Cmd

__all__ = ["stream_read"]

_ATTR = Struct("=QIII4x")  # stream_buf, stream_buf_len, stream_id, prog_fd
_CHUNK = 64 << 10
_MOST = 64 << 20  # the kernel keeps no more than 100,000 bytes of a stream (kernel/bpf/stream.c)


def stream_read(op: StreamRead, batch: Batch) -> Result:
    """Everything that waits; reading takes it out."""
    fd = batch.fd(op.prog)
    room = Memory(_CHUNK)
    found = bytearray()
    while len(found) < _MOST:
        size = bpf_errno(Cmd.PROG_STREAM_READ_BY_FD, bytearray(_ATTR.pack(room.address, _CHUNK, op.stream, fd)))
        if size < 0:
            raise OSError(-size, error_text(-size))
        if size == 0:
            break
        found += room.view[:size]
    return Data(bytes(found))
