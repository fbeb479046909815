"""A map in the hands of a test: a mapping between Python values, typed by BTF both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn, cast

from pytest_ebpf.agent.ops import (
    Done,
    Entries,
    Failed,
    Handle,
    MapDelete,
    MapDeleteMany,
    MapDump,
    MapGet,
    MapPop,
    MapSet,
    MapTakeMany,
    MapUpdate,
    ObjById,
    Region,
    Value,
)
from pytest_ebpf.errors import UsageError
from pytest_ebpf.live.map_kinds import MapKind, kind_of
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.values import Shape, StructKey, add_values, encode_lpm, hashable

if TYPE_CHECKING:
    from pytest_ebpf.btf.parse import Btf
    from pytest_ebpf.live.follow import Following
    from pytest_ebpf.live.kernel_info import MapInfo
    from pytest_ebpf.live.program import Program
    from pytest_ebpf.live.streams import EventStream
    from pytest_ebpf.obj.object import MapDef, Variable

__all__ = ["Map"]

_ENOENT = 2


@dataclass(frozen=True, slots=True)
class _Codec:
    key: Shape
    value: Shape


class Map:
    """A map in the kernel, until the scope that loaded it ends.

    ``m[key]``, ``m[key] = value``, ``del m[key]``, ``key in m``, ``len(m)``, ``m.items()`` and comparing with a dict
    work as on a dict, one round trip each. Keys and values are ints, dicts or bytes as their type says; per-CPU values
    are lists with one entry per possible processor; LPM keys may be written ``"192.0.2.0/24"``.
    """

    def __init__(
        self,
        session: Session,
        *,
        definition: MapDef,
        handle: Handle,
        btf: Btf | None = None,
        programs: Callable[[], Mapping[int, Program]] | None = None,
        variables: tuple[Variable, ...] = (),
    ) -> None:
        self._session = session
        self.definition = definition
        self.handle = handle
        self._btf = btf
        self._programs = programs or dict
        order = session.target.described.byteorder
        name = definition.name
        self._codec = _Codec(
            Shape(f"key of map {name!r}", definition.key_size, order, btf, definition.key_type),
            Shape(f"value of map {name!r}", definition.value_size, order, btf, definition.value_type, variables),
        )

    @property
    def name(self) -> str:
        """Its name in the object."""
        return self.definition.name

    @property
    def kind(self) -> MapKind:
        """What its type makes of it."""
        return kind_of(self.definition.type)

    @property
    def info(self) -> MapInfo:
        """What the kernel says about it now: id, sizes, flags, memory, whether it is frozen, types."""
        from pytest_ebpf.live.introspect import ask_info

        info: MapInfo = ask_info(self._session, "map", asked=self.handle)
        return info

    # -- one element

    def __getitem__(self, key: object) -> object:
        raw = self._key(key)
        data = self._session.one(MapGet(self.handle, raw), Value).data
        if data is None:
            raise KeyError(f"{key!r} is not in map {self.name!r}")
        return self._read(data)

    def get(self, key: object, default: object = None) -> object:
        """``m[key]``, or ``default`` when the key is absent."""
        data = self._session.one(MapGet(self.handle, self._key(key)), Value).data
        return default if data is None else self._read(data)

    def __setitem__(self, key: object, value: object) -> None:
        self.update(key, value)

    def update(self, key: object, value: object, *, flags: int = 0) -> None:
        """``m[key] = value`` with the kernel's flags: 1 only if absent (BPF_NOEXIST), 2 only if present (BPF_EXIST)."""
        self._session.one(MapSet(self.handle, self._key(key), self._value(value), flags=flags), Done)

    def __delitem__(self, key: object) -> None:
        op = MapDelete(self.handle, self._key(key))
        result = self._session.attempt(op, Done)
        if isinstance(result, Failed):
            if result.errno == _ENOENT:
                raise KeyError(f"{key!r} is not in map {self.name!r}")
            self._session.checked(op, result, kind=Done)

    def __contains__(self, key: object) -> bool:
        try:
            raw = self._key(key)
        except (TypeError, ValueError):
            return False
        return self._session.one(MapGet(self.handle, raw), Value).data is not None

    def sum(self, key: object) -> object:
        """The value of all processors added up, structs field by field; on a map that is not per-CPU, the value."""
        value = self[key]
        return add_values(value) if self.kind.per_cpu and isinstance(value, list) else value

    # -- all of them

    def items(self) -> list[tuple[object, object]]:
        """(key, value) of every entry, in the kernel's order. Struct keys can be dict keys."""
        dump = self.dump()
        return list(zip(self._keys_of(dump), self._values_of(dump), strict=True))

    def keys(self) -> list[object]:
        """The key of every entry."""
        return self._keys_of(self.dump())

    def values(self) -> list[object]:
        """The value of every entry."""
        return self._values_of(self.dump())

    def dump(self) -> Entries:
        """Every entry as it came from the kernel: all keys in one piece of bytes, all values in another, each
        ``key_stride`` and ``value_stride`` bytes long."""
        if self.kind.access != "keyed":
            self._cannot("it has no entries to list")
        return self._session.one(MapDump(self.handle), Entries)

    def __iter__(self) -> Iterator[object]:
        return iter(self.keys())

    def update_many(self, entries: Mapping[object, object], *, flags: int = 0) -> None:
        """Store every entry of ``entries``, in one round trip. ``KernelCallError`` says how many were stored."""
        pairs = [(self._key(key), self._plain(value)) for key, value in entries.items()]
        keys, values = b"".join(key for key, _ in pairs), b"".join(value for _, value in pairs)
        self._session.one(MapUpdate(self.handle, keys, values, len(pairs), flags=flags), Done)

    def delete_many(self, keys: Iterable[object]) -> None:
        """Delete these keys, in one round trip. ``KernelCallError`` at the first that is absent."""
        raw = [self._key(key) for key in keys]
        self._session.one(MapDeleteMany(self.handle, b"".join(raw), len(raw)), Done)

    def take_all(self) -> list[tuple[object, object]]:
        """Every entry, taken out of a hash: what programs count meanwhile is in this answer or in the next."""
        taken = self._session.one(MapTakeMany(self.handle), Entries)
        return list(zip(self._keys_of(taken), self._values_of(taken), strict=True))

    def __len__(self) -> int:
        if self.kind.indexed:
            return self.definition.max_entries
        return self.dump().count

    def clear(self) -> None:
        """Delete every entry; elements of arrays become zero."""
        for key, value in list(self.raw_items()):
            if self.kind.indexed and self.kind.holds == "data":
                self._session.one(MapSet(self.handle, key, bytes(len(value))), Done)
            else:
                self._session.attempt(MapDelete(self.handle, key), Done)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Map):
            return self is other
        if not isinstance(other, Mapping):
            return NotImplemented
        from pytest_ebpf.live.compare import map_differences

        return not map_differences(self, other)

    __hash__ = None  # type: ignore[assignment]  # equal to dicts, and changing

    # -- queues, stacks, bloom filters

    def push(self, value: object) -> None:
        """Put a value on a queue or stack, or into a bloom filter."""
        self._need("fifo", "push")
        self._session.one(MapSet(self.handle, b"", self._codec.value.encode(value)), Done)

    def pop(self) -> object:
        """Take the next value off a queue or stack. ``LookupError`` when it is empty."""
        self._need("fifo", "pop")
        return self._next(self._session.one(MapPop(self.handle), Value).data)

    def peek(self) -> object:
        """The next value of a queue or stack, left where it is. ``LookupError`` when it is empty."""
        self._need("fifo", "peek")
        return self._next(self._session.one(MapGet(self.handle, b""), Value).data)

    # -- events

    def events(self, *, timeout: float = 0.0, at_least: int | None = None, type: str | None = None) -> list[object]:
        """The records of a ring buffer or perf event array since the last look.

        Waits up to ``timeout`` seconds (longer under emulation) for ``at_least`` records: 1 when a timeout is given.
        ``type`` names the struct of a record ("struct event"); without it the record's type is found in the object's
        BTF where that is unambiguous, and records stay bytes otherwise.
        """
        return self._stream.take(timeout=timeout, at_least=at_least, type=type)

    def expect(self, wanted: object, *, timeout: float = 1.0, type: str | None = None) -> object:
        """Wait for a record that has the fields of ``wanted`` (a dict; other values must be equal) and return it.

        Records that do not match stay for the next ``events`` or ``expect``. ``AssertionError`` lists what came.
        """
        return self._stream.expect(wanted, timeout=timeout, type=type)

    def raw_events(self, *, timeout: float = 0.0, at_least: int | None = None) -> Sequence[bytes] | Region:
        """As ``events``, as bytes. What a ring buffer held stays in one piece until single records are asked for:
        the way to read millions of them."""
        return self._stream.take_raw(timeout=timeout, at_least=at_least)

    def follow(self, *, timeout: float = 1.0, type: str | None = None) -> Following:
        """Records as they come, for ``for`` and ``async for``; ends when none came for ``timeout`` seconds."""
        from pytest_ebpf.live.follow import Following

        return Following(self._stream, timeout=timeout, type=type)

    @property
    def lost(self) -> int:
        """How many records the kernel reported as dropped, as of the last look (perf event arrays)."""
        return self._stream.lost

    @property
    def discarded(self) -> int:
        """How many records the program reserved and discarded, as of the last look (ring buffers)."""
        return self._stream.discarded

    # -- inside

    @cached_property
    def _stream(self) -> EventStream:
        if self.kind.access not in ("ring", "perf"):
            self._cannot("events are read from ring buffers and perf event arrays")
        from pytest_ebpf.live.streams import EventStream

        return EventStream(self._session, handle=self.handle, definition=self.definition, btf=self._btf)

    def _key(self, key: object) -> bytes:
        if self.kind.access != "keyed" and self.definition.type != 4:
            self._cannot("it has no keys")
        if self.kind.lpm and (isinstance(key, str) or hasattr(key, "prefixlen")):
            order = self._codec.key.byteorder
            raw = encode_lpm(str(key), size=self.definition.key_size, byteorder=order)
            if raw is not None:
                return raw
        return self._codec.key.encode(key)

    def _keys_of(self, dump: Entries) -> list[object]:
        keys, stride = self._codec.key.decode_many(dump.keys, dump.key_stride), dump.key_stride
        starts = range(0, len(dump.keys), stride)
        if keys and isinstance(keys[0], dict):
            structs = cast("list[dict[str, object]]", keys)  # all of one type
            raw = dump.keys
            return [StructKey(key, raw=raw[at : at + stride]) for key, at in zip(structs, starts, strict=True)]
        if keys and isinstance(keys[0], list):
            return [hashable(key, raw=b"") for key in keys]
        return keys

    def _values_of(self, dump: Entries) -> list[object]:
        if self.kind.holds in ("prog", "map"):
            stride = dump.value_stride
            return [self._read(dump.values[at : at + stride]) for at in range(0, len(dump.values), stride)]
        if not self.kind.per_cpu:
            return self._codec.value.decode_many(dump.values, dump.value_stride)
        each = _stride(self.definition.value_size)
        flat, cpus = self._codec.value.decode_many(dump.values, each), dump.value_stride // each
        return [flat[at : at + cpus] for at in range(0, len(flat), cpus)]

    def _key_out(self, raw: bytes) -> object:
        return hashable(self._codec.key.decode(raw), raw=raw)

    # What comparing with a dict needs: keys are compared as bytes, so every way to write a key is the same key.
    raw_key = _key
    show_key = _key_out

    def _value(self, value: object) -> bytes | Handle:
        handle = getattr(value, "handle", None)
        if isinstance(handle, Handle):
            return handle
        if self.kind.holds in ("prog", "map"):
            raise TypeError(f"map {self.name!r} holds {self.kind.holds}s: give it a {self.kind.holds}, not {value!r}")
        if not self.kind.per_cpu:
            return self._codec.value.encode(value)
        return self._per_cpu(value)

    raw_value = _value

    def _plain(self, value: object) -> bytes:
        raw = self._value(value)
        if isinstance(raw, bytes):
            return raw
        self._cannot("objects are stored one at a time")

    def _per_cpu(self, value: object) -> bytes:
        """One value for each processor: a list says which, anything else is the same for all."""
        cpus = self._session.target.described.cpus
        values = value if isinstance(value, list) else [value] * cpus
        if len(values) != cpus:
            raise ValueError(f"map {self.name!r} has a value per processor: need {cpus}, got {len(values)}")
        stride = _stride(self.definition.value_size)
        return b"".join(self._codec.value.encode(item).ljust(stride, b"\0") for item in values)

    def show_value(self, data: bytes) -> object:
        """A value that was read as bytes, typed."""
        return self._read(data)

    def _read(self, data: bytes) -> object:
        if self.kind.per_cpu:
            stride = _stride(self.definition.value_size)
            return [self._codec.value.decode(data[at : at + stride]) for at in range(0, len(data), stride)]
        if self.kind.holds == "prog":
            number = int.from_bytes(data[:4], "big" if self._codec.value.byteorder == "big" else "little")
            return self._programs().get(number, number)
        if self.kind.holds == "map":
            return self._inner(data)
        return self._codec.value.decode(data)

    def _inner(self, data: bytes) -> object:
        """The map that a map-in-map holds, as a ``Map``: the kernel answers with its id."""
        number = int.from_bytes(data[:4], "big" if self._codec.value.byteorder == "big" else "little")
        inner = self.definition.inner
        if inner is None:
            return number
        handle = self._session.make(ObjById("map", number))
        return Map(self._session, definition=inner, handle=handle, btf=self._btf, programs=self._programs)

    def raw_items(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of every entry as bytes."""
        dump = self.dump()
        for index in range(dump.count):
            key = dump.keys[index * dump.key_stride : (index + 1) * dump.key_stride]
            yield key, dump.values[index * dump.value_stride : (index + 1) * dump.value_stride]

    def _next(self, data: bytes | None) -> object:
        if data is None:
            raise LookupError(f"{self.kind.name} {self.name!r} is empty")
        return self._codec.value.decode(data)

    def _need(self, access: str, method: str) -> None:
        if self.kind.access != access:
            self._cannot(f"{method}() is for queues and stacks")

    def _cannot(self, why: str) -> NoReturn:
        raise UsageError(f"map {self.name!r} is a {self.kind.name}: {why}")

    def __repr__(self) -> str:
        return f"<Map {self.name} ({self.kind.name})>"


def _stride(value_size: int) -> int:
    return (value_size + 7) // 8 * 8
