"""Many map entries in one go: the kernel's batch commands, or one key after the other where it has none."""

from __future__ import annotations

from errno import EAGAIN, EBUSY, EINTR, EINVAL, ENOENT, ENOSPC
from struct import Struct

from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Entry, MapShape, Refused
from pytest_ebpf.agent.base.syscalls import Memory, bpf_at, bpf_errno, error_text
from pytest_ebpf.agent.bpf.maps import elem_attr, shape_of, value_width
from pytest_ebpf.agent.ops import Done, Entries, Failed, MapDeleteMany, MapDump, MapTakeMany, MapUpdate, Result
from pytest_ebpf.uapi.enums import Cmd, MapType
from pytest_ebpf.uapi.layouts import ATTR_MAP_BATCH
from pytest_ebpf.uapi.numbers import ENOTSUPP

__all__ = ["map_delete_many", "map_dump", "map_take_many", "map_update"]

# Without batches: EINVAL from a kernel before 5.6, ENOTSUPP from a map type that has none.
_NO_BATCH = frozenset({EINVAL, ENOTSUPP})
_TRY_AGAIN = frozenset({EINTR, EAGAIN, EBUSY})
_CHUNK_BYTES = 4 << 20
_MIN_CHUNK = 256
_KEYLESS = frozenset(
    {MapType.QUEUE, MapType.STACK, MapType.BLOOM_FILTER, MapType.RINGBUF, MapType.USER_RINGBUF, MapType.ARENA}
)
_SLOTS = Struct("=I4xQQQ")


def map_dump(op: MapDump, batch: Batch) -> Result:
    """Every entry. Entries that come or go meanwhile may be missed, as with any reader of a live map."""
    entry = batch.entry(op.map)
    shape = shape_of(batch, entry)
    if MapType(shape.type) in _KEYLESS:
        raise Refused(f"{entry.label} has no keys to go over ({MapType(shape.type).name})")
    limit = op.limit or 1 << 62
    dump = _Dump(entry, shape, limit=limit)
    if not dump.batched():
        dump.one_by_one()
    return dump.entries()


def map_take_many(op: MapTakeMany, batch: Batch) -> Result:
    """With batches only (hash maps, Linux 5.6): one by one, a walk over keys that vanish would start over each time."""
    entry = batch.entry(op.map)
    shape = shape_of(batch, entry)
    if MapType(shape.type) in _KEYLESS:
        raise Refused(f"{entry.label} has no keys to go over ({MapType(shape.type).name})")
    taking = _Dump(entry, shape, limit=op.limit or 1 << 62, command=Cmd.MAP_LOOKUP_AND_DELETE_BATCH)
    if not taking.batched():
        raise OSError(ENOTSUPP, error_text(ENOTSUPP))
    return taking.everything()


def map_delete_many(op: MapDeleteMany, batch: Batch) -> Result:
    """Many deletions. A failure says how many were done before it."""
    entry = batch.entry(op.map)
    shape = shape_of(batch, entry)
    if len(op.keys) != op.count * shape.key_size:
        raise Refused(f"{entry.label}: {op.count} keys are {op.count * shape.key_size} bytes, got {len(op.keys)}")
    if not op.count:
        return Done()
    keys = Memory(len(op.keys))
    keys.view[: len(op.keys)] = op.keys
    attr = ATTR_MAP_BATCH.pack(keys=keys.address, count=op.count, map_fd=entry.fd)
    result = bpf_errno(Cmd.MAP_DELETE_BATCH, attr)
    done = min(ATTR_MAP_BATCH.get(attr, name="count"), op.count)
    if -result in _NO_BATCH:
        for done in range(op.count):
            attr = elem_attr(entry.fd, keys.address + done * shape.key_size)
            if (result := bpf_errno(Cmd.MAP_DELETE_ELEM, attr)) < 0:
                break
    if result < 0:
        text = f"{entry.label}: {error_text(-result)} after {done} of {op.count} keys"
        return Failed("MapDeleteMany", -result, text)
    return Done()


