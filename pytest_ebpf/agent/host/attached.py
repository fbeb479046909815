"""Programs that PROG_ATTACH hung on something that outlives their process: a cgroup, a device."""

from __future__ import annotations

import os
import struct

from pytest_ebpf.agent.base.syscalls import Memory, bpf
from pytest_ebpf.uapi.enums import Cmd
from pytest_ebpf.uapi.layouts import ATTR_ID, ATTR_PROG_ATTACH, ATTR_PROG_QUERY

__all__ = ["attachment", "detach"]

_MOST = 64  # BPF_CGROUP_MAX_PROGS


def attachment(path: str, attach_type: int, *, prog_id: int) -> str:
    """The words of the ledger for one."""
    return f"{attach_type} {prog_id} {path}"


def detach(words: str) -> bool:
    """Detach what they name. False where it does not hang there any more: a cgroup that has one program detaches that,
    whichever is named (kernel/bpf/cgroup.c, find_detach_entry, Linux 7.3), so it is asked before."""
    attach_type, prog_id, path = words.split(" ", 2)
    target = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if int(prog_id) not in _attached(target, int(attach_type)):
            return False
        prog = bpf(Cmd.PROG_GET_FD_BY_ID, ATTR_ID.pack(id=int(prog_id)).ljust(12, b"\0"))
        try:
            bpf(
                Cmd.PROG_DETACH,
                ATTR_PROG_ATTACH.pack(target_fd=target, attach_bpf_fd=prog, attach_type=int(attach_type)),
            )
        finally:
            os.close(prog)
    finally:
        os.close(target)
    return True


def _attached(target: int, attach_type: int) -> tuple[int, ...]:
    ids = Memory(4 * _MOST)
    attr = ATTR_PROG_QUERY.pack(target_fd=target, attach_type=attach_type, prog_ids=ids.address, prog_cnt=_MOST)
    attr = attr.ljust(ATTR_PROG_QUERY.size, b"\0")
    bpf(Cmd.PROG_QUERY, attr)
    return struct.unpack_from(f"={ATTR_PROG_QUERY.get(attr, name='prog_cnt')}I", ids.view)
