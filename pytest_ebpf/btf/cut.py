"""Values that end before their type does: a struct that is sent with as much of its last array as was filled."""

from __future__ import annotations

from typing import Any

from pytest_ebpf.btf.addresses import address_kind
from pytest_ebpf.btf.codec import decode
from pytest_ebpf.btf.layout import fields, strip
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, Struct

__all__ = ["decode_cut", "is_cut_in_array"]


def decode_cut(btf: Btf, type_id: int, *, data: bytes) -> Any:
    """The value in ``data``. Of a struct that goes beyond it, the fields that begin in it: an array with as many
    elements as are there, and no number of which a part is missing. ``ValueError`` when it is a number or an address.
    """
    size = btf.size(type_id)
    found = btf.type(stripped := strip(btf, type_id))
    if len(data) < size and not address_kind(btf, type_id):
        if isinstance(found, Struct):
            return _struct(btf, stripped, data=data)
        if isinstance(found, Array):
            return _array(btf, type_id, step=btf.size(found.type), data=data)
    return decode(btf, type_id, data=data)


def is_cut_in_array(btf: Btf, type_id: int, *, size: int) -> bool:
    """Whether the first ``size`` bytes of a struct end in the array which is its last field."""
    found = btf.type(stripped := strip(btf, type_id))
    if not isinstance(found, Struct) or found.is_union or not found.members:
        return False
    last = max(fields(btf, stripped), key=lambda field: field.bit_offset)
    is_array = isinstance(btf.type(strip(btf, last.type)), Array) and not last.bit_size
    return is_array and last.bit_offset // 8 <= size < btf.size(type_id)


def _struct(btf: Btf, type_id: int, *, data: bytes) -> dict[str, Any]:
    whole = decode(btf, type_id, data=data.ljust(btf.size(type_id), b"\0"))
    there: dict[str, Any] = {}
    for field in fields(btf, type_id):
        bits = field.bit_size or 8 * btf.size(field.type)
        if field.bit_offset + bits <= 8 * len(data):
            there[field.name] = whole[field.name]
        elif field.bit_offset < 8 * len(data) and _goes_on(btf, field.type) and not field.bit_size:
            there[field.name] = decode_cut(btf, field.type, data=data[field.bit_offset // 8 :])
    return there


def _goes_on(btf: Btf, type_id: int) -> bool:
    """Whether a part of a value of the type is one."""
    return isinstance(btf.type(strip(btf, type_id)), Struct | Array) and not address_kind(btf, type_id)


def _array(btf: Btf, type_id: int, *, step: int, data: bytes) -> Any:
    """``step``: bytes of an element."""
    whole = decode(btf, type_id, data=data.ljust(btf.size(type_id), b"\0"))
    return whole if isinstance(whole, str) else whole[: len(data) // step]