class _Dump:
    """One dump under way. ``command``: the batch command, which looks or takes."""

    def __init__(self, entry: Entry, shape: MapShape, *, limit: int, command: Cmd = Cmd.MAP_LOOKUP_BATCH) -> None:
        self._command = command
        self._fd = entry.fd
        self._shape = shape
        self._limit = limit
        self._keys: list[bytes] = []
        self._values: list[bytes] = []
        self._count = 0

    def entries(self) -> Entries:
        """What was read, without what came beyond the limit."""
        return self._first(min(self._count, self._limit))

    def everything(self) -> Entries:
        """What was read."""
        return self._first(self._count)

    def _first(self, count: int) -> Entries:
        key, width = self._shape.key_size, self._shape.width
        keys, values = b"".join(self._keys), b"".join(self._values)
        return Entries(keys[: count * key], values[: count * width], count, key, width)

    def batched(self) -> bool:
        """False: this kernel or map type has no batches (nothing was read)."""
        shape = self._shape
        chunk = self._chunk()
        keys, values = Memory(chunk * shape.key_size), Memory(chunk * shape.width)
        # Hash maps keep a u32 bucket number here, the others the last key.
        cursors = (Memory(max(shape.key_size, 8)), Memory(max(shape.key_size, 8)))
        start = 0
        while self._count < self._limit:
            attr = ATTR_MAP_BATCH.pack(
                in_batch=start,
                out_batch=cursors[1].address,
                keys=keys.address,
                values=values.address,
                count=chunk,
                map_fd=self._fd,
            )
            result = bpf_errno(self._command, attr)
            if -result in _NO_BATCH and not self._count:
                return False
            if result == -ENOSPC:  # a hash bucket holds more than the buffer: nothing was copied
                chunk *= 2
                keys, values = Memory(chunk * shape.key_size), Memory(chunk * shape.width)
                continue
            if -result in _TRY_AGAIN:
                continue
            if result < 0 and result != -ENOENT:
                raise OSError(-result, error_text(-result))
            self._take(keys, values, count=ATTR_MAP_BATCH.get(attr, name="count"))
            if result == -ENOENT:
                break
            start = cursors[1].address
            cursors = (cursors[1], cursors[0])
        return True

    def _chunk(self) -> int:
        fitting = max(_MIN_CHUNK, _CHUNK_BYTES // max(1, self._shape.key_size + self._shape.width))
        return max(1, min(self._shape.max_entries, fitting, self._limit))

    def _take(self, keys: Memory, values: Memory, *, count: int) -> None:
        self._keys.append(bytes(keys.view[: count * self._shape.key_size]))
        self._values.append(bytes(values.view[: count * self._shape.width]))
        self._count += count

    def one_by_one(self) -> None:
        """GET_NEXT_KEY and a lookup each. A key deleted under our feet makes the kernel start over, so the number of
        steps is bounded by twice the size of the map."""
        shape = self._shape
        cursors = (Memory(shape.key_size), Memory(shape.key_size))
        value = Memory(shape.width)
        steps = 2 * shape.max_entries + _MIN_CHUNK
        key = 0
        while self._count < self._limit and steps:
            steps -= 1
            result = bpf_errno(Cmd.MAP_GET_NEXT_KEY, elem_attr(self._fd, key, value=cursors[1].address))
            if result == -ENOENT:
                return
            if result < 0:
                raise OSError(-result, error_text(-result))
            cursors = (cursors[1], cursors[0])
            key = cursors[0].address
            if bpf_errno(Cmd.MAP_LOOKUP_ELEM, elem_attr(self._fd, key, value=value.address)) >= 0:
                self._take(cursors[0], value, count=1)


def map_update(op: MapUpdate, batch: Batch) -> Result:
    """Many updates. A failure says how many were done before it."""
    entry = batch.entry(op.map)
    shape = shape_of(batch, entry)
    width = value_width(shape, op.flags)
    if len(op.keys) != op.count * shape.key_size or len(op.values) != op.count * width:
        raise Refused(
            f"{entry.label}: {op.count} entries need {op.count * shape.key_size} bytes of keys and"
            f" {op.count * width} of values, got {len(op.keys)} and {len(op.values)}"
        )
    if not op.count:
        return Done()
    keys, values = Memory(len(op.keys)), Memory(len(op.values))
    keys.view[: len(op.keys)] = op.keys
    values.view[: len(op.values)] = op.values
    attr = ATTR_MAP_BATCH.pack(
        keys=keys.address, values=values.address, count=op.count, map_fd=entry.fd, elem_flags=op.flags
    )
    result = bpf_errno(Cmd.MAP_UPDATE_BATCH, attr)
    done = ATTR_MAP_BATCH.get(attr, name="count") if result >= 0 else 0
    if -result in _NO_BATCH:
        done, result = _update_each(op, entry, addresses=(keys.address, values.address))
    elif result < 0:
        done = min(ATTR_MAP_BATCH.get(attr, name="count"), op.count)
    if result < 0:
        return Failed("MapUpdate", -result, f"{entry.label}: {error_text(-result)} after {done} of {op.count} entries")
    return Done()


def _update_each(op: MapUpdate, entry: Entry, *, addresses: tuple[int, int]) -> tuple[int, int]:
    """(how many were done, 0 or -errno). Also the way to the true errno of a failing batch."""
    shape = entry.shape
    assert shape is not None
    key, value = addresses
    attr = Memory(_SLOTS.size)
    for index in range(op.count):
        _SLOTS.pack_into(attr.view, 0, entry.fd, key, value, op.flags)
        result = bpf_at(Cmd.MAP_UPDATE_ELEM, attr.address, size=_SLOTS.size)
        if result < 0:
            return index, result
        key += shape.key_size
        value += value_width(shape, op.flags)
    return op.count, 0
