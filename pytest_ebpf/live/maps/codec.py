"""Keys and values of a map between Python and the kernel, kernel objects among them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from struct import Struct
from types import MappingProxyType
from typing import cast

from pytest_ebpf.agent.ops import Entries, FdAt, Handle, InodeOf, MapDump, ObjById, Op, OpenFile, PidFd, Value
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.maps.kinds import kind_of
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.typed.shape import Shape, StructKey, encode_lpm, hashable
from pytest_ebpf.obj.object import MapDef, Variable
from pytest_ebpf.uapi.flags import MapFlag

__all__ = ["MapCodec", "Stored", "handle_of"]

_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "socket": "a socket from bpf.socket()",
        "task": "the id of a process, or what has one (bpf.process(), a process that the test started)",
        "inode": "a path",
        "cgroup": "a group from bpf.cgroup(), or its path",
    }
)
_VALUES: Mapping[str, str] = MappingProxyType(
    {
        "prog": "a program",
        "map": "a map",
        "socket": "a socket from bpf.socket()",
        "cgroup": "a group from bpf.cgroup()",
        "event": "a perf event",
    }
)
_FIRST: Mapping[str, str] = MappingProxyType({"device": "ifindex", "cpu": "qsize"})
_SLOT = 8  # a value of one processor is padded to a multiple of this
_ONE_VALUE = MapFlag.CPU | MapFlag.ALL_CPUS  # the kernel reads one value, which is of one CPU or for all of them
_PROGRAM_AT, _WITH_PROGRAM = 4, 8  # struct bpf_devmap_val, bpf_cpumap_val: u32, then the fd of a program
_CGROUP_KEY = "QI4x"  # struct bpf_cgroup_storage_key; maps with one storage per group have a u64 as key


@dataclass(frozen=True, slots=True)
class Stored:
    """A value as ``MapSet`` takes it."""

    value: bytes | Handle
    fds: tuple[FdAt, ...] = ()
    netns: Handle | None = None


def handle_of(thing: object) -> Handle | None:
    """The handle of whatever is open in the kernel under test; None for anything else."""
    handle = thing if isinstance(thing, Handle) else getattr(thing, "handle", None)
    return handle if isinstance(handle, Handle) else None


class MapCodec:
    """Reads and writes the keys and values of one map. ``handle``: the map, once it exists. ``programs`` finds
    programs by the kernel's id; ``inner`` makes a map of the handle of one that was found in this map."""

    def __init__(
        self,
        session: Session,
        *,
        definition: MapDef,
        btf: Btf | None,
        handle: Handle | None = None,
        variables: tuple[Variable, ...] = (),
        programs: Callable[[], Mapping[int, object]] = dict,
        inner: Callable[[Handle], object] = lambda handle: handle,
    ) -> None:
        self._session = session
        self.definition = definition
        self._map = handle
        self._programs = programs
        self._inner = inner
        self.kind = kind_of(definition.type)
        self._order = session.target.described.byteorder
        name = definition.name
        self._key = Shape(f"key of map {name!r}", definition.key_size, self._order, btf, definition.key_type)
        self.plain = Shape(
            f"value of map {name!r}", definition.value_size, self._order, btf, definition.value_type, variables
        )
        self._stride = (definition.value_size + _SLOT - 1) // _SLOT * _SLOT

    @property
    def key_shape(self) -> Shape:
        """What a key is. ``plain`` is what a value is."""
        return self._key

    @property
    def name(self) -> str:
        """The name of the map."""
        return self.definition.name

    # -- keys

    def opening(self, key: object) -> Op | None:
        """The op that opens the object which is the key, where the key only names it."""
        named = self.kind.keyed_by if self.kind.access == "storage" else ""
        if handle_of(key) is not None or isinstance(key, bool):
            return None
        if named == "task":
            pid = key if isinstance(key, int) else getattr(key, "pid", None)
            return PidFd(pid) if isinstance(pid, int) else None
        if named in ("inode", "cgroup") and isinstance(key, str | os.PathLike):
            return OpenFile(os.fspath(key))
        return None

    def key(self, key: object) -> bytes | Handle:
        """The key for an op. ``TypeError`` or ``ValueError`` for what is none."""
        handle = handle_of(key)
        if self.kind.access == "storage":
            if handle is None:
                raise TypeError(f"{self._key.what}: takes {_KEYS[self.kind.keyed_by]}, not {key!r}")
            return handle
        if handle is not None and self.kind.keyed_by:
            return self._of_cgroup(handle)
        return self.raw_key(key)

    def raw_key(self, key: object) -> bytes:
        """A key that is bytes in the kernel."""
        if self.kind.lpm and (isinstance(key, str) or hasattr(key, "prefixlen")):
            raw = encode_lpm(str(key), size=self.definition.key_size, byteorder=self._order)
            if raw is not None:
                return raw
        return self._key.encode(key)

    def _of_cgroup(self, handle: Handle) -> bytes:
        """The key of a cgroup's storage: its id, and for maps with a storage per attach type the only type it has."""
        inode = self._session.one(InodeOf(handle), Value).data
        assert inode is not None
        layout = Struct(self._session.target.described.order + _CGROUP_KEY)
        if self.definition.key_size != layout.size:
            return inode
        assert self._map is not None
        dump = self._session.one(MapDump(self._map), Entries)
        wanted = int.from_bytes(inode, "big" if self._order == "big" else "little")
        found = [kind for number, kind in layout.iter_unpack(dump.keys) if number == wanted]
        if len(found) > 1:
            kinds = ", ".join(map(str, found))
            hint = f"give {{'cgroup_inode_id': {wanted}, 'attach_type': {found[0]}}}"
            raise ValueError(f"{self._key.what}: the group has a storage for each of the attach types {kinds}: {hint}")
        return layout.pack(wanted, found[0] if found else 0)

    def keys_of(self, dump: Entries) -> list[object]:
        """The key of every entry, each fit to be a dict's."""
        keys, stride = self._key.decode_many(dump.keys, dump.key_stride), dump.key_stride
        starts = range(0, len(dump.keys), stride)
        if keys and isinstance(keys[0], dict):
            structs, raw = cast("list[dict[str, object]]", keys), dump.keys  # all of one type
            return [StructKey(key, raw=raw[at : at + stride]) for key, at in zip(structs, starts, strict=True)]
        if keys and isinstance(keys[0], list):
            return [hashable(key, raw=b"") for key in keys]
        return keys

    def show_key(self, raw: bytes) -> object:
        """A key that was read as bytes."""
        return hashable(self._key.decode(raw), raw=raw)

    # -- values

    def store(self, value: object, *, flags: int = 0) -> Stored:
        """A value for an op with ``flags``. ``TypeError`` or ``ValueError`` for what is none."""
        if self.kind.holds in _VALUES:
            handle = handle_of(value)
            if handle is None:
                raise TypeError(f"map {self.definition.name!r} takes {_VALUES[self.kind.holds]}, not {value!r}")
            return Stored(handle)
        if self.kind.holds in _FIRST:
            return self._with_program(value)
        return Stored(self.bytes_of(value, flags=flags))

    def _with_program(self, value: object) -> Stored:
        """Of a devmap or cpumap: a number, or {"ifindex": 2, "program": prog} ("qsize" for a cpumap). An interface of
        the test may stand for its ifindex: that counts in its own namespace."""
        first, size = _FIRST[self.kind.holds], self.definition.value_size
        if not isinstance(value, Mapping | bytes):
            value = {first: value}
        if not isinstance(value, Mapping) or not value.keys() <= {first, "program"}:
            return Stored(self.plain.encode(value))
        device = value.get(first, 0)
        index = getattr(device, "index", None)
        number = Shape(first, _PROGRAM_AT, self._order).encode(index if isinstance(index, int) else device)
        netns = handle_of(getattr(device, "netns", None))
        program = value.get("program")
        if program is None:
            return Stored(number.ljust(size, b"\0"), netns=netns)
        handle = handle_of(program)
        if handle is None or size < _WITH_PROGRAM:
            why = f"not {program!r}" if handle is None else f"and values of {_WITH_PROGRAM} bytes (it has {size})"
            raise TypeError(f"map {self.definition.name!r}: program= takes a loaded program, {why}")
        return Stored(number.ljust(size, b"\0"), (FdAt(_PROGRAM_AT, handle),), netns)

    def bytes_of(self, value: object, *, flags: int = 0) -> bytes:
        """A value that needs no fd of an object. ``BpfUsageError`` for one that does."""
        if self.kind.holds == "data":
            return self._per_cpu(value) if self.kind.per_cpu and not flags & _ONE_VALUE else self.plain.encode(value)
        stored = self.store(value)
        if isinstance(stored.value, bytes) and not stored.fds:
            return stored.value
        raise BpfUsageError(f"map {self.definition.name!r} holds objects: they are stored one at a time")

    def _per_cpu(self, value: object) -> bytes:
        """One value for each processor: a list says which, anything else is the same for all."""
        cpus = self._session.target.described.cpus
        values = value if isinstance(value, list) else [value] * cpus
        if len(values) != cpus:
            name = self.definition.name
            raise ValueError(f"map {name!r} has a value per processor: need {cpus}, got {len(values)}")
        return b"".join(self.plain.encode(item).ljust(self._stride, b"\0") for item in values)

    def read(self, data: bytes, *, flags: int = 0) -> object:
        """A value that was read with ``flags``."""
        if self.kind.per_cpu and not flags & _ONE_VALUE:
            starts = range(0, len(data), self._stride)
            return [self.plain.decode(data[at : at + self._stride]) for at in starts]
        if self.kind.holds == "prog":
            return self._program(data)
        if self.kind.holds == "map":
            number = self._number(data)
            return self._inner(self._session.make(ObjById("map", number))) if self.definition.inner else number
        if self.kind.holds in _FIRST and len(data) == _WITH_PROGRAM:
            return {_FIRST[self.kind.holds]: self._number(data), "program": self._program(data[_PROGRAM_AT:])}
        return self.plain.decode(data)

    def by_name(self, expected: object) -> object:
        """An expected value with dicts for the tuples that stand for structs."""
        if self.kind.per_cpu and isinstance(expected, list):
            return [self.plain.by_name(one) for one in expected]
        return self.plain.by_name(expected)

    def one_of(self, data: bytes, cpu: int) -> object:
        """The value of one processor out of those of all."""
        return self.plain.decode(data[cpu * self._stride : (cpu + 1) * self._stride])

    def put_one(self, data: bytes, value: object, *, cpu: int) -> bytes:
        """The values of all processors with another one for ``cpu``."""
        start = cpu * self._stride
        raw = self.plain.encode(value).ljust(self._stride, b"\0")
        return data[:start] + raw + data[start + self._stride :]

    def _program(self, data: bytes) -> object:
        """The program that the kernel names by its id: of this object, else the id; None for 0."""
        number = self._number(data)
        return self._programs().get(number, number) if number else None

    def _number(self, data: bytes) -> int:
        return int.from_bytes(data[:4], "big" if self._order == "big" else "little")

    def values_of(self, dump: Entries) -> list[object]:
        """The value of every entry."""
        if self.kind.holds != "data":
            stride = dump.value_stride
            return [self.read(dump.values[at : at + stride]) for at in range(0, len(dump.values), stride)]
        if not self.kind.per_cpu:
            return self.plain.decode_many(dump.values, dump.value_stride)
        flat, cpus = self.plain.decode_many(dump.values, self._stride), dump.value_stride // self._stride
        return [flat[at : at + cpus] for at in range(0, len(flat), cpus)]
