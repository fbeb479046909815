"""Mutations that know the records of BTF, of .BTF.ext and of instructions, wherever in a file they lie.

A type that refers to itself, a relocation of the last instruction, a member of another kind: the sort of damage that
passes every check of the outer form.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

_HEAD_WORDS = {1: 4, 3: 6, 14: 4, 17: 4}
_ITEM_WORDS = {4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3}
_EXT_FIELDS = (2, 4, 4)
_OPCODES = (0x18, 0x85, 0x95, 0xB7, 0xBF, 0x61, 0x63, 0x62, 0x69, 0x71, 0x79, 0x05, 0x00)


def mutate_type(out: bytearray, rng: random.Random) -> None:
    """Another kind, another number of items, another type or size."""
    records = list(_records(out))
    if not records:
        return
    at, kind, _ = rng.choice(records)
    code = _code(out)
    (info,) = struct.unpack_from(code + "I", out, at + 4)
    change = rng.choice(("kind", "vlen", "flag", "type", "type"))
    if change == "kind":
        info = info & ~(0x7F << 24) | rng.choice((*range(1, 20), 20, kind)) << 24
    elif change == "vlen":
        info = info & ~0xFFFF | rng.choice((0, 1, 2, 3, 0xFFFF, (info & 0xFFFF) + 1))
    elif change == "flag":
        info ^= 1 << 31
    else:
        struct.pack_into(code + "I", out, at + 8, _reference(len(records), rng))
    struct.pack_into(code + "I", out, at + 4, info)


def mutate_item(out: bytearray, rng: random.Random) -> None:
    """A word after the head of a type: of a member, an array, a parameter, a variable."""
    records = list(_records(out))
    longer = [(at, words) for at, _, words in records if words > 3]
    if longer:
        at, words = rng.choice(longer)
        word = at + 4 * rng.randrange(3, words)
        struct.pack_into(_code(out) + "I", out, word, _reference(len(records), rng))


def mutate_ext(out: bytearray, rng: random.Random) -> None:
    """A field of a function, line or CO-RE record."""
    rows = list(_ext_rows(out))
    if not rows:
        return
    at, fields = rng.choice(rows)
    field = rng.randrange(fields)
    code = _code(out)
    if field == 0:
        value = 8 * rng.randrange(32) + rng.choice((0, 0, 0, 4))
    elif fields == 4 and field == 3:
        value = rng.randrange(16)
    elif field == 1:
        value = rng.randrange(64)
    else:
        (other,) = (
            struct.unpack_from(code + "I", out, rng.choice(rows)[0] + 4 * field)
            if fields == 4
            else (rng.randrange(64),)
        )
        value = other + rng.choice((0, 0, 1, 2))
    struct.pack_into(code + "I", out, at + 4 * field, value & 0xFFFFFFFF)


def mutate_insn(out: bytearray, rng: random.Random) -> None:
    """The opcode of an instruction: found by the one instruction that ends every function."""
    exits = [at for at in range(64, len(out) - 8, 8) if out[at] == 0x95 and not any(out[at + 1 : at + 8])]
    if exits:
        at = rng.choice(exits) - 8 * rng.choice((0, 0, 1, 2, 3, 5, 8))
        if at >= 64:
            out[at] = rng.choice(_OPCODES)


def _reference(count: int, rng: random.Random) -> int:
    """A type id, mostly one that exists; or a size or offset."""
    return rng.choice((rng.randrange(count + 2), rng.randrange(count + 2), 0, 1 << rng.randrange(32), 0xFFFFFFFF))


def _code(out: bytearray) -> str:
    if out[:4] == b"\x7fELF":
        return ">" if out[5:6] == b"\2" else "<"
    return ">" if out[:2] == b"\xeb\x9f" else "<"


def _headers(out: bytearray, *, length: int) -> Iterator[int]:
    """Where headers of ``length`` bytes lie: 24 is BTF, 32 is .BTF.ext."""
    magic = struct.pack(_code(out) + "HBBI", 0xEB9F, 1, 0, length)
    at = out.find(magic)
    while at >= 0:
        if at + length <= len(out):
            yield at
        at = out.find(magic, at + 1)


def _records(out: bytearray) -> Iterator[tuple[int, int, int]]:
    """(byte, kind, words) of the types, as far as they make sense."""
    code = _code(out)
    for head in _headers(out, length=24):
        start, size = struct.unpack_from(code + "II", out, head + 8)
        at, end = head + 24 + start, min(head + 24 + start + size, len(out))
        while at + 12 <= end:
            (info,) = struct.unpack_from(code + "I", out, at + 4)
            kind = info >> 24 & 0x1F
            words = _HEAD_WORDS.get(kind, 3) + _ITEM_WORDS.get(kind, 0) * (info & 0xFFFF)
            if at + 4 * words > end:
                break
            yield at, kind, words
            at += 4 * words


def _ext_rows(out: bytearray) -> Iterator[tuple[int, int]]:
    """(byte, fields) of the rows of .BTF.ext."""
    code = _code(out)
    for head in _headers(out, length=32):
        spans = struct.unpack_from(code + "6I", out, head + 8)
        for table, fields in enumerate(_EXT_FIELDS):
            at = head + 32 + spans[2 * table] + 4
            end = min(at - 4 + spans[2 * table + 1], len(out))
            while at + 8 <= end:
                (count,) = struct.unpack_from(code + "I", out, at + 4)
                at += 8
                for _ in range(min(count, 1000)):
                    if at + 4 * fields <= end:
                        yield at, fields
                    at += 4 * fields
