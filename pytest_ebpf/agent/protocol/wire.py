"""Frames: messages <-> bytes. Pure, the same on both ends.

A frame is two u32 lengths (little-endian), a JSON head and the raw bytes that it refers to. In the head

* a value is ``["TypeName", field, …]`` in the order of its class; fields at the end that hold their defaults are left
  out;
* bytes are ``[offset, length]`` into the raw bytes, a tuple of bytes is ``[offset, [length, …]]``;
* many integers are ``{"i64": [offset, length]}``: writing them as text is what takes longest in an emulated guest;
* all else is itself.

What comes in is checked against the declared types of the fields: the other end may be a kernel that is falling
over. Anything odd raises ``WireError``; nothing is guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import attrgetter
from struct import Struct
from typing import Any, get_args

from pytest_ebpf.agent import ops
from pytest_ebpf.agent.ops import Handle, Op, Result
from pytest_ebpf.agent.protocol.blobs import Blobs, WireError, read_bytes, read_numbers, read_packed, read_pieces
from pytest_ebpf.frozen import MISSING, dataclass, fields, is_dataclass

__all__ = [
    "MAX_BLOBS",
    "MAX_HEAD",
    "Alive",
    "BadRequest",
    "Codec",
    "Decoder",
    "Hello",
    "Message",
    "Reply",
    "Request",
    "WireError",
]

MAX_HEAD = 64 << 20
MAX_BLOBS = 3 << 29  # a verifier log of 1 GiB, and then some
_LENGTHS = Struct("<II")


class BadRequest(WireError):
    """A value in request ``id`` has the wrong type. The frame was whole: it can be answered, and the next may come."""

    def __init__(self, text: str, *, id: int) -> None:
        super().__init__(text)
        self.id = id


@dataclass(frozen=True, slots=True)
class Hello:
    """The agent's first word. ``boot`` is in every handle it gives out."""

    boot: str
    python: str
    pid: int


@dataclass(frozen=True, slots=True)
class Request:
    """Run a batch. ``id`` counts up, so that an answer nobody waits for any more can be told from the next one."""

    id: int
    ops: tuple[Op, ...]
    scope: Handle | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The results of request ``id``; ``error`` says why there are none. ``logged``: the mark behind the last record of
    the kernel's log that was read, while no other one is there; -1 where nothing is known."""

    id: int
    results: tuple[Result, ...] = ()
    error: str = ""
    logged: int = -1


@dataclass(frozen=True, slots=True)
class Alive:
    """Sent now and then while a request is being worked on: the verifier may take minutes, a hang takes for ever."""


Message = Hello | Request | Reply | Alive

_Read = Callable[[Any, memoryview], Any]
_Readers = dict[type[Any], _Read | None]  # None: as it is
_AS_IS = frozenset({int, str, bool, float, type(None)})
_MESSAGES = (["Hello"], ["Request"], ["Reply"], ["Alive"])
_ALIASES = {"Obj": ops.Obj, "Op": ops.Op, "Result": ops.Result}
_PLAIN = {"int": int, "str": str, "bool": bool, "None": type(None)}


class _Shape:
    """How the values of one class are written and read."""

    __slots__ = ("_cls", "_defaults", "_get", "_name", "_names", "_readers", "_required")

    def __init__(self, cls: type[Any], codec: Codec) -> None:
        declared = fields(cls)
        self._cls = cls
        self._name = cls.__name__
        self._names = [f.name for f in declared]
        self._get = _getter(self._names)
        self._defaults = [f.default for f in declared]
        self._required = sum(1 for f in declared if f.default is MISSING)
        self._readers = [codec.readers(str(f.type)) for f in declared]

    def row(self, value: Any, blobs: Blobs, *, write: Callable[[Any, Blobs], Any]) -> list[Any]:
        """The value as a row of the head."""
        values = self._get(value)
        end = len(values)
        while end > self._required and values[end - 1] == self._defaults[end - 1]:
            end -= 1
        row: list[Any] = [self._name]
        row += [field if type(field) in _AS_IS else write(field, blobs) for field in values[:end]]
        return row

    def value(self, row: list[Any], blobs: memoryview) -> Any:
        """The value of a row. Raises ``WireError``."""
        if not self._required < len(row) <= len(self._readers) + 1:
            raise WireError(f"{self._name} with {len(row) - 1} fields")
        values = row[1:]
        for index, field in enumerate(values):
            try:
                read = self._readers[index][type(field)]
            except KeyError:
                raise WireError(f"{self._name}.{self._names[index]}: unexpected {str(field)[:60]!r}") from None
            if read is not None:
                values[index] = read(field, blobs)
        return self._cls(*values)


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


