"""Reading and changing the elements of one map, as bytes in the kernel and as Python values for the caller."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn, Protocol

from pytest_ebpf.agent.ops import (
    Close,
    Done,
    Failed,
    Handle,
    Made,
    MapDelete,
    MapGet,
    MapPop,
    MapSet,
    MapUpdate,
    Obj,
    Op,
    Ref,
    Result,
    Try,
    Value,
)
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.maps.codec import MapCodec
from pytest_ebpf.live.session import Session

__all__ = ["MapElements", "Pairs", "pairs_of"]

_MANY = 1 << 14  # lookups in one round trip


class _HasKeys(Protocol):
    def keys(self) -> Iterable[Any]: ...

    def __getitem__(self, key: Any, /) -> Any: ...


Pairs = _HasKeys | Iterable[tuple[Any, Any]]  # what dict.update() takes


def pairs_of(entries: Pairs) -> list[tuple[Any, Any]]:
    """(key, value) of each entry of a mapping, of what has ``keys()``, or of an iterable of pairs."""
    if isinstance(entries, Mapping):
        return list(entries.items())
    keys = getattr(entries, "keys", None)
    if keys is not None:
        return [(key, entries[key]) for key in keys()]  # type: ignore[index]
    return [(key, value) for key, value in entries]  # type: ignore[union-attr]


class MapElements:
    """The elements of the map behind ``handle``. Each method is one round trip, where it does not say otherwise."""

    def __init__(self, session: Session, *, handle: Handle, codec: MapCodec) -> None:
        self._session = session
        self._handle = handle
        self._codec = codec

    def get(self, key: object, *, flags: int) -> bytes | None:
        """The value of a key, None when it is absent."""
        op, result = self._with(key, lambda raw: MapGet(self._handle, raw, flags))
        return self._session.checked(op, result, kind=Value).data

    def get_many(self, keys: Iterable[object]) -> Iterator[bytes | None]:
        """``get`` of each, thousands in one round trip."""
        ops = [Try(MapGet(self._handle, self.raw_key(key))) for key in keys]
        for start in range(0, len(ops), _MANY):
            part = ops[start : start + _MANY]
            for op, result in zip(part, self._session.run(part), strict=True):
                yield self._session.checked(op.op, result, kind=Value).data

    def put(self, key: object, value: object, *, flags: int) -> None:
        """Store one element."""
        self._keys_needed()
        op, result = self._with(key, self._storing(value, flags=flags))
        self._session.checked(op, result, kind=Done)

    def put_many(self, pairs: list[tuple[Any, Any]], *, flags: int) -> None:
        """Store each pair. Values or keys that are objects take one op each, which are one batch: the first that fails
        ends it."""
        self._keys_needed()
        kind = self._codec.kind
        if not pairs:
            return
        if kind.holds == "data" and kind.access != "storage":
            keys = [self.raw_key(key) for key, _ in pairs]
            values = [self._codec.bytes_of(value, flags=flags) for _, value in pairs]
            op = MapUpdate(self._handle, b"".join(keys), b"".join(values), len(keys), flags=flags)
            self._session.one(op, Done)
            return
        ops: list[Op] = []
        for key, value in pairs:
            ops += self._steps(key, self._storing(value, flags=flags), at=len(ops))
        self._run_steps(ops)

    def delete(self, key: object) -> bool:
        """Delete a key; False when it is absent."""
        op, result = self._with(key, lambda raw: MapDelete(self._handle, raw))
        if isinstance(result, Failed) and result.errno == errno.ENOENT:
            return False
        self._session.checked(op, result, kind=Done)
        return True

    def take(self, key: object) -> bytes | None:
        """The value of a key, deleted in the same step; None when it is absent."""
        return self._session.one(MapPop(self._handle, self.raw_key(key)), Value).data

    def raw_key(self, key: object) -> bytes:
        """A key among many, which have to be bytes."""
        self._keys_needed()
        raw = self._codec.key(key)
        if isinstance(raw, bytes):
            return raw
        self.refuse("its keys are objects, which go one at a time")

    def refuse(self, why: str) -> NoReturn:
        """``BpfUsageError``: maps of this type cannot do what was asked."""
        raise BpfUsageError(f"map {self._codec.name!r} is a {self._codec.kind.name}: {why}")

    def _storing(self, value: object, *, flags: int) -> Callable[[bytes | Obj], Op]:
        stored = self._codec.store(value, flags=flags)
        return lambda raw: MapSet(self._handle, raw, stored.value, flags=flags, fds=stored.fds, netns=stored.netns)

    def _with(self, key: object, make: Callable[[bytes | Obj], Op]) -> tuple[Op, Result]:
        """What an op on a key answers. An object that the key only names is open meanwhile."""
        self._keys_needed()
        opening = self._codec.opening(key)
        if opening is None:
            op = make(self._codec.key(key))
            return op, self._session.run([op])[0]
        op = make(Ref(0))
        opened, result, *_ = self._session.run([opening, Try(op), Close(Ref(0))])
        self._session.checked(opening, opened, kind=Made)
        return op, result

    def _steps(self, key: object, make: Callable[[bytes | Obj], Op], *, at: int) -> list[Op]:
        """The ops of one element in a batch in which ``at`` ops precede them."""
        opening = self._codec.opening(key)
        if opening is None:
            return [make(self._codec.key(key))]
        return [opening, make(Ref(at)), Close(Ref(at))]

    def _run_steps(self, ops: list[Op]) -> None:
        results = self._session.run(ops)
        failed = next((i for i, result in enumerate(results) if isinstance(result, Failed)), None)
        if failed is None:
            return
        opened = results[failed - 1] if failed else None
        if isinstance(opened, Made):  # for the op that failed
            self._session.one(Close(opened.handle), Done)
        self._session.checked(ops[failed], results[failed], kind=Done)

    def _keys_needed(self) -> None:
        if self._codec.kind.access not in ("keyed", "storage", "perf"):
            self.refuse("it has no keys")
