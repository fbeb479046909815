"""Values of C types: of map keys, map values and globals, and of any type in BTF."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as hypothesis_strategies
from hypothesis.strategies import SearchStrategy

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, Enum, Float, Int, Ptr, Struct
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.bpf_object import BpfObject
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.typed.shape import Shape
from pytest_ebpf.suggest import did_you_mean

__all__ = ["from_btf", "globals_of", "keys", "of_type", "values"]


def keys(map: Map) -> SearchStrategy[Any]:
    """Keys of a map: numbers below ``max_entries`` for an array, prefixes of every length for an LPM trie, else what
    its BTF type has room for."""
    codec = map.codec
    if codec.kind.indexed:
        return hypothesis_strategies.integers(0, map.max_entries - 1)
    if codec.kind.lpm:
        return _prefixes(map.key_size - 4)
    if not map.key_size:
        raise BpfUsageError(f"{map!r} has no keys: a {map.type} takes values only", hint="Use st.values(map).")
    return _shaped(codec.key_shape)


def values(map: Map) -> SearchStrategy[Any]:
    """Values of a map, by its BTF type; for a per-CPU map one value, which is written for every CPU."""
    return _shaped(map.codec.plain)


def globals_of(obj: BpfObject) -> SearchStrategy[dict[str, Any]]:
    """Values of some of the global variables that may be set while the object is loaded: ``obj.globals.update(drawn)``,
    or one by one."""
    shapes = obj.globals.settable()
    return hypothesis_strategies.fixed_dictionaries({}, optional={name: _shaped(one) for name, one in shapes.items()})


def from_btf(type: object, name: str = "") -> SearchStrategy[Any]:
    """Values of a C type: ``from_btf(obj, "struct event")``, ``from_btf(prog.btf, "u32")``, or of a ``Shape``."""
    if isinstance(type, Shape):
        return _shaped(type)
    btf = type if isinstance(type, Btf) else getattr(type, "btf", None)
    if not isinstance(btf, Btf):
        raise BpfUsageError(f"from_btf() takes an object, program or map with BTF, not {type!r}")
    plain = name.removeprefix("struct ").removeprefix("union ").removeprefix("enum ").strip()
    found = btf.find(plain)
    if not found:
        names = sorted({btf.name(one) for one in btf.ids()} - {""})
        raise BpfUsageError(f"from_btf(): there is no type {name!r}", hint=did_you_mean(plain, names))
    return of_type(btf, found[0])


def _shaped(shape: Shape) -> SearchStrategy[Any]:
    if shape.variables:
        return hypothesis_strategies.binary(min_size=shape.size, max_size=shape.size)
    if shape.btf is not None and shape.type_id:
        return of_type(shape.btf, shape.type_id)
    if shape.size in (1, 2, 4, 8):
        return hypothesis_strategies.integers(0, (1 << 8 * shape.size) - 1)
    return hypothesis_strategies.binary(min_size=shape.size, max_size=shape.size)


def of_type(btf: Btf, type_id: int) -> SearchStrategy[Any]:
    """Values of a type, as they are written to a map."""
    resolved = btf.resolve(type_id)
    found = btf.type(resolved)
    if isinstance(found, Int):
        return _integers(found.bits, signed=found.signed, boolean=found.is_bool)
    if isinstance(found, Enum):
        numbers = sorted({number for _, number in found.values}) or [0]
        return hypothesis_strategies.sampled_from(numbers)
    if isinstance(found, Ptr):
        return hypothesis_strategies.integers(0, (1 << 64) - 1)
    if isinstance(found, Float):
        return hypothesis_strategies.floats(width=32 if found.size == 4 else 64, allow_nan=False)
    if isinstance(found, Array):
        return _array(btf, found)
    if isinstance(found, Struct) and not found.is_union:
        return hypothesis_strategies.fixed_dictionaries(dict(_members(btf, found)))
    size = btf.size(resolved)
    return hypothesis_strategies.binary(min_size=size, max_size=size)


def _integers(bits: int, *, signed: bool, boolean: bool) -> SearchStrategy[Any]:
    if boolean:
        return hypothesis_strategies.booleans()
    low = -(1 << bits - 1) if signed else 0
    return hypothesis_strategies.integers(low, low + (1 << bits) - 1)


def _array(btf: Btf, found: Array) -> SearchStrategy[Any]:
    element = btf.type(btf.resolve(found.type))
    if isinstance(element, Int) and element.size == 1:  # text or bytes
        return hypothesis_strategies.binary(min_size=found.nelems, max_size=found.nelems)
    return hypothesis_strategies.lists(of_type(btf, found.type), min_size=found.nelems, max_size=found.nelems)


def _members(btf: Btf, found: Struct) -> Iterable[tuple[str, SearchStrategy[Any]]]:
    for member in found.members:
        if member.name and member.bit_size:
            base = btf.type(btf.resolve(member.type))
            signed = isinstance(base, Int) and base.signed
            yield member.name, _integers(member.bit_size, signed=signed, boolean=False)
        elif member.name:
            yield member.name, of_type(btf, member.type)
        else:
            inner = btf.type(btf.resolve(member.type))
            if isinstance(inner, Struct):
                yield from list(_members(btf, inner))[: 1 if inner.is_union else None]


def _prefixes(size: int) -> SearchStrategy[Any]:
    """Text such as 192.0.2.0/24 for IPv4 and IPv6, else bytes of the whole key."""
    lengths = hypothesis_strategies.integers(0, 8 * size)
    bits = hypothesis_strategies.integers(0, (1 << 8 * size) - 1)
    return hypothesis_strategies.builds(lambda length, number: _prefix(length, number, size=size), lengths, bits)


def _prefix(length: int, number: int, *, size: int) -> object:

    kept = number >> (8 * size - length) << (8 * size - length)
    if size == 4:
        return f"{ipaddress.IPv4Address(kept)}/{length}"
    if size == 16:
        return f"{ipaddress.IPv6Address(kept)}/{length}"
    return length.to_bytes(4, "little") + kept.to_bytes(size, "big")