class Codec:
    """Messages <-> frames. Learns a class when it first meets it."""

    def __init__(self) -> None:
        found = [getattr(ops, name) for name in ops.__all__]
        classes = [cls for cls in (*found, *get_args(Message)) if isinstance(cls, type) and is_dataclass(cls)]
        self._classes = {cls.__name__: cls for cls in classes}
        self._written: dict[type[Any], _Shape] = {}
        self._shapes: dict[str, _Shape] = {}
        self._readers: dict[str, _Readers] = {}
        self._render = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
        self._parse = json.JSONDecoder(parse_constant=_no_constant).decode

    def encode(self, message: Message) -> bytes:
        """A whole frame. Raises ``WireError`` for a value that has no place in one."""
        blobs = Blobs()
        try:
            head = self._render(self._write(message, blobs)).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise WireError(f"cannot send this {type(message).__name__}: {error}") from error
        if len(head) > MAX_HEAD or blobs.size > MAX_BLOBS:
            raise WireError(f"a message of {len(head)} + {blobs.size} bytes; the limits are {MAX_HEAD} and {MAX_BLOBS}")
        return b"".join([_LENGTHS.pack(len(head), blobs.size), head, *blobs.parts])

    def decode(self, head: bytes, blobs: memoryview) -> Message:
        """The message of one frame. Raises ``WireError``."""
        try:
            row = self._parse(head.decode())
            if type(row) is not list or row[:1] not in _MESSAGES:
                raise WireError(f"no message: {str(row)[:60]!r}")
            return self._message(row, blobs)
        except (ValueError, RecursionError) as error:
            raise WireError(f"no message: {error}") from error

    def _message(self, row: list[Any], blobs: memoryview) -> Message:
        try:
            message: Message = self._shape(row[0]).value(row, blobs)
        except WireError as error:
            if row[0] == "Request" and len(row) > 2 and type(row[1]) is int:
                raise BadRequest(str(error), id=row[1]) from None
            raise
        return message

    def _shape(self, name: str) -> _Shape:
        shape = self._shapes.get(name)
        if shape is None:
            shape = self._shapes[name] = _Shape(self._classes[name], self)
        return shape

    def _write(self, value: Any, blobs: Blobs) -> Any:
        kind = type(value)
        if kind is bytes:
            return blobs.add(value)
        shape = self._written.get(kind)
        if shape is not None:
            return shape.row(value, blobs, write=self._write)
        if self._classes.get(kind.__name__) is kind:
            self._written[kind] = self._shape(kind.__name__)
            return self._written[kind].row(value, blobs, write=self._write)
        if kind is tuple:
            kinds = set(map(type, value))
            if kinds == {bytes}:
                return blobs.add_all(value)
            if kinds <= _AS_IS:
                return blobs.numbers(value) if kinds == {int} else list(value)
            return [self._write(item, blobs) for item in value]
        return value

    def readers(self, annotation: str) -> _Readers:
        """JSON type -> how to read it, for a field declared so."""
        readers = self._readers.get(annotation)
        if readers is None:
            readers = self._readers[annotation] = {}
            for atom in annotation.split(" | ") if not annotation.startswith("tuple[") else _tuple_first(annotation):
                self._add_atom(atom, readers)
        return readers

    def _add_atom(self, atom: str, readers: _Readers) -> None:
        if atom in _PLAIN:
            readers[_PLAIN[atom]] = None
        elif atom == "float":
            readers |= {float: None, int: None}
        elif atom == "tuple[bytes, ...]":
            readers[list] = read_pieces
        elif atom == "Pieces":
            readers[list] = read_packed
        elif atom.startswith("tuple["):
            read = self._tuple_reader(atom.removeprefix("tuple[").removesuffix("]"))
            readers[list] = read
            readers[dict] = lambda field, blobs: read(read_numbers(field, blobs), blobs)
        elif atom == "bytes":
            readers[list] = read_bytes
        else:
            readers[list] = _either(readers.get(list), self._class_reader(atom))

    def _class_reader(self, name: str) -> _Read:
        """Reads a class, or any class of an alias (Obj, Op, Result)."""
        members = get_args(_ALIASES[name]) if name in _ALIASES else (self._classes[name],)
        names = frozenset(member.__name__ for member in members)
        known: dict[str, _Read] = {}

        def read(row: list[Any], blobs: memoryview) -> Any:
            kind = row[0] if row else None
            if type(kind) is not str or kind not in names:
                raise WireError(f"expected {name}, got {str(kind)[:60]!r}")
            value = known.get(kind)
            if value is None:
                value = known[kind] = self._shape(kind).value
            return value(row, blobs)

        return read

    def _tuple_reader(self, inner: str) -> _Read:
        """``X, ...`` or ``X, Y``."""
        parts = [inner.removesuffix(", ...")] if inner.endswith(", ...") else inner.split(", ")
        length = 0 if len(parts) == 1 else len(parts)
        each = [self.readers(part) for part in parts]
        plain = {kind for kind, reader in each[0].items() if reader is None}

        def read(items: list[Any], blobs: memoryview) -> tuple[Any, ...]:
            if length and len(items) != length:
                raise WireError(f"expected {length} items, got {len(items)}")
            if not length and set(map(type, items)) <= plain:
                return tuple(items)
            values = []
            for index, item in enumerate(items):
                readers = each[index if length else 0]
                if type(item) not in readers:
                    raise WireError(f"unexpected item {str(item)[:60]!r}")
                reader = readers[type(item)]
                values.append(item if reader is None else reader(item, blobs))
            return tuple(values)

        return read


