"""Ops on maps."""

from __future__ import annotations

import os
from errno import ENOENT
from struct import Struct

from pytest_ebpf.agent import ops
from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, MapShape, Refused
from pytest_ebpf.agent.base.syscalls import Memory, address_of, bpf, bpf_errno, error_text, raise_memlock
from pytest_ebpf.agent.base.sysfs import possible_cpus
from pytest_ebpf.agent.bpf.arena import map_arena
from pytest_ebpf.agent.bpf.info import map_shape, object_name
from pytest_ebpf.agent.host.netns import inside
from pytest_ebpf.uapi.enums import Cmd, MapType
from pytest_ebpf.uapi.layouts import ATTR_MAP_CREATE, ATTR_MAP_ELEM
from pytest_ebpf.uapi.numbers import BPF_F_ALL_CPUS, BPF_F_CPU

__all__ = [
    "elem_attr",
    "inode_of",
    "key_of",
    "map_create",
    "map_delete",
    "map_freeze",
    "map_get",
    "map_pop",
    "map_set",
    "per_cpu_width",
    "shape_of",
    "value_width",
]

_PER_CPU = frozenset(
    {MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH, MapType.PERCPU_CGROUP_STORAGE}
)

# map_fd, key, value, flags
_ELEM = Struct("=I4xQQQ")
_ONE_CPU = BPF_F_CPU | BPF_F_ALL_CPUS  # Linux 7.0: one value, of one CPU or for all of them
_FD = Struct("=I")
_INODE = Struct("=Q")


def per_cpu_width(batch: Batch, *, type: int, value_size: int) -> int:
    """Bytes of one value in user space."""
    if type not in _PER_CPU:
        return value_size
    cpus = batch.table.cache.get("possible")
    if not isinstance(cpus, int):
        cpus = batch.table.cache["possible"] = possible_cpus()
    return (value_size + 7) // 8 * 8 * cpus


def shape_of(batch: Batch, entry: Entry) -> MapShape:
    """A map's geometry; asked of the kernel once for maps that were not made here. Raises ``Refused``."""
    if entry.shape is None:
        if entry.kind != "map":
            raise Refused(f"{entry.label} is not a map")
        type, key_size, value_size, max_entries = map_shape(entry.fd)
        width = per_cpu_width(batch, type=type, value_size=value_size)
        entry.shape = MapShape(type, key_size, value_size, max_entries, width)
    return entry.shape


def key_of(entry: Entry, shape: MapShape, *, key: bytes | ops.Obj, batch: Batch) -> bytes:
    """``key`` as bytes. The kernel always reads key_size bytes. Raises ``Refused``."""
    data = key if isinstance(key, bytes) else _FD.pack(batch.fd(key))
    if len(data) != shape.key_size:
        raise Refused(f"{entry.label} takes keys of {shape.key_size} bytes, got {len(data)}")
    return data


def elem_attr(fd: int, key: int, *, value: int = 0, flags: int = 0) -> bytearray:
    """The attribute of the single-element commands; ``key`` and ``value`` are addresses."""
    return bytearray(_ELEM.pack(fd, key, value, flags))


def _create(batch: Batch, op: ops.MapCreate, *, with_btf: bool) -> int:
    more: dict[str, int] = {}  # what few maps have
    if with_btf:
        more = {"btf_fd": batch.fd(op.btf), "btf_key_type_id": op.btf_key, "btf_value_type_id": op.btf_value}
    if op.inner_map is not None:
        more["inner_map_fd"] = batch.fd(op.inner_map)
    if op.kernel_btf is not None:
        more["value_type_btf_obj_fd"] = batch.fd(op.kernel_btf)
    if op.exclusive:
        more["excl_prog_hash"], more["excl_prog_hash_size"] = address_of(op.exclusive), len(op.exclusive)
    attr = ATTR_MAP_CREATE.pack(
        map_type=op.type,
        key_size=op.key_size,
        value_size=op.value_size,
        max_entries=op.max_entries,
        map_flags=op.flags,
        numa_node=op.numa_node,
        map_name=object_name(op.name),
        map_extra=op.map_extra,
        btf_vmlinux_value_type_id=op.kernel_value,
        **more,
    )
    return raise_memlock(lambda: bpf_errno(Cmd.MAP_CREATE, attr))


def map_create(op: ops.MapCreate, batch: Batch) -> ops.Result:
    """A map refused with BTF is tried without: which map types take type ids differs between kernels."""
    fd = first = _create(batch, op, with_btf=op.btf is not None)
    if fd < 0 and op.btf is not None:
        fd = _create(batch, op, with_btf=False)
    if fd < 0:
        raise OSError(-first, error_text(-first))
    entry = batch.own(fd, "map", name=op.name, site=op.site)
    width = per_cpu_width(batch, type=op.type, value_size=op.value_size)
    entry.shape = MapShape(op.type, op.key_size, op.value_size, op.max_entries, width)
    if op.inner_map is not None:
        entry.state = "outer"
    if op.type == MapType.ARENA:
        map_arena(entry, pages=op.max_entries, address=op.map_extra)
    return ops.Made(entry.handle)


