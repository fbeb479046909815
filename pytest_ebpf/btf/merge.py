"""Several BTFs as one: the types of one after those of the other, ids and names moved.

Equal types are not merged: the kernel accepts two structs of one name. The caller names those that must become one (a
function declared here and defined there, a section of variables that both have).
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.types import DataSec, Kind
from pytest_ebpf.btf.write import BtfBuilder
from pytest_ebpf.errors import ObjectError

__all__ = ["Merged", "Place", "append_btf", "merge_btf"]

_HEAD_HAS_TYPE = frozenset(
    (
        Kind.PTR,
        Kind.TYPEDEF,
        Kind.VOLATILE,
        Kind.CONST,
        Kind.RESTRICT,
        Kind.FUNC,
        Kind.FUNC_PROTO,
        Kind.VAR,
        Kind.DECL_TAG,
        Kind.TYPE_TAG,
    )
)
# Kind -> (first word, words per item, which of them are names, which are types)
_ITEMS: Mapping[int, tuple[int, int, tuple[int, ...], tuple[int, ...]]] = {
    Kind.ARRAY: (3, 3, (), (0, 1)),
    Kind.STRUCT: (3, 3, (0,), (1,)),
    Kind.UNION: (3, 3, (0,), (1,)),
    Kind.ENUM: (3, 2, (0,), ()),
    Kind.ENUM64: (3, 3, (0,), ()),
    Kind.FUNC_PROTO: (3, 2, (0,), (1,)),
}


class Place(NamedTuple):
    """A type: the index of its BTF, and its id there."""

    part: int
    type_id: int


class Merged(NamedTuple):
    """``ids[part][old id]`` is the new id, 0 for the sections that were left out. ``strings[part]`` is added to the
    string offsets of that part. ``datasecs``: name -> new id."""

    btf: Btf
    ids: tuple[array[int], ...]
    strings: tuple[int, ...]
    datasecs: Mapping[str, int]


def merge_btf(
    parts: Sequence[Btf], *, same: Mapping[Place, Place], sections: Mapping[str, DataSec], byteorder: str
) -> Merged:
    """``same``: types that are replaced by another. ``sections``: by name, with the ``type`` of each variable still an
    index into ``parts`` in the upper 32 bits and an id there in the lower. ObjectError for unknown kinds."""
    strings, shifts = b"", []
    for part in parts:
        shifts.append(len(strings))
        strings += part.strings or b"\0"
    ids = _new_ids(parts, same=same)
    builder = BtfBuilder(byteorder=byteorder, strings=strings)
    for number, part in enumerate(parts):
        for type_id in part.ids():
            if Place(number, type_id) not in same and part.kind(type_id) != Kind.DATASEC:
                builder.add_record(_moved(part, type_id, ids=ids[number], shift=shifts[number]))
    datasecs = {}
    for name, section in sections.items():
        entries = tuple(
            type(entry)(ids[entry.type >> 32][entry.type & 0xFFFFFFFF], entry.offset, entry.size)
            for entry in section.vars
        )
        datasecs[name] = builder.add(DataSec(name, section.size, entries))
    return Merged(parse_btf(builder.build()), ids, tuple(shifts), datasecs)


def append_btf(base: Btf | None, other: Btf) -> Btf:
    """The types of ``base``, under their own ids, then those of ``other`` without its sections of variables."""
    if base is None:
        return other
    if base.byteorder != other.byteorder:
        raise ObjectError(f"{other.byteorder} endian types beside {base.byteorder} endian ones", section=".BTF")
    strings = base.strings or b"\0"
    ids = array("I", bytes(4 * len(other)))
    kept = [type_id for type_id in other.ids() if other.kind(type_id) != Kind.DATASEC]
    for new, type_id in enumerate(kept, len(base)):
        ids[type_id] = new
    builder = BtfBuilder(byteorder=base.byteorder, strings=strings + other.strings)
    builder.add_records(base.raw_records(base.first_id, len(base)), count=len(base) - 1)
    for type_id in kept:
        builder.add_record(_moved(other, type_id, ids=ids, shift=len(strings)))
    return parse_btf(builder.build())


def _new_ids(parts: Sequence[Btf], *, same: Mapping[Place, Place]) -> tuple[array[int], ...]:
    ids = tuple(array("I", bytes(4 * len(part))) for part in parts)
    after = 1
    for number, part in enumerate(parts):
        for type_id in part.ids():
            if Place(number, type_id) not in same and part.kind(type_id) != Kind.DATASEC:
                ids[number][type_id] = after
                after += 1
    for loser, winner in same.items():
        ids[loser.part][loser.type_id] = ids[winner.part][winner.type_id]
    return ids


def _moved(part: Btf, type_id: int, *, ids: array[int], shift: int) -> bytes:
    """The record with new ids and name offsets."""
    words = part.record(type_id)
    kind, count = (words[1] >> 24) & 0x7F, words[1] & 0xFFFFFF
    if kind > Kind.ENUM64:
        raise ObjectError(
            f"BTF of kind {kind} cannot be linked: unknown which of its words are type ids", section=".BTF"
        )
    words[0] = words[0] + shift if words[0] else 0
    if kind in _HEAD_HAS_TYPE:
        words[2] = ids[words[2]]
    if kind in _ITEMS:
        first, size, names, types = _ITEMS[kind]
        items = 1 if kind == Kind.ARRAY else count
        for at in range(first, first + items * size, size):
            for name in names:
                words[at + name] = words[at + name] + shift if words[at + name] else 0
            for type_ in types:
                words[at + type_] = ids[words[at + type_]]
    if part.byteorder != sys.byteorder:
        words.byteswap()
    return words.tobytes()
