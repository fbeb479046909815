"""A BTF type as a Python value: its size, the places of its fields, decoding and encoding."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pytest_ebpf.btf.codec import decode, describe, encode
from pytest_ebpf.btf.layout import Field, fields, strip
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, DataSec, Kind, Struct
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.suggest import close_names

__all__ = ["FieldPlace", "TypeTable", "ValueType", "find_types", "python_type"]

_KINDS = {
    "struct": (Kind.STRUCT,),
    "union": (Kind.UNION,),
    "enum": (Kind.ENUM, Kind.ENUM64),
    "": (Kind.STRUCT, Kind.UNION, Kind.TYPEDEF, Kind.ENUM, Kind.ENUM64, Kind.INT, Kind.FLOAT, Kind.DATASEC),
}
_STEP = re.compile(r"\.?([A-Za-z_]\w*)|\[(\d+)\]")
_NAMES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """The place of a field. ``offset`` and ``size`` in bytes; for a bitfield those of the bytes it covers, with
    ``bits`` its width (else 0). ``bit_offset`` counts from the start of the struct. ``type``: as C writes it."""

    name: str
    offset: int
    size: int
    type: str
    type_id: int
    bit_offset: int
    bits: int = 0


@dataclass(frozen=True, slots=True)
class ValueType:
    """A type of an object file or a kernel.

    >>> event = obj.types["event"]                                     # doctest: +SKIP
    >>> event.size, event.fields["comm"].offset                        # doctest: +SKIP
    (24, 8)
    >>> event.unpack(event.pack(pid=7, comm="true"))["comm"]           # doctest: +SKIP
    'true'
    """

    btf: Btf = field(repr=False)
    id: int
    name: str
    size: int

    @property
    def fields(self) -> Mapping[str, FieldPlace]:
        """Its fields by name, with those of anonymous members; empty unless it is a struct or union."""
        key = ("field_places", self.id)
        found: Mapping[str, FieldPlace] | None = self.btf.memo.get(key)
        if found is None:
            listed = fields(self.btf, stripped) if self._is_compound(stripped := strip(self.btf, self.id)) else ()
            found = MappingProxyType({one.name: _place(self.btf, one) for one in listed})
            self.btf.memo[key] = found
        return found

    def unpack(self, data: bytes) -> Any:
        """The value in ``data`` (see ``btf.codec.decode``): a dict for a struct. ValueError when it is too short."""
        if len(data) < self.size:
            raise ValueError(f"{self.name} takes {self.size} bytes, there are {len(data)}")
        return decode(self.btf, self.id, data=data)

    def pack(self, value: Any = None, **named: Any) -> bytes:
        """The bytes of a value, for a struct also by field: ``pack(pid=1)``. Omitted fields are 0.

        TypeError or ValueError name the field that does not fit.
        """
        if value is None and (named or self.fields):
            value = named
        elif named:
            raise TypeError("give a value or fields, not both")
        return encode(self.btf, self.id, value=value)

    def offset(self, path: str) -> int:
        """Bytes from the start to a field of a field: ``offset("header.addr[2].port")``. KeyError for an unknown
        field."""
        current, at, after = self, 0, 0
        for step in _STEP.finditer(path):
            if step.start() != after:
                break
            after = step.end()
            current, forward = current._step(step)
            at += forward
        if after != len(path) or not path:
            raise KeyError(f"{path!r} is not a path of fields such as a.b[2].c")
        return at

    def _step(self, step: re.Match[str]) -> tuple[ValueType, int]:
        name, index = step.groups()
        if name:
            place = self.fields.get(name)
            if place is None:
                close = close_names(name, self.fields, most=1)
                near = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(self.fields) or 'none'}"
                raise KeyError(f"{self.name} has no field {name!r}; {near}")
            return python_type(self.btf, place.type_id), place.offset
        array = self.btf.type(strip(self.btf, self.id))
        if not isinstance(array, Array):
            raise KeyError(f"{self.name} is no array")
        element = python_type(self.btf, array.type)
        return element, int(index) * element.size

    def _is_compound(self, type_id: int) -> bool:
        return isinstance(self.btf.type(type_id), Struct | DataSec)


def python_type(btf: Btf, type_id: int) -> ValueType:
    """The type of an id. ObjectError when it has no size (void, a function, what is only declared)."""
    return ValueType(btf, type_id, describe(btf, type_id), btf.size(type_id))


def _place(btf: Btf, one: Field) -> FieldPlace:
    first, bits = one.bit_offset // 8, one.bit_size
    size = -(-(one.bit_offset % 8 + bits) // 8) if bits else btf.size(one.type)
    return FieldPlace(one.name, first, size, describe(btf, one.type), one.type, one.bit_offset, bits)


def find_types(btf: Btf, name: str) -> tuple[int, ...]:
    """Ids of the types that C calls ``name``: "struct event", "u32", or "event" for any type of that name."""
    keyword, _, tag = name.partition(" ")
    if keyword not in _KINDS:  # "unsigned int" is one name
        keyword, tag = "", name
    found = (type_id for kind in _KINDS[keyword] for type_id in btf.find(tag.strip(), kind))
    return tuple(sorted(found))


def _first(btf: Btf, found: tuple[int, ...]) -> int:
    """A struct before a typedef of its name."""
    return min(found, key=lambda type_id: (btf.kind(type_id) == Kind.TYPEDEF, type_id))


class TypeTable(Mapping[str, ValueType]):
    """Types by name: ``types["event"]``, ``types["struct event"]``. A struct wins over a typedef of its name.
    ``more`` returns a larger BTF for names that ``btf`` lacks."""

    def __init__(self, btf: Btf | None, *, name: str, more: Callable[[], Btf | None] = lambda: None) -> None:
        self._btf = btf
        self._more = more
        self._name = name

    def __getitem__(self, name: str) -> ValueType:
        for look in (self._first, self._more):
            btf = look()
            if btf is not None and (found := find_types(btf, name)):
                return python_type(btf, _first(btf, found))
        if self._btf is None:
            raise KeyError(f"{self._name} has no BTF: was it compiled with -g?")
        names = list(self)
        close = close_names(name, names, most=1)
        near = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(names[:_NAMES_SHOWN]) or 'none'}"
        raise KeyError(f"{self._name} has no type {name!r}; {near}")

    def __iter__(self) -> Iterator[str]:
        """The names of its structs, unions, enums and typedefs."""
        if self._btf is not None:
            seen = (found.name for _, found in self._btf if found.kind in _KINDS[""][:5] and found.name)
            yield from dict.fromkeys(seen)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _first(self) -> Btf | None:
        return self._btf

    def __repr__(self) -> str:
        return f"<types of {self._name}>"
