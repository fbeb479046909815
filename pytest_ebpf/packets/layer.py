"""One header of a packet, as a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pytest_ebpf.packets.fields import Field, Value, field_number, field_value, render_value
from pytest_ebpf.packets.protocols import PROTOCOLS, HeaderSpec

__all__ = ["Layer", "label_layers", "make_layer"]


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
        """The value of a field, as written: ``layer["dst"] == "192.0.2.1"``. None: not computed yet."""
        if field and field == self.spec.tail:
            return self.tail
        index = self._index(field)
        number = self.numbers[index]
        return None if number is None else field_value(self.spec.fields[index], number)

    def number(self, field: str) -> int | None:
        """The bits of a field. None: not computed yet."""
        return self.numbers[self._index(field)]

    def replace(self, changes: Mapping[str, Value | None]) -> Layer:
        """A copy with other values. None as a value: the default, or compute it."""
        return make_layer(
            self.name, {**dict(zip(self.spec.names, (*self.numbers, self.tail), strict=False)), **changes}
        )

    def fill(self, computed: Mapping[str, int]) -> Layer:
        """A copy with the computed fields set; given values stay."""
        pairs = zip(self.spec.fields, self.numbers, strict=True)
        return Layer(self.spec, tuple(computed.get(f.name) if n is None else n for f, n in pairs), self.tail)

    def __bytes__(self) -> bytes:
        """The bytes on the wire. Fields that are not computed yet are zero."""
        whole = 0
        for field, number in zip(self.spec.fields, self.numbers, strict=True):
            whole = whole << field.bits | (number or 0)
        return whole.to_bytes(self.spec.size, "big") + self.tail

    def __len__(self) -> int:
        """Bytes on the wire."""
        return self.spec.size + len(self.tail)

    def __repr__(self) -> str:
        """The call that makes it, without fields at their default."""
        pairs = zip(self.spec.fields, self.numbers, strict=True)
        words = [f"{f.name}={_written(f, n)}" for f, n in pairs if n != f.default]
        if self.tail or not self.spec.fields:
            words.append(repr(self.tail) if not self.spec.fields else f"{self.spec.tail}={self.tail!r}")
        return f"{self.spec.title}({', '.join(words)})"

    def _index(self, field: str) -> int:
        for index, known in enumerate(self.spec.fields):
            if known.name == field:
                return index
        raise KeyError(f"{self.name} has no field {field!r}; it has {', '.join(self.spec.names)}")


def _written(field: Field, number: int | None) -> str:
    if number is None:
        return "None"
    value = field_value(field, number)
    return repr(value) if isinstance(value, str) else render_value(field, number)


def make_layer(name: str, values: Mapping[str, Value | None]) -> Layer:
    """A header from given values; other fields get their defaults. Raises ValueError for a value that does not fit,
    TypeError for an unknown field."""
    spec = PROTOCOLS[name]
    unknown = values.keys() - set(spec.names)
    if unknown:
        raise TypeError(f"{spec.title} has no field {min(unknown)!r}; it has {', '.join(spec.names)}")
    tail = values.get(spec.tail) or b"" if spec.tail else b""
    if not isinstance(tail, (bytes, bytearray, memoryview)):
        raise TypeError(f"{spec.title} {spec.tail} must be bytes, not {type(tail).__name__}")
    return Layer(spec, tuple(_number(field, values, title=spec.title) for field in spec.fields), bytes(tail))


def _number(field: Field, values: Mapping[str, Value | None], *, title: str) -> int | None:
    given = values.get(field.name)
    value = field.default if given is None else given
    try:
        return None if value is None else field_number(field, value)
    except ValueError as error:
        raise ValueError(f"{title} {error}") from None


def label_layers(layers: Iterable[Layer]) -> tuple[str, ...]:
    """A name for each header; repeated headers are numbered: eth, ip, ip2, udp."""
    seen: dict[str, int] = {}
    labels = []
    for layer in layers:
        seen[layer.name] = seen.get(layer.name, 0) + 1
        labels.append(layer.name if seen[layer.name] == 1 else f"{layer.name}{seen[layer.name]}")
    return tuple(labels)
