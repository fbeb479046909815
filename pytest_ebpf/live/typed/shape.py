"""Map keys, map values and globals between Python and bytes: by BTF type where there is one, by size otherwise."""

from __future__ import annotations

import gc
import ipaddress
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from pytest_ebpf.btf.codec import decode, encode
from pytest_ebpf.btf.decode import many_decoder
from pytest_ebpf.btf.literals import by_name
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.typed.as_bytes import as_bytes
from pytest_ebpf.obj.object import Variable

__all__ = ["Shape", "StructKey", "add_values", "encode_lpm", "hashable", "uncollected"]

_INT_SIZES = (1, 2, 4, 8)
_INT_CODES: Mapping[int, str] = MappingProxyType({1: "B", 2: "H", 4: "I", 8: "Q"})


@dataclass(frozen=True, slots=True)
class Shape:
    """``size`` bytes; of BTF type ``type_id`` when that is not 0. ``what`` names it in messages ("key of map 'm'").
    ``variables``: those of a data section, whose type in BTF does not say where they lie."""

    what: str
    size: int
    byteorder: str
    btf: Btf | None = None
    type_id: int = 0
    variables: tuple[Variable, ...] = ()

    @property
    def typed(self) -> bool:
        """Whether there is a BTF type to read it by."""
        return self.btf is not None and self.type_id != 0

    def decode(self, data: bytes) -> object:
        """The value: by type, else an unsigned int of 1, 2, 4 or 8 bytes, else the bytes as they are."""
        if self.variables:
            return {found.name: self._variable(found).decode(data[found.offset :]) for found in self.variables}
        if self.btf is not None and self.type_id:
            return decode(self.btf, self.type_id, data=data[: self.size])
        if self.size in _INT_SIZES:
            return int.from_bytes(data[: self.size], "big" if self.byteorder == "big" else "little")
        return data[: self.size]

    def decode_many(self, data: bytes, stride: int) -> list[object]:
        """The values that lie in ``data``, ``stride`` bytes from one to the next."""
        if self.btf is not None and self.type_id:
            return many_decoder(self.btf, self.type_id)(data, stride)
        code = _INT_CODES.get(self.size)
        if code is None:
            return [data[at : at + self.size] for at in range(0, len(data), stride)]
        order = ">" if self.byteorder == "big" else "<"
        return [value for (value,) in struct.iter_unpack(f"{order}{code}{stride - self.size}x", data)]

    def encode(self, value: object) -> bytes:
        """``size`` bytes. Bytes are taken as they are (the length must fit); the rest goes by type.

        ``TypeError`` or ``ValueError`` naming the field for what does not fit.
        """
        if isinstance(value, bytes | bytearray | memoryview):
            return self._whole(bytes(value))
        if isinstance(value, StructKey) and len(bytes(value)) == self.size and self.decode(bytes(value)) == value:
            return bytes(value)  # with what the program left between the fields: to the kernel it is part of the key
        if self.variables:
            return self._section(value)
        if self.btf is not None and self.type_id:
            return self._typed(value)
        if isinstance(value, int):
            return self._number(value)
        if isinstance(value, str):
            return self._whole(value.encode().ljust(self.size, b"\0"))
        if hasattr(value, "__bytes__") or hasattr(value, "build"):
            return self._whole(as_bytes(value))
        raise TypeError(f"{self.what} has no BTF type: give {self.size} bytes or a number, not {value!r}")

    def _variable(self, found: Variable) -> Shape:
        return Shape(f"{self.what}: {found.name}", found.size, self.byteorder, self.btf, found.type_id)

    def _section(self, value: object) -> bytes:
        if not isinstance(value, Mapping):
            raise TypeError(f"{self.what}: takes a dict of variables, not {value!r}")
        known = {found.name: found for found in self.variables}
        data = bytearray(self.size)
        for name, given in value.items():
            if name not in known:
                raise ValueError(f"{self.what}: there is no variable {name!r}; it has {', '.join(known)}")
            found = known[name]
            data[found.offset : found.offset + found.size] = self._variable(found).encode(given)
        return bytes(data)

    def _typed(self, value: object) -> bytes:
        assert self.btf is not None
        plain = dict(value) if isinstance(value, Mapping) else value
        try:
            data = encode(self.btf, self.type_id, value=plain)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.what}: {error}") from None
        # an array without a size at the end takes what there is room for: more than its type in a global, none in a map
        return self._whole(data.ljust(self.size, b"\0"))

    def by_name(self, value: object) -> object:
        """An expected value with dicts for the tuples that stand for structs. ``ValueError`` as ``encode``."""
        if self.btf is None or not self.type_id or not isinstance(value, Mapping | list | tuple):
            return value
        try:
            return by_name(self.btf, self.type_id, value=value)
        except ValueError as error:
            raise ValueError(f"{self.what} {error}") from None

    def _number(self, value: int) -> bytes:
        try:
            return value.to_bytes(self.size, "big" if self.byteorder == "big" else "little", signed=value < 0)
        except OverflowError:
            raise ValueError(f"{self.what}: {value} does not fit in {self.size} bytes") from None

    def _whole(self, data: bytes) -> bytes:
        if len(data) != self.size:
            raise ValueError(f"{self.what} is {self.size} bytes, got {len(data)}")
        return data


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the cyclic garbage collector meanwhile: it goes over all that was made, again and again, while a hundred
    thousand values are made of which none is garbage; half of the time of ``items()``."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class StructKey(Mapping[str, object]):
    """A struct that was read as a map key: a dict that can itself be a key. Equal to a dict with the same fields."""

    __slots__ = ("_fields", "_raw")

    def __init__(self, fields: Mapping[str, object], *, raw: bytes) -> None:
        self._fields = fields
        self._raw = raw

    def __getitem__(self, name: str) -> object:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __hash__(self) -> int:
        return hash(self._raw)

    def __bytes__(self) -> bytes:
        return self._raw

    def __repr__(self) -> str:
        return repr(self._fields)


def hashable(value: object, *, raw: bytes) -> object:
    """``value`` as a dict key: structs become ``StructKey``, arrays tuples."""
    if isinstance(value, Mapping):
        return StructKey(value, raw=raw)
    return _nested_tuple(value)


def _nested_tuple(value: object) -> object:
    return tuple(_nested_tuple(item) for item in value) if isinstance(value, list) else value


def encode_lpm(text: str, *, size: int, byteorder: str) -> bytes | None:
    """``"192.0.2.0/24"`` as the key of an LPM trie with ``size`` bytes of key, None when it is no such text.

    ``ValueError`` when the address family does not fit the key."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    address = ipaddress.ip_interface(text).ip.packed
    if len(address) + 4 != size:
        raise ValueError(f"{text} is IPv{network.version}, but the key holds {size - 4} bytes of address")
    return network.prefixlen.to_bytes(4, "big" if byteorder == "big" else "little") + address


def add_values(values: Sequence[object]) -> object:
    """The values of all CPUs added up: numbers, and structs and arrays element by element.

    Text and bytes, which cannot be added, are kept from the first CPU."""
    first = values[0]
    if isinstance(first, bool | str | bytes):
        return first
    if isinstance(first, int):
        return sum(int(value) for value in values if isinstance(value, int))
    if isinstance(first, Mapping):
        return {name: add_values([value[name] for value in values if isinstance(value, Mapping)]) for name in first}
    if isinstance(first, list):
        rows = [value for value in values if isinstance(value, list)]
        return [add_values(column) for column in zip(*rows, strict=True)]
    return first
