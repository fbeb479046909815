"""One header of a packet, as a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import lshift
from typing import Any

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.packets.fields import Field, Value, field_number, field_value, render_value
from pytest_ebpf.packets.options import OptionBytes, encode_options, written_options
from pytest_ebpf.packets.protocols import PROTOCOLS
from pytest_ebpf.packets.spec import HeaderSpec

__all__ = ["FieldValue", "Layer", "label_layers", "make_layer", "pack_numbers"]

FieldValue = Value | Sequence[object] | None


@dataclass(frozen=True, slots=True)
class Layer:
    """A header: ``numbers`` in the order of ``spec.fields``, None where one is to be computed, and its ``tail``
    (options, or the load of raw bytes)."""

    spec: HeaderSpec
    numbers: tuple[int | None, ...]
    tail: bytes = b""

    @property
    def name(self) -> str:
        """Its name in paths: "eth", "ip", "udp"."""
        return self.spec.name

    def __getitem__(self, field: str) -> Value | None:
        """The value of a field, as written: ``layer["dst"] == "192.0.2.1"``. None: not computed yet, or not in this
        header. Options are bytes that also equal the list they are written as."""
        if field and field == self.spec.tail:
            return OptionBytes(self.tail, self.spec.codec) if self.spec.codec else self.tail
        index = self._index(field)
        number = self.numbers[index]
        return None if number is None else field_value(self.spec.fields[index], number)

    def __getattr__(self, field: str) -> Any:
        """``layer.ttl`` is ``layer["ttl"]``."""
        if field.startswith("_") or (field not in self.spec.index and field != self.spec.tail):
            raise AttributeError(f"{self.spec.title} has no field {field!r}; it has {', '.join(self.spec.names)}")
        return self[field]

    def number(self, field: str) -> int | None:
        """The bits of a field. None: not computed yet."""
        return self.numbers[self._index(field)]

    def replace(self, changes: Mapping[str, FieldValue]) -> Layer:
        """A copy with other values. None as a value: the default, or compute it."""
        index = self.spec.index
        kept = dict(zip(self.spec.names, (*self.numbers, self.tail), strict=False))
        names = {name: self.spec.fields[index[name]].name if name in index else name for name in changes}
        return make_layer(self.spec.key, {**kept, **{names[name]: value for name, value in changes.items()}})

    def with_number(self, place: int, number: int) -> Layer:
        """A copy with a number that fits the field at a place of ``spec.fields``: quicker than ``replace``."""
        numbers = self.numbers
        return Layer(self.spec, (*numbers[:place], number, *numbers[place + 1 :]), self.tail)

    def __bytes__(self) -> bytes:
        """The bytes on the wire. Fields that are not computed yet are zero."""
        return pack_numbers(self.spec, self.numbers) + self.tail

    def __len__(self) -> int:
        """Bytes on the wire."""
        if self.spec.optional:
            return len(bytes(self))
        return self.spec.size + len(self.tail)

    def __repr__(self) -> str:
        """The call that makes it, without fields at their default."""
        pairs = zip(self.spec.fields, self.numbers, strict=True)
        words = [f"{f.name}={_written(f, n)}" for f, n in pairs if n != f.default]
        if self.spec.codec and self.tail:
            words.append(f"{self.spec.tail}={written_options(self.spec.codec, self.tail)}")
        elif not self.spec.fields:
            words.append(repr(self.tail))
        return f"{self.spec.title}({', '.join(words)})"

    def _index(self, field: str) -> int:
        index = self.spec.index.get(field)
        if index is None:
            raise KeyError(f"{self.name} has no field {field!r}; it has {', '.join(self.spec.names)}")
        return index


def pack_numbers(spec: HeaderSpec, numbers: Sequence[int | None]) -> bytes:
    """The fields of a header as bytes, without its tail."""
    try:
        whole: int = sum(map(lshift, numbers, spec.shifts))
    except TypeError:  # None: not computed yet
        whole = sum(map(lshift, (number or 0 for number in numbers), spec.shifts))
    head = whole.to_bytes(spec.size, "big")
    if not spec.optional:
        return head
    for place in range(len(spec.cuts), len(numbers)):
        if spec.present(place, list(numbers)):
            head += (numbers[place] or 0).to_bytes(spec.fields[place].bits // 8, "big")
    return head


def _written(field: Field, number: int | None) -> str:
    if number is None:
        return "None"
    value = field_value(field, number)
    return repr(value) if isinstance(value, str) else render_value(field, number)


def make_layer(key: str, values: Mapping[str, FieldValue]) -> Layer:
    """A header from given values; other fields get their defaults. Raises ValueError for a value that does not fit,
    TypeError for an unknown field."""
    spec = PROTOCOLS[key]
    numbers, tail, bits, find = list(spec.defaults), b"", spec.bits, spec.index.get
    for name, value in values.items():
        place = find(name)
        if place is not None and type(value) is int and not value >> bits[place]:  # nearly always
            numbers[place] = value
            continue
        if value is None:
            if place is None and name != spec.tail:
                raise _unknown(spec, name)
            continue
        if place is not None:
            numbers[place] = _number(spec, place, value=value)
        elif name == spec.tail and name:
            tail = _tail(spec, value)
        else:
            raise _unknown(spec, name)
    return Layer(spec, tuple(numbers), tail)


def _unknown(spec: HeaderSpec, name: str) -> TypeError:
    return TypeError(f"{spec.title} has no field {name!r}; it has {', '.join(spec.names)}")


def _number(spec: HeaderSpec, place: int, *, value: FieldValue) -> int:
    field = spec.fields[place]
    try:
        return field_number(field, value)  # type: ignore[arg-type]  # it refuses what is no number
    except ValueError as error:
        raise ValueError(f"{spec.title} {error}") from None


def _tail(spec: HeaderSpec, value: object) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if spec.codec and isinstance(value, list | tuple):
        try:
            return encode_options(spec.codec, value)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{spec.title} {spec.tail}: {error}") from None
    raise TypeError(f"{spec.title} {spec.tail} must be bytes, not {type(value).__name__}")


def label_layers(layers: Iterable[Layer]) -> tuple[str, ...]:
    """A name for each header; repeated headers are numbered: eth, ip, ip2, udp."""
    seen: dict[str, int] = {}
    labels = []
    for layer in layers:
        seen[layer.name] = seen.get(layer.name, 0) + 1
        labels.append(layer.name if seen[layer.name] == 1 else f"{layer.name}{seen[layer.name]}")
    return tuple(labels)