def _tuple_first(annotation: str) -> list[str]:
    """``tuple[…] | None`` in its parts; bars inside the brackets are not seen as separators."""
    body, _, rest = annotation.rpartition("]")
    return [f"{body}]", *filter(None, rest.split(" | "))]


def _either(plain: _Read | None, named: _Read) -> _Read:
    """Rows begin with a name, places of bytes with a number."""
    if plain is None:
        return named

    def read(row: list[Any], blobs: memoryview) -> Any:
        return (named if row and type(row[0]) is str else plain)(row, blobs)

    return read


def _no_constant(name: str) -> None:
    raise WireError(f"{name} is no JSON")


class Decoder:
    """Bytes in any portions -> messages."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._buffer = bytearray()

    @property
    def missing(self) -> int:
        """How many bytes the next message needs at least."""
        have = len(self._buffer)
        if have < _LENGTHS.size:
            return _LENGTHS.size - have
        return max(1, _LENGTHS.size + sum(_checked(self._buffer)) - have)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes. Raises ``WireError``; but for ``BadRequest``, the stream is of no use
        after that."""
        if not self._buffer and len(data) >= _LENGTHS.size:
            head, blobs = _checked(data)
            if len(data) == _LENGTHS.size + head + blobs:  # nearly always
                start = _LENGTHS.size + head
                return [self._codec.decode(data[_LENGTHS.size : start], memoryview(data)[start:])]
        self._buffer += data
        messages: list[Message] = []
        while len(self._buffer) >= _LENGTHS.size:
            head, blobs = _checked(self._buffer)
            end = _LENGTHS.size + head + blobs
            if len(self._buffer) < end:
                break
            messages.append(self._take(head, end=end))
        return messages

    def _take(self, head: int, *, end: int) -> Message:
        start = _LENGTHS.size + head
        try:
            with memoryview(self._buffer) as whole, whole[start:end] as blobs:
                return self._codec.decode(bytes(whole[_LENGTHS.size : start]), blobs)
        finally:
            del self._buffer[:end]


def _checked(data: bytes | bytearray) -> tuple[int, int]:
    """The two lengths at the start of a frame."""
    head, blobs = _LENGTHS.unpack_from(data)
    if head > MAX_HEAD or blobs > MAX_BLOBS:
        raise WireError(f"a frame of {head} + {blobs} bytes: the other end does not speak this protocol")
    return head, blobs