def map_get(op: ops.MapGet, batch: Batch) -> ops.Result:
    """Look one key up. A queue or stack is peeked at; a bloom filter reports whether ``key`` may be in it."""
    entry = batch.entry(op.map)
    shape = entry.shape or shape_of(batch, entry)
    if shape.type == MapType.BLOOM_FILTER and isinstance(op.key, bytes):
        return _bloom_get(entry, shape, key=op.key)
    key = key_of(entry, shape, key=op.key, batch=batch)
    width = value_width(shape, op.flags)
    value = Memory(width)
    result = bpf_errno(Cmd.MAP_LOOKUP_ELEM, elem_attr(entry.fd, address_of(key), value=value.address, flags=op.flags))
    return _answer(result, value, width=width)


def value_width(shape: MapShape, flags: int) -> int:
    """The length of a value with these flags, in a batch too (kernel/bpf/syscall.c, bpf_map_value_size)."""
    return shape.value_size if flags & _ONE_CPU else shape.width


def _bloom_get(entry: Entry, shape: MapShape, *, key: bytes) -> ops.Result:
    if len(key) != shape.value_size:
        raise Refused(f"{entry.label} takes values of {shape.value_size} bytes, got {len(key)}")
    value = Memory(shape.value_size)
    value.view[:] = key
    result = bpf_errno(Cmd.MAP_LOOKUP_ELEM, elem_attr(entry.fd, 0, value=value.address))
    return _answer(result, value, width=shape.value_size)


def _answer(result: int, value: Memory, *, width: int) -> ops.Result:
    if result == -ENOENT:
        return ops.Value(None)
    if result < 0:
        raise OSError(-result, error_text(-result))
    return ops.Value(bytes(value.view[:width]))


def map_set(op: ops.MapSet, batch: Batch) -> ops.Result:
    """Store one value."""
    entry = batch.entry(op.map)
    shape = entry.shape or shape_of(batch, entry)
    key = key_of(entry, shape, key=op.key, batch=batch)
    if isinstance(op.value, bytes):
        value = _with_fds(op, batch)
    else:
        target = batch.entry(op.value)
        value = _FD.pack(batch.fd(op.value)).ljust(shape.width, b"\0")
        target.held.add(entry.handle.serial)
    if len(value) != value_width(shape, op.flags):
        raise Refused(_wrong_value(entry, shape, got=len(value)))
    attr = elem_attr(entry.fd, address_of(key), value=address_of(value), flags=op.flags)
    inside(batch, op.netns, call=lambda: bpf(Cmd.MAP_UPDATE_ELEM, attr))
    return ops.Done()


def _with_fds(op: ops.MapSet, batch: Batch) -> bytes:
    assert isinstance(op.value, bytes)
    if not op.fds:
        return op.value
    value = bytearray(op.value)
    for at in op.fds:
        if not 0 <= at.offset <= len(value) - _FD.size:
            raise Refused(f"no room for an fd at byte {at.offset} of {len(value)}")
        _FD.pack_into(value, at.offset, batch.fd(at.target))
        batch.entry(at.target).held.add(batch.entry(op.map).handle.serial)
    return bytes(value)


def _wrong_value(entry: Entry, shape: MapShape, *, got: int) -> str:
    if shape.width == shape.value_size:
        return f"{entry.label} takes values of {shape.width} bytes, got {got}"
    each = (shape.value_size + 7) // 8 * 8
    return f"{entry.label} takes {shape.width // each} values of {each} bytes (one per possible CPU), got {got} bytes"


def map_delete(op: ops.MapDelete, batch: Batch) -> ops.Result:
    """Delete one key."""
    entry = batch.entry(op.map)
    key = key_of(entry, entry.shape or shape_of(batch, entry), key=op.key, batch=batch)
    bpf(Cmd.MAP_DELETE_ELEM, elem_attr(entry.fd, address_of(key)))
    return ops.Done()


def map_pop(op: ops.MapPop, batch: Batch) -> ops.Result:
    """Take one value out. Hash maps can since Linux 5.14 (commit 3e87f192b405)."""
    entry = batch.entry(op.map)
    shape = entry.shape or shape_of(batch, entry)
    key_of(entry, shape, key=op.key, batch=batch)
    value = Memory(shape.width)
    attr = elem_attr(entry.fd, address_of(op.key), value=value.address, flags=op.flags)
    return _answer(bpf_errno(Cmd.MAP_LOOKUP_AND_DELETE_ELEM, attr), value, width=shape.width)


def map_freeze(op: ops.MapFreeze, batch: Batch) -> ops.Result:
    """Forbid user space to change the map from now on."""
    bpf(Cmd.MAP_FREEZE, ATTR_MAP_ELEM.pack(map_fd=batch.fd(op.map)))
    return ops.Done()


def inode_of(op: ops.InodeOf, batch: Batch) -> ops.Result:
    """The inode number behind an object's fd."""
    return ops.Value(_INODE.pack(os.fstat(batch.fd(op.obj)).st_ino))
