"""A map in the hands of a test: a mapping between Python values, typed by BTF both ways."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_ebpf.agent import ops
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.charts.histogram import Histogram, histogram
from pytest_ebpf.errors import BpfUsageError, KernelCallError
from pytest_ebpf.live.bpffs import pin, unpin
from pytest_ebpf.live.inspect import queries
from pytest_ebpf.live.maps.absent_key import describe_absent
from pytest_ebpf.live.maps.clear import clear_entries, take_fifo
from pytest_ebpf.live.maps.codec import MapCodec
from pytest_ebpf.live.maps.diff import is_snapshot, map_differences
from pytest_ebpf.live.maps.elements import MapElements, Pairs, pairs_of
from pytest_ebpf.live.maps.events import EventStream
from pytest_ebpf.live.maps.follow import Following
from pytest_ebpf.live.maps.kinds import MapKind, kind_of
from pytest_ebpf.live.maps.memory import MapMemory
from pytest_ebpf.live.maps.per_cpu import CpuValues
from pytest_ebpf.live.maps.user_ringbuf import produce
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.typed.object_types import ObjectTypes
from pytest_ebpf.live.typed.shape import add_values, uncollected
from pytest_ebpf.obj.object import MapDef, Variable
from pytest_ebpf.obj.type_names import map_type_text
from pytest_ebpf.uapi.flags import MapFlag
from pytest_ebpf.uapi.names import MapTypeName

if TYPE_CHECKING:
    from pytest_ebpf.live.inspect.info import MapInfo
    from pytest_ebpf.live.maps.stacks import StackTrace

__all__ = ["Map"]

_NOTHING: Any = object()


class Map(MutableMapping[Any, Any]):
    """A map in the kernel, until the scope that loaded it ends.

    It is a ``MutableMapping`` and compares with dicts; ``keys``, ``values`` and ``items`` are lists. Keys and values
    are ints, dicts or bytes as their type says; per-CPU values are lists, one entry per possible CPU; LPM keys may be
    written ``"192.0.2.0/24"``; keys of storages are sockets, process ids, paths and cgroups.
    """

    def __init__(
        self,
        session: Session,
        *,
        definition: MapDef,
        handle: ops.Handle,
        btf: Btf | None = None,
        types: ObjectTypes | None = None,
        programs: Callable[[], Mapping[int, object]] | None = None,
        variables: tuple[Variable, ...] = (),
    ) -> None:
        self._session = session
        self.definition = definition
        self.handle = handle
        self._types = types if types is not None else ObjectTypes(btf)
        self._programs = programs or dict
        self.codec = MapCodec(
            session,
            definition=definition,
            handle=handle,
            btf=self._types.btf,
            variables=variables,
            programs=self._programs,
            inner=self._inner,
        )
        self._elements = MapElements(session, handle=handle, codec=self.codec)
        self._cannot = self._elements.refuse
        self._pins: list[str] = []

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
        info: MapInfo = queries().ask_info(self._session, "map", asked=self.handle)
        return info

    @property
    def type(self) -> MapTypeName | str:
        """Its type, which equals the kernel's name in small letters: "hash", "ringbuf", ..."""
        return map_type_text(self.definition.type)

    @property
    def key_size(self) -> int:
        """Bytes of a key, 0 where it has none."""
        return self.definition.key_size

    @property
    def value_size(self) -> int:
        """Bytes of a value (of one CPU's, in a per-CPU map)."""
        return self.definition.value_size

    @property
    def max_entries(self) -> int:
        """How many entries there is room for; of a ring buffer its bytes, of an arena its pages."""
        return self.definition.max_entries

    def pin(self, path: str, *, keep: bool = False) -> Map:
        """Pin it at a path of the bpf file system (a bare name: in /sys/fs/bpf), until the end of the test unless
        ``keep``. Returns the map itself."""
        self._pins.append(pin(self._session, self.handle, path=path, keep=keep))
        return self

    def unpin(self) -> Map:
        """Remove the pins that ``pin`` of this object made. Returns the map itself."""
        while self._pins:
            unpin(self._session, self._pins.pop())
        return self

    # -- one element

    def __getitem__(self, key: object) -> Any:
        data = self._elements.get(key, flags=MapFlag.ANY)
        if data is None:
            raise self._absent(key)
        return self.codec.read(data)

    def get(self, key: object, default: object = None, *, flags: int = MapFlag.ANY) -> Any:
        """``m[key]``, or ``default`` when the key is absent. ``MapFlag.LOCK`` reads under the value's bpf_spin_lock."""
        data = self._elements.get(key, flags=flags)
        return default if data is None else self.codec.read(data, flags=flags)

    def get_many(self, keys: Iterable[object], default: object = None) -> list[Any]:
        """``get`` of each, thousands in one round trip."""
        return [default if data is None else self.codec.read(data) for data in self._elements.get_many(keys)]

    def __setitem__(self, key: object, value: object) -> None:
        self.put(key, value)

    def put(self, key: object, value: object, *, flags: int = MapFlag.ANY) -> None:
        """``m[key] = value`` with flags: ``MapFlag.NOEXIST`` only if the key is absent, ``EXIST`` only if it is
        present, ``LOCK`` under the value's bpf_spin_lock."""
        self._elements.put(key, value, flags=flags)

    def setdefault(self, key: object, default: object = None) -> Any:
        """The value of a key. One that is absent is stored as ``default`` first, unless a program stores it sooner."""
        data = self._elements.get(key, flags=MapFlag.ANY)
        if data is not None:
            return self.codec.read(data)
        try:
            self.put(key, default, flags=MapFlag.NOEXIST)
        except KernelCallError as error:
            if error.errno != errno.EEXIST:
                raise
        return self[key]

    def __delitem__(self, key: object) -> None:
        if not self._elements.delete(key):
            raise self._absent(key)

    def __contains__(self, key: object) -> bool:
        if self.kind.access == "bloom":
            op = ops.MapGet(self.handle, self.codec.bytes_of(key))
            return self._session.one(op, ops.Value).data is not None
        try:
            return self._elements.get(key, flags=MapFlag.ANY) is not None
        except (TypeError, ValueError):
            return False

    def pop(self, key: object = _NOTHING, default: object = _NOTHING) -> Any:
        """Take the next value off a queue or stack (``LookupError`` when it is empty), or the value of a key out of a
        hash in one step (Linux 5.14; ``KeyError`` when it is absent and there is no ``default``)."""
        if key is _NOTHING:
            self._need_fifo("pop")
            return self._next(self._session.one(ops.MapPop(self.handle), ops.Value).data)
        data = self._elements.take(key)
        if data is None and default is _NOTHING:
            raise self._absent(key)
        return default if data is None else self.codec.read(data)

    def sum(self, key: object) -> Any:
        """The value of all processors added up, structs field by field; on a map that is not per-CPU, the value."""
        value = self[key]
        return add_values(value) if self.kind.per_cpu and isinstance(value, list) else value

    def on_cpu(self, cpu: int) -> CpuValues:
        """The values of one processor of a per-CPU map: ``m.on_cpu(1)[key]``, and to be set."""
        if not self.kind.per_cpu:
            self._cannot("it has one value for all processors")
        return CpuValues(self._session, handle=self.handle, codec=self.codec, cpu=cpu)

    # -- all of them

    def items(self) -> list[tuple[Any, Any]]:  # type: ignore[override]
        """(key, value) of every entry, in the kernel's order. Struct keys can be dict keys."""
        return self._pairs(self.dump())

    def keys(self) -> list[Any]:  # type: ignore[override]
        """The key of every entry."""
        with uncollected():
            return self.codec.keys_of(self.dump())

    def values(self) -> list[Any]:  # type: ignore[override]
        """The value of every entry."""
        with uncollected():
            return self.codec.values_of(self.dump())

    def dump(self, *, limit: int = 0) -> ops.Entries:
        """Every entry as bytes, or the first few: all keys in one piece, all values in another, by their strides."""
        if self.kind.access == "storage":
            self._cannot("which objects have an entry cannot be listed; look an object up")
        if self.kind.access != "keyed":
            self._cannot("it has no entries to list")
        return self._session.one(ops.MapDump(self.handle, limit), ops.Entries)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def update(self, entries: Pairs = (), *old: object, flags: int = MapFlag.ANY) -> None:  # type: ignore[override]
        """Store every entry of a mapping or of an iterable of pairs, in one round trip. ``flags`` as for ``put``.
        ``KernelCallError`` reports how many were stored, where values are data."""
        if old:
            raise BpfUsageError(
                f"map {self.name!r}: update() expects one mapping or iterable of pairs, got {1 + len(old)} arguments",
                hint="Store one element with m.put(key, value, flags=...) or m[key] = value.",
            )
        self._elements.put_many(pairs_of(entries), flags=flags)

    def update_many(self, entries: Mapping[Any, Any], *, flags: int = MapFlag.ANY) -> None:
        """As ``update``, for maps whose keys and values are data."""
        keys = b"".join(self._elements.raw_key(key) for key in entries)
        values = b"".join(self.codec.bytes_of(value, flags=flags) for value in entries.values())
        self._session.one(ops.MapUpdate(self.handle, keys, values, len(entries), flags=flags), ops.Done)

    def delete_many(self, keys: Iterable[object]) -> None:
        """Delete these keys, in one round trip. ``KernelCallError`` at the first that is absent."""
        raw = [self._elements.raw_key(key) for key in keys]
        self._session.one(ops.MapDeleteMany(self.handle, b"".join(raw), len(raw)), ops.Done)

    def drain(self) -> list[Any]:
        """Every (key, value) taken out of a hash, none lost meanwhile; of a queue or stack the values, as ``pop``."""
        if self.kind.access != "fifo":
            return self._pairs(self._session.one(ops.MapTakeMany(self.handle), ops.Entries))
        return [self._next(data) for data in take_fifo(self._session, self.handle, most=self.definition.max_entries)]

    def __len__(self) -> int:
        if self.kind.indexed:
            return self.definition.max_entries
        return self.dump().count

    def clear(self) -> None:
        """Delete every entry, and empty a queue or stack; elements of arrays become zero. Two round trips."""
        if self.kind.access == "fifo":
            take_fifo(self._session, self.handle, most=self.definition.max_entries)
        else:
            clear_entries(self._session, self.handle, kind=self.kind, dump=self.dump())

    def freeze(self) -> None:
        """Let nothing outside of BPF programs change it any more."""
        self._session.one(ops.MapFreeze(self.handle), ops.Done)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Map):
            return self is other
        if not isinstance(other, Mapping):  # a snapshot compares with what is in the map
            return dict(self.items()) == other if is_snapshot(other, self.kind.access) else NotImplemented
        return not map_differences(self, other)

    __hash__ = None  # type: ignore[assignment]  # equal to dicts, and changing

    # -- queues, stacks, bloom filters, memory, stack traces

    def push(self, value: object, *, flags: int = MapFlag.ANY) -> None:
        """Put a value on a queue or stack (``MapFlag.EXIST``: the oldest makes room), or into a bloom filter."""
        if self.kind.access != "bloom":
            self._need_fifo("push")
        self._session.one(ops.MapSet(self.handle, b"", self.codec.bytes_of(value), flags=flags), ops.Done)

    def peek(self) -> Any:
        """The next value of a queue or stack, left where it is. ``LookupError`` when it is empty."""
        self._need_fifo("peek")
        return self._next(self._session.one(ops.MapGet(self.handle, b""), ops.Value).data)

    def produce(self, *records: object, type: str | None = None) -> None:
        """Put records into a user ring buffer: bytes, or values of the struct that ``type`` names (else of the one that
        is named like the map). ``KernelCallError`` (ENOSPC) says how many there was room for."""
        if self.kind.access != "produce":
            self._cannot("records are put into user ring buffers")
        produce(self._session, self.handle, records=records, definition=self.definition, types=self._types, type=type)

    @property
    def memory(self) -> MapMemory:
        """The memory that an array with BPF_F_MMAPABLE, or an arena, shares: ``m.memory[0:8]``, and to be set."""
        return MapMemory(self._session, handle=self.handle, definition=self.definition)

    def stack(self, id: int, *, pid: int | None = None) -> StackTrace:
        """The stack trace that bpf_get_stackid() called ``id``, by symbols. Frames of user space have names when the
        process ``pid`` still runs."""
        if self.kind.name != "stack_trace":
            self._cannot("it holds no stack traces")
        from pytest_ebpf.live.maps.stacks import read_stack

        return read_stack(self._session, self.handle, codec=self.codec, id=id, pid=pid)

    def histogram(self, key: object = None, *, step: int = 0, first: int = 0) -> Histogram:
        """The counts by slot in it, or in the value at ``key``, drawn as by bpftrace: powers of two, or ``step`` values
        per slot from ``first`` on. ``BpfUsageError``: it holds no counts."""
        return histogram(dict(self) if key is None else self[key], name=self.name, step=step, first=first)

    # -- events

    def events(self, *, timeout: float = 0.0, at_least: int | None = None, type: str | None = None) -> list[Any]:
        """The records of a ring buffer or perf event array since the last look.
        Waits up to ``timeout`` seconds (longer under emulation) for ``at_least`` records: 1 when a timeout is given.
        ``type`` names the struct of a record; without it the object's types decide, and records may stay bytes.
        """
        return self._stream.take(timeout=timeout, at_least=at_least, type=type)

    def expect(self, wanted: object, *, timeout: float = 1.0, type: str | None = None) -> Any:
        """Wait for a record that has the fields of ``wanted`` (a dict; other values must be equal) and return it.

        Records that do not match stay for the next ``events`` or ``expect``. ``AssertionError`` lists what came.
        """
        return self._stream.expect(wanted, timeout=timeout, type=type)

    def raw_events(self, *, timeout: float = 0.0, at_least: int | None = None) -> Sequence[bytes] | ops.Region:
        """As ``events``, as bytes. What a ring buffer held stays in one piece until single records are asked for:
        the way to read millions of them."""
        return self._stream.take_raw(timeout=timeout, at_least=at_least)

    def follow(self, *, timeout: float = 1.0, type: str | None = None) -> Following:
        """Records as they come, for ``for`` and ``async for``; ends when none came for ``timeout`` seconds."""
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
        return EventStream(self._session, handle=self.handle, definition=self.definition, types=self._types)

    def _pairs(self, dump: ops.Entries) -> list[tuple[Any, Any]]:
        with uncollected():
            return list(zip(self.codec.keys_of(dump), self.codec.values_of(dump), strict=True))

    def _absent(self, key: object) -> KeyError:
        return KeyError(describe_absent(self._session, self.handle, key=key, codec=self.codec))

    def _inner(self, handle: ops.Handle) -> Map:
        """A map that this map of maps holds."""
        assert self.definition.inner is not None
        return Map(
            self._session, definition=self.definition.inner, handle=handle, types=self._types, programs=self._programs
        )

    def _next(self, data: bytes | None) -> object:
        if data is None:
            raise LookupError(f"{self.kind.name} {self.name!r} is empty")
        return self.codec.plain.decode(data)

    def _need_fifo(self, method: str) -> None:
        if self.kind.access != "fifo":
            self._cannot(f"{method}() is for queues and stacks")

    def __repr__(self) -> str:
        return f"<Map {self.name} ({self.kind.name})>"
