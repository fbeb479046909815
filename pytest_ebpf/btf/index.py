"""Where each BTF type starts, and which types carry a name: plain arrays, so that they can be kept in a file.

vmlinux has some 126,000 types in 5.5 MB: nothing here makes an object per type. A saved index only fits the BTF bytes
that it was made from: name the file by their hash.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from operator import add

from pytest_ebpf.btf.records import HEAD_WORDS, ITEM_WORDS
from pytest_ebpf.btf.types import essential_name
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass

__all__ = ["NameIndex", "Steps", "index_names", "index_types", "name_hash", "pack_index", "steps", "unpack_index"]


@dataclass(frozen=True, slots=True)
class Steps:
    """Words to step over per kind: ``head[kind] + item[kind] * vlen``; head 0 means that the kind is not known."""

    head: tuple[int, ...]
    item: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NameIndex:
    """Named types, sorted by the hash of their essential name, then by id: ``ids[i]`` has ``hashes[i]``."""

    hashes: array[int]
    ids: array[int]

    def ids_of(self, hash_: int) -> array[int]:
        first = bisect_left(self.hashes, hash_)
        return self.ids[first : bisect_left(self.hashes, hash_ + 1, first)]


def steps(layout: bytes, *, byteorder: str) -> Steps:
    """Steps for kinds 0-127. ``layout``: the layout section of the header (struct btf_layout per kind), or b""."""
    return _known_steps(layout) if layout else _KNOWN


def _known_steps(layout: bytes) -> Steps:
    head = [HEAD_WORDS.get(kind, 0) for kind in range(128)]
    item = [ITEM_WORDS.get(kind, 0) for kind in range(128)]
    for kind in range(20, min(len(layout) // 4, 128)):
        info_size, item_size = layout[4 * kind], layout[4 * kind + 1]
        if info_size % 4 == 0 and item_size % 4 == 0:
            head[kind], item[kind] = 3 + info_size // 4, item_size // 4
    return Steps(tuple(head), tuple(item))


_KNOWN = _known_steps(b"")


def index_types(words: array[int], *, steps: Steps) -> array[int]:
    """The word at which each record starts. The records must fill ``words`` to the last one."""
    head, item = steps.head, steps.item
    at, end = 0, len(words)
    starts: list[int] = []
    append = starts.append
    try:
        while at < end:
            append(at)
            info = words[at + 1]
            kind = (info >> 24) & 0x7F
            size = head[kind]
            if not size:
                raise _unknown_kind(kind, at)
            at += size + item[kind] * (info & 0xFFFFFF)
    except IndexError:
        at = end + 1
    if at != end:
        raise ObjectError("the last BTF type is cut off", section=".BTF", offset=4 * starts[-1])
    return array("I", starts)


def _unknown_kind(kind: int, at: int) -> ObjectError:
    return ObjectError(
        f"BTF type of unknown kind {kind}, and the BTF does not give its length",
        section=".BTF",
        offset=4 * at,
        hint="kinds 1-19 are known here; was the section damaged, or made by a newer compiler (then strip its BTF)?",
    )


def name_hash(name: bytes) -> int:
    """The hash that ``NameIndex`` is sorted by: CRC-32 of the essential name."""
    if b"___" in name:
        name = essential_name(name.decode("latin-1")).encode("latin-1")
    return zlib.crc32(name)


def index_names(
    words: array[int], starts: array[int], *, strings: bytes, skip: int, first_id: int, name_at: Callable[[int], bytes]
) -> NameIndex:
    """``strings`` are those of this BTF and begin at name offset ``skip``; ``name_at`` finds any other name."""
    hashes = _hash_strings(strings, skip=skip)
    name_offs = [words[at] for at in starts]
    for name_off in set(name_offs).difference(hashes):
        # a name of the base BTF, or the tail of another name: legal, and it saves space
        hashes[name_off] = name_hash(name_at(name_off))
    keys = [hashes[name_off] << 32 | type_id for type_id, name_off in enumerate(name_offs, first_id) if name_off]
    keys.sort()
    return NameIndex(array("I", [key >> 32 for key in keys]), array("I", [key & 0xFFFFFFFF for key in keys]))


def _hash_strings(strings: bytes, *, skip: int) -> dict[int, int]:
    """Name offset -> hash, for every string that starts after a NUL."""
    names = strings.split(b"\0")
    ends = accumulate(map(len, names), initial=skip)  # without the NULs: each name has one before it
    hashes = dict(zip(map(add, ends, range(len(names))), map(zlib.crc32, names), strict=True))
    at = strings.find(b"___")
    while at >= 0:
        start, end = strings.rfind(b"\0", 0, at) + 1, strings.find(b"\0", at)
        end = end if end >= 0 else len(strings)
        hashes[skip + start] = name_hash(strings[start:end])
        at = strings.find(b"___", end)
    return hashes


_INDEX = struct.Struct("<8sIIII")  # magic, byte order mark, types, named types, CRC-32 of what follows
_MAGIC = b"btfidx01"


def pack_index(starts: array[int], names: NameIndex) -> bytes:
    """The index as bytes, in the byte order of this machine."""
    body = starts.tobytes() + names.hashes.tobytes() + names.ids.tobytes()
    head = _INDEX.pack(_MAGIC, _order_mark(), len(starts), len(names.ids), zlib.crc32(body))
    return head + body


def unpack_index(data: bytes) -> tuple[array[int], NameIndex]:
    """The index from bytes. ObjectError when ``data`` is damaged or from another machine: make a new index then."""
    if len(data) < _INDEX.size:
        raise ObjectError("saved BTF index is cut off")
    magic, mark, types, named, crc = _INDEX.unpack_from(data)
    body = memoryview(data)[_INDEX.size :]
    if (magic, mark, len(body)) != (_MAGIC, _order_mark(), 4 * types + 8 * named) or zlib.crc32(body) != crc:
        raise ObjectError("saved BTF index is damaged, or of another machine or version")
    parts = []
    for start, count in ((0, types), (types, named), (types + named, named)):
        part = array("I")
        part.frombytes(body[4 * start : 4 * (start + count)])
        parts.append(part)
    return parts[0], NameIndex(parts[1], parts[2])


def _order_mark() -> int:
    return 1 if sys.byteorder == "little" else 2
