"""What the kernel reports about its objects: info structs, ids, names."""

from __future__ import annotations

import os
import re
from errno import ENOENT

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Refused
from pytest_ebpf.agent.base.syscalls import Memory, address_of_buffer, bpf, bpf_errno, error_text
from pytest_ebpf.agent.ops import Info, InfoByFd, Made, NextId, ObjById, Result, Value
from pytest_ebpf.uapi.enums import Cmd
from pytest_ebpf.uapi.layouts import ATTR_ID, ATTR_INFO, BTF_INFO, LINK_INFO, MAP_INFO, PROG_INFO

__all__ = [
    "ID_KINDS",
    "fd_kind",
    "info_by_fd",
    "kernel_id",
    "map_ids",
    "map_shape",
    "next_id",
    "obj_by_id",
    "object_info",
    "object_name",
    "open_id",
]

_ROOM = 512  # larger than any info struct so far: the kernel takes zeroes beyond what it knows
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.]")
_NAME_LENGTH = 15
_ANON_INODES = {"bpf-map": "map", "bpf-prog": "prog", "bpf_link": "link", "bpf-link": "link", "btf": "btf"}
_LAYOUTS = {"prog": PROG_INFO, "map": MAP_INFO, "link": LINK_INFO, "btf": BTF_INFO}
# kind -> (GET_NEXT_ID, GET_FD_BY_ID)
ID_KINDS = {
    "prog": (Cmd.PROG_GET_NEXT_ID, Cmd.PROG_GET_FD_BY_ID),
    "map": (Cmd.MAP_GET_NEXT_ID, Cmd.MAP_GET_FD_BY_ID),
    "btf": (Cmd.BTF_GET_NEXT_ID, Cmd.BTF_GET_FD_BY_ID),
    "link": (Cmd.LINK_GET_NEXT_ID, Cmd.LINK_GET_FD_BY_ID),
}


def object_name(name: str) -> bytes:
    """A name as the kernel takes it: 15 characters out of [A-Za-z0-9_.] (bpf_obj_name_cpy)."""
    return _NOT_IN_NAMES.sub("_", name[:_NAME_LENGTH]).encode()


def fd_kind(fd: int) -> str:
    """What kind of bpf object an fd is; "" for anything else."""
    name = os.readlink(f"/proc/self/fd/{fd}").removeprefix("anon_inode:").strip("[]")
    return _ANON_INODES.get(name, "")


def object_info(fd: int, *, memory: Memory | None = None, length: int = _ROOM) -> bytes:
    """The info struct of a bpf object, as long as the kernel's is. ``memory`` may hold input fields."""
    info = bytearray(length) if memory is None else memory.view
    attr = ATTR_INFO.pack(bpf_fd=fd, info_len=length, info=address_of_buffer(info))
    bpf(Cmd.OBJ_GET_INFO_BY_FD, attr)
    return bytes(info[: ATTR_INFO.get(attr, name="info_len")])


def map_shape(fd: int) -> tuple[int, int, int, int]:
    """(type, key_size, value_size, max_entries) of a map."""
    info = object_info(fd)
    type_, key, value, entries = (
        MAP_INFO.get(info, name=name) for name in ("type", "key_size", "value_size", "max_entries")
    )
    return type_, key, value, entries


def map_ids(fd: int, info: bytes) -> tuple[int, ...]:
    """The ids of the maps that a program uses; ``info`` is its info struct."""
    count = PROG_INFO.get(info, name="nr_map_ids")
    if not count:
        return ()
    ids = Memory(4 * count)
    memory = Memory(_ROOM)
    request = PROG_INFO.pack(nr_map_ids=count, map_ids=ids.address)
    memory.view[: len(request)] = request
    count = min(count, PROG_INFO.get(object_info(fd, memory=memory), name="nr_map_ids"))
    return tuple(ids.view.cast("I")[:count])


def kernel_id(fd: int, kind: str) -> int:
    """The kernel's id of an object; 0 where this kernel gives none (links before 5.8)."""
    try:
        return _LAYOUTS[kind].get(object_info(fd), name="id")
    except OSError:
        return 0


def info_by_fd(op: InfoByFd, batch: Batch) -> Result:
    """The info struct, and for a program its maps."""
    entry = batch.entry(op.obj)
    if entry.kind not in _LAYOUTS:
        raise Refused(f"{entry.label} has no info struct")
    info = object_info(batch.fd(op.obj))
    return Info(entry.kind, info, map_ids(entry.fd, info) if entry.kind == "prog" else ())


def _id_commands(kind: str) -> tuple[Cmd, Cmd]:
    if kind not in ID_KINDS:
        raise Refused(f"no ids of kind {kind!r}: {', '.join(ID_KINDS)}")
    return ID_KINDS[kind]


def next_id(op: NextId, batch: Batch) -> Result:
    """The id after one."""
    attr = ATTR_ID.pack(id=op.after).ljust(12, b"\0")
    result = bpf_errno(_id_commands(op.kind)[0], attr)
    if result == -ENOENT:
        return Value(None)
    if result < 0:
        raise OSError(-result, error_text(-result))
    return Value(bytes(attr[4:8]))


def open_id(kind: str, id: int) -> int:
    """An fd of the object with an id. Raises ``OSError`` (ENOENT: there is none)."""
    return bpf(_id_commands(kind)[1], ATTR_ID.pack(id=id))


def obj_by_id(op: ObjById, batch: Batch) -> Result:
    """Someone else's object."""
    fd = open_id(op.kind, op.id)
    return Made(batch.own(fd, op.kind, name=f"#{op.id}", site=op.site, own=False).handle)
