"""Seeded mutations of objects and BTF that know their structure.

Most change a field that means something (a size, an offset, an id, a kind) to a value that is wrong in an interesting
way, because random bytes mostly die at the first check. ``mutate(data, seed)`` is a pure function: a seed that found
something finds it again.
"""

from __future__ import annotations

import random
import struct

from support.mutate_records import mutate_ext, mutate_insn, mutate_item, mutate_type

INTERESTING = (
    0,
    1,
    2,
    3,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0xFFF,
    0x7FFF,
    0xFFFF,
    0xFFFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)
WIDE = (*INTERESTING, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_SECTION_FIELDS = ((0, 4), (4, 4), (8, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8))


def mutate(data: bytes, *, seed: int) -> bytes:
    """``data`` with a few changes."""
    rng = random.Random(seed)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4, 8))):
        change = rng.choice(_CHANGES if out[:4] == b"\x7fELF" else _BTF_CHANGES)
        change(out, rng)
    return bytes(out)


def _order(out: bytearray) -> str:
    if out[:4] == b"\x7fELF":
        return "big" if out[5:6] == b"\2" else "little"
    return "big" if out[:2] == b"\xeb\x9f" else "little"


def _put(out: bytearray, at: int, *, width: int, rng: random.Random) -> None:
    if at < 0 or at + width > len(out):
        return
    order = _order(out)
    old = int.from_bytes(out[at : at + width], order)  # type: ignore[arg-type]
    near = old + rng.choice((-8, -4, -1, 1, 4, 8, 1 << rng.randrange(8 * width)))
    new = rng.choice((near, near, rng.choice(WIDE), rng.randrange(0, max(2, len(out)))))
    out[at : at + width] = (new % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]


def _sections(out: bytearray) -> list[tuple[int, int, int]]:
    """(header at, data at, size) of the sections whose header is inside of the file."""
    code = "<" if _order(out) == "little" else ">"
    if len(out) < 64:
        return []
    (table,) = struct.unpack_from(code + "Q", out, 40)
    (count,) = struct.unpack_from(code + "H", out, 60)
    found = []
    for index in range(min(count, 100)):
        at = table + 64 * index
        if at + 64 <= len(out):
            found.append((at, *struct.unpack_from(code + "QQ", out, at + 24)))
    return found


def _elf_header(out: bytearray, rng: random.Random) -> None:
    at, width = rng.choice(((4, 1), (5, 1), (16, 2), (18, 2), (40, 8), (48, 4), (58, 2), (60, 2), (62, 2)))
    _put(out, at, width=width, rng=rng)


def _section_header(out: bytearray, rng: random.Random) -> None:
    if sections := _sections(out):
        field, width = rng.choice(_SECTION_FIELDS)
        _put(out, rng.choice(sections)[0] + field, width=width, rng=rng)


def _section_word(out: bytearray, rng: random.Random) -> None:
    """One 32-bit word (aligned: symbols, relocations, BTF, BTF.ext are made of them) of a section."""
    sections = [s for s in _sections(out) if 4 <= s[2] <= len(out)]
    if sections:
        _, start, size = rng.choice(sections)
        _put(out, start + 4 * rng.randrange(size // 4), width=4, rng=rng)


def _section_half(out: bytearray, rng: random.Random) -> None:
    sections = [s for s in _sections(out) if 2 <= s[2] <= len(out)]
    if sections:
        _, start, size = rng.choice(sections)
        _put(out, start + 2 * rng.randrange(size // 2), width=rng.choice((1, 2)), rng=rng)


def _swap_sections(out: bytearray, rng: random.Random) -> None:
    """Two sections trade offset and size: right bytes under the wrong name."""
    sections = _sections(out)
    if len(sections) > 1:
        a, b = rng.sample(sections, 2)
        out[a[0] + 24 : a[0] + 40], out[b[0] + 24 : b[0] + 40] = out[b[0] + 24 : b[0] + 40], out[a[0] + 24 : a[0] + 40]


def _any_byte(out: bytearray, rng: random.Random) -> None:
    if out:
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)


def _cut(out: bytearray, rng: random.Random) -> None:
    del out[rng.randrange(len(out) + 1) :]


def _cut_middle(out: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(out) + 1)
    del out[at : at + rng.choice((1, 4, 8, 12, 24, 64))]


def _double(out: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(out) + 1)
    size = rng.choice((4, 8, 12, 24))
    out[at:at] = out[at : at + size] * rng.choice((1, 1, 50))


def _btf_header(out: bytearray, rng: random.Random) -> None:
    at, width = rng.choice(((2, 1), (3, 1), (4, 4), (8, 4), (12, 4), (16, 4), (20, 4)))
    _put(out, at, width=width, rng=rng)


def _btf_word(out: bytearray, rng: random.Random) -> None:
    _put(out, 24 + 4 * rng.randrange(max(1, (len(out) - 24) // 4)), width=4, rng=rng)


_ANY = (_any_byte, _cut, _cut_middle, _double)
_RECORDS = (*[mutate_type] * 4, *[mutate_item] * 4)
_CODE = (*[mutate_ext] * 4, *[mutate_insn] * 2)
_FIELDS = (_elf_header, *[_section_header] * 4, *[_section_word] * 8, *[_section_half] * 3, _swap_sections)
_CHANGES = (*_FIELDS, *_RECORDS, *_CODE, *_ANY)
_BTF_CHANGES = (_btf_header, *[_btf_word] * 8, *_RECORDS, *_ANY)
