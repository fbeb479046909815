"""The kernel's own BTF objects: vmlinux and one per loaded module, found by name."""

from __future__ import annotations

import os
from errno import ENOENT

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.syscalls import Memory, bpf_errno, error_text
from pytest_ebpf.agent.bpf.info import object_info, open_id
from pytest_ebpf.agent.ops import BtfByName, Made, Result
from pytest_ebpf.uapi.enums import Cmd
from pytest_ebpf.uapi.layouts import ATTR_ID, BTF_INFO

__all__ = ["btf_by_name"]

_NAME = 64  # MODULE_NAME_LEN
_ROOM = 64


def btf_by_name(op: BtfByName, batch: Batch) -> Result:
    """Walk the BTF objects: those of the kernel come first, as they are as old as their modules."""
    last = 0
    while True:
        attr = ATTR_ID.pack(id=last).ljust(12, b"\0")
        result = bpf_errno(Cmd.BTF_GET_NEXT_ID, attr)
        if result < 0:
            raise OSError(-result, error_text(-result))
        last = ATTR_ID.get(attr, name="next_id")
        try:
            fd = open_id("btf", last)
        except OSError as error:
            if error.errno == ENOENT:
                continue  # gone in between
            raise
        if _kernel_name(fd) == op.name:
            return Made(batch.own(fd, "btf", name=op.name, site=op.site, own=False).handle)
        os.close(fd)


def _kernel_name(fd: int) -> str:
    """The name of a kernel BTF object, "" for one that a program brought. Names came with Linux 5.11 (5329722057d4)."""
    name, memory = Memory(_NAME), Memory(_ROOM)
    request = BTF_INFO.pack(name=name.address, name_len=_NAME)
    memory.view[: len(request)] = request
    info = object_info(fd, memory=memory, length=BTF_INFO.size)
    return name.text().decode(errors="replace") if BTF_INFO.get(info, name="kernel_btf") else ""
