"""What people write for a value of a BTF type: tuples for structs, and values that it can never have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_ebpf.btf.codec import decode, encode
from pytest_ebpf.btf.describe import describe
from pytest_ebpf.btf.layout import fields, strip
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.positional import positional
from pytest_ebpf.btf.types import Array, DataSec, Struct
from pytest_ebpf.suggest import did_you_mean

__all__ = ["by_name", "why_never"]

_PLAIN = (int, float, str, bytes, bytearray, type(None))


def by_name(btf: Btf, type_id: int, *, value: Any) -> Any:
    """``value`` with dicts for the tuples that stand for structs, and bytes for the text of an array of bytes, at every
    depth.

    ``ValueError`` when a tuple has not as many values as its struct has members.
    """
    found = btf.type(stripped := strip(btf, type_id))
    if isinstance(found, Struct):
        if isinstance(value, tuple):
            value = positional(btf, stripped, values=value)
        if isinstance(value, Mapping):
            types = {field.name: field.type for field in fields(btf, stripped)}
            return {name: by_name(btf, types[name], value=one) if name in types else one for name, one in value.items()}
    if isinstance(found, Array) and isinstance(value, list | tuple):
        return [by_name(btf, found.type, value=one) for one in value]
    if isinstance(found, Array) and isinstance(value, str):
        return _padded(btf, type_id, text=value)
    return value


def _padded(btf: Btf, type_id: int, *, text: str) -> str | bytes:
    """Text for an array of bytes (Rust has no arrays of characters), as reading the array gives it."""
    try:
        got = decode(btf, type_id, data=encode(btf, type_id, value=text))
    except (TypeError, ValueError):
        return text
    return got if isinstance(got, bytes) and got.rstrip(b"\0") == text.encode() else text


def why_never(btf: Btf, type_id: int, *, wanted: Any) -> str:
    """Why no value of the type can match ``wanted`` (as ``by_name`` gives it): a field that is not there, text for a
    number, a number that does not fit; "" when one can. A function or another object that compares may match any."""
    found = btf.type(stripped := strip(btf, type_id))
    if isinstance(wanted, Mapping):
        if not isinstance(found, Struct | DataSec):
            return f"{describe(btf, type_id)} has no fields, so it never is {wanted!r}"
        return _never_struct(btf, stripped, wanted=wanted)
    if isinstance(wanted, list | tuple) and isinstance(found, Array):
        if found.nelems and len(wanted) != found.nelems:
            return f"{describe(btf, type_id)} has {found.nelems} elements, never {len(wanted)}"
        problems = (why_never(btf, found.type, wanted=one) for one in wanted)
        return next(filter(None, problems), "") or _never_value(btf, type_id, wanted=wanted)
    if isinstance(wanted, list):
        what = "a dict of fields" if isinstance(found, Struct | DataSec) else "one value"
        return f"{describe(btf, type_id)} is {what}, never the list {wanted!r}"
    return _never_value(btf, type_id, wanted=wanted) if isinstance(wanted, _PLAIN) else ""


def _never_struct(btf: Btf, type_id: int, *, wanted: Mapping[str, Any]) -> str:
    types = {field.name: field.type for field in fields(btf, type_id)}
    for name, value in wanted.items():
        if name not in types:
            return f"{describe(btf, type_id)} has no field {name!r}; {did_you_mean(str(name), types)}"
        nested = isinstance(value, Mapping | list | tuple)
        if nested and (problem := why_never(btf, types[name], wanted=value)):
            return f".{name}: {problem}"
        if not nested and isinstance(value, _PLAIN) and (problem := _never_field(btf, type_id, given={name: value})):
            return problem
    return ""


def _never_field(btf: Btf, type_id: int, *, given: dict[str, Any]) -> str:
    """A field goes through its struct, which knows how many bits it has."""
    try:
        got = decode(btf, type_id, data=encode(btf, type_id, value=given))
    except (TypeError, ValueError) as error:
        return str(error)
    name, value = next(iter(given.items()))
    return "" if got[name] == value else f".{name}: {_other(got[name], value)}"


def _never_value(btf: Btf, type_id: int, *, wanted: Any) -> str:
    try:
        got = decode(btf, type_id, data=encode(btf, type_id, value=wanted))
    except (TypeError, ValueError) as error:
        return str(error)
    same = got == (list(wanted) if isinstance(wanted, tuple) else wanted)
    return "" if same or _has_objects(wanted) else _other(got, wanted)


def _has_objects(wanted: Any) -> bool:
    return isinstance(wanted, list | tuple) and not all(isinstance(one, _PLAIN) for one in wanted)


def _other(got: object, wanted: object) -> str:
    return f"what is stored as {wanted!r} is read as {got!r}"
