"""BTF bytes to a ``Btf``: a table of types that reads a type when it is asked for.

Format: Documentation/bpf/btf.rst and include/uapi/linux/btf.h. Any input bytes are fine: ``parse_btf`` raises
ObjectError for the header and sections, the methods for a single type.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from typing import Any

from pytest_ebpf.btf import index, records
from pytest_ebpf.btf.types import Array, BtfType, Kind, Void, essential_name
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.uapi.numbers import BTF_MAGIC

__all__ = ["POINTER_SIZE", "Btf", "Header", "dump_index", "load_index", "parse_btf"]

POINTER_SIZE = 8  # of the BPF machine, on every host

_RESOLVE_LIMIT = 64  # the kernel stops at 32 (MAX_RESOLVE_DEPTH, kernel/bpf/btf.c)
_SIZED = frozenset((Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FLOAT, Kind.DATASEC))
_TRANSPARENT = frozenset((Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG))
# btf.c: btf_ref_type_check_meta(), btf_array_check_meta(), btf_func_proto_check_meta() want no name, and
# btf_int_check_meta() one encoding (1 signed, 2 character, 4 boolean)
_NAMELESS = frozenset((Kind.PTR, Kind.ARRAY, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.FUNC_PROTO))
_SEVERAL_ENCODINGS = (3, 5, 6, 7)
_INT = int(Kind.INT)


@dataclass(frozen=True, slots=True)
class Header:
    """struct btf_header, with sections as (first byte, end) in the whole blob."""

    byteorder: str
    types: tuple[int, int]
    strings: tuple[int, int]
    layout: tuple[int, int]


class Btf:
    """Types by id. Ids run on from those of ``base``, whose strings come first too.

    Immutable: the methods always return the same. They cache results (``memo`` is the cache of other modules of
    ``btf/``).
    """

    __slots__ = (
        "_end",
        "_names",
        "_starts",
        "_string_base",
        "_strings",
        "_texts",
        "_types",
        "_unread",
        "_words",
        "base",
        "byteorder",
        "data",
        "first_id",
        "header",
        "memo",
    )

    def __init__(self, data: bytes, *, header: Header, words: array[int], starts: array[int], base: Btf | None) -> None:
        self.data = data
        self.header = header
        self.byteorder = header.byteorder
        self.base = base
        self.first_id = len(base) if base else 1
        self.memo: dict[object, Any] = {}
        self._words = words
        self._starts = starts
        self._end = self.first_id + len(starts)
        self._strings = data[slice(*header.strings)]
        self._string_base = base.string_end if base else 0
        self._types: dict[int, BtfType] = {0: Void()}
        self._texts: dict[int, str] = {0: ""}
        self._names: index.NameIndex | None = None
        # Names may share tails, but a hostile table of a million overlapping names must not be expanded.
        self._unread = 8 * self.string_end + 0x10000

    def __len__(self) -> int:
        """One more than the highest id: void and the types of the base count."""
        return self._end

    def __repr__(self) -> str:
        return f"<Btf {len(self)} types, {self.byteorder} endian{', split' if self.base else ''}>"

    @property
    def strings(self) -> bytes:
        """The string section of this BTF itself."""
        return self._strings

    @property
    def string_end(self) -> int:
        """The first string offset that neither this BTF nor its base has."""
        return self._string_base + len(self._strings)

    def ids(self) -> range:
        """The ids of this BTF itself, without void and the base."""
        return range(self.first_id, len(self))

    def type(self, type_id: int) -> BtfType:
        """The type of an id. ObjectError when there is none."""
        found = self._types.get(type_id)
        if found is None:
            if self.base is not None and type_id < self.first_id:
                return self.base.type(type_id)
            found = records.read_record(self._words, self._start(type_id), string=self.string)
            if found is None:
                found = records.read_opaque(self.record(type_id), string=self.string)
            self._types[type_id] = found
        return found

    def kind(self, type_id: int) -> int:
        """The kind alone, without reading the type."""
        if self.base is not None and type_id < self.first_id:
            return self.base.kind(type_id)
        return (self._words[self._start(type_id) + 1] >> 24) & 0x7F if type_id else 0

    def kinds(self) -> list[int]:
        """The kinds of all types of this BTF itself, in the order of ``ids()``."""
        found: list[int] | None = self.memo.get("kinds")
        if found is None:
            words = self._words
            found = self.memo["kinds"] = [(words[at + 1] >> 24) & 0x7F for at in self._starts]
        return found

    def name(self, type_id: int) -> str:
        """The name alone, "" for types without."""
        if self.base is not None and type_id < self.first_id:
            return self.base.name(type_id)
        return self.string(self._words[self._start(type_id)]) if type_id else "void"

    def record(self, type_id: int) -> array[int]:
        """The 32-bit words of a type's record, in this machine's byte order (own ids only)."""
        at = self._start(type_id)
        after = type_id - self.first_id + 1
        end = self._starts[after] if after < len(self._starts) else len(self._words)
        return self._words[at:end]

    def raw_records(self, first: int, after: int) -> bytes:
        """The records of the ids from ``first`` up to ``after``, byte for byte (own ids only)."""
        start, end = self.header.types
        last = start + 4 * self._start(after) if after < self._end else end
        return self.data[start + 4 * self._start(first) : last]

    def _start(self, type_id: int) -> int:
        if not self.first_id <= type_id < self._end:
            raise ObjectError(f"no BTF type {type_id}: there are {self._end}", section=".BTF")
        return self._starts[type_id - self.first_id]

    def _type_word(self, type_id: int) -> int:
        """The id that a type refers to, for kinds that do, without reading the type."""
        if self.base is not None and type_id < self.first_id:
            return self.base._type_word(type_id)
        return self._words[self._start(type_id) + 2]

    def string(self, offset: int) -> str:
        """The text at a name offset. Bytes that are not UTF-8 become ``\\xNN``."""
        text = self._texts.get(offset)
        if text is None:
            start, strings = offset - self._string_base, self._strings
            if 0 <= start < len(strings):
                raw = strings[start : strings.index(b"\0", start)]
            else:
                raw = self.string_bytes(offset)
            self._unread -= len(raw)
            if self._unread < 0:
                raise ObjectError("BTF names overlap many times over: the section is damaged", section=".BTF")
            text = self._texts[offset] = raw.decode("utf-8", "backslashreplace")
        return text

    def string_bytes(self, offset: int) -> bytes:
        if self.base is not None and offset < self._string_base:
            return self.base.string_bytes(offset)
        start = offset - self._string_base
        if not 0 <= start < len(self._strings):
            raise ObjectError(f"string offset {offset:#x} is outside the BTF strings", section=".BTF")
        return self._strings[start : self._strings.index(b"\0", start)]

    def find(self, name: str, kind: int | None = None) -> tuple[int, ...]:
        """Ids of the types with exactly this name (and kind), ascending; those of the base come first."""
        found = self.find_flavours(essential_name(name), kind)
        return tuple(type_id for type_id in found if self.name(type_id) == name)

    def find_flavours(self, name: str, kind: int | None = None) -> tuple[int, ...]:
        """Ids of the types whose *essential* name is ``name``: ``task_struct`` and ``task_struct___old``."""
        below = self.base.find_flavours(name, kind) if self.base else ()
        own = self.names.ids_of(index.name_hash(name.encode()))
        return below + tuple(
            type_id
            for type_id in own
            if (kind is None or self.kind(type_id) == kind) and essential_name(self.name(type_id)) == name
        )

    def datasecs(self, name: str | None = None) -> list[int]:
        """Ids of the sections of variables of this BTF itself, ascending: of all, or of those of this name. They are
        few, so the index of all names is not made for them."""
        found: list[int] | None = self.memo.get("datasecs")
        if found is None:
            pairs = zip(self.ids(), self.kinds(), strict=True)
            found = self.memo["datasecs"] = [type_id for type_id, kind in pairs if kind == Kind.DATASEC]
        return found if name is None else [type_id for type_id in found if self.name(type_id) == name]

    @property
    def names(self) -> index.NameIndex:
        """The index behind ``find``, made when first needed."""
        if self._names is None:
            self._names = index.index_names(
                self._words,
                self._starts,
                strings=self._strings,
                skip=self._string_base,
                first_id=self.first_id,
                name_at=lambda offset: self.string(offset).encode(),
            )
        return self._names

    def resolve(self, type_id: int) -> int:
        """The id behind typedefs, const, volatile, restrict and type tags."""
        for _ in range(_RESOLVE_LIMIT):
            if self.kind(type_id) not in _TRANSPARENT:
                return type_id
            type_id = self._type_word(type_id)
        raise ObjectError(f"BTF type {type_id} is a loop of typedefs", section=".BTF")

    def size(self, type_id: int) -> int:
        """Size of a value of the type, in bytes; for a variable that of its type. ObjectError if it has no size."""
        count = 1
        for _ in range(_RESOLVE_LIMIT):
            found = self.type(type_id)
            kind = found.kind
            if kind in _SIZED:
                return count * found.size  # type: ignore[union-attr]
            if kind == Kind.PTR:
                return count * POINTER_SIZE
            if isinstance(found, Array):
                count *= found.nelems
            elif kind not in _TRANSPARENT and kind != Kind.VAR:
                break
            type_id = found.type  # type: ignore[union-attr]
        raise ObjectError(f"BTF type {type_id} ({Kind(kind).name.lower()}) has no size", section=".BTF")

    def known_size(self, type_id: int) -> int:
        """``size``, 0 for a type without one: compilers write variables of type void (clang 14: ``_Complex``)."""
        try:
            return self.size(type_id)
        except ObjectError:
            return 0

    def unusual_records(self) -> list[int]:
        """Ids whose record every kernel refuses, whatever the names: pointers, arrays, modifiers and prototypes with
        a name (Zig), and integers with several encodings (GCC 12)."""
        words = self._words
        return [
            type_id
            for type_id, at, kind in zip(self.ids(), self._starts, self.kinds(), strict=True)
            if (kind == _INT and words[at + 3] >> 24 in _SEVERAL_ENCODINGS) or (words[at] and kind in _NAMELESS)
        ]

    def __iter__(self) -> Iterator[tuple[int, BtfType]]:
        """(id, type) of the types of this BTF itself."""
        return ((type_id, self.type(type_id)) for type_id in self.ids())


def parse_btf(data: bytes, *, base: Btf | None = None) -> Btf:
    """The types in ``data``, of either byte order. ``base``: what split BTF (of a module) continues."""
    header = _read_header(data)
    if base and base.byteorder != header.byteorder:
        raise ObjectError(f"split BTF is {header.byteorder} endian, its base is not", section=".BTF")
    words = _read_words(data, header=header)
    steps = index.steps(data[slice(*header.layout)], byteorder=header.byteorder)
    return Btf(data, header=header, words=words, starts=index.index_types(words, steps=steps), base=base)


def dump_index(btf: Btf) -> bytes:
    """What ``load_index`` needs to skip indexing: 12 bytes per type. Keep it under the hash of ``btf.data``."""
    return index.pack_index(btf._starts, btf.names)


def load_index(data: bytes, saved: bytes) -> Btf:
    """``parse_btf(data)`` with the index that ``dump_index`` made of the same bytes. ObjectError when unusable."""
    header = _read_header(data)
    starts, names = index.unpack_index(saved)
    btf = Btf(data, header=header, words=_read_words(data, header=header), starts=starts, base=None)
    if starts and starts[-1] + 3 > len(btf._words):
        raise ObjectError("saved BTF index belongs to other BTF")
    btf._names = names
    return btf


def _read_header(data: bytes) -> Header:
    orders = {BTF_MAGIC.to_bytes(2, "little"): ("little", "<"), BTF_MAGIC.to_bytes(2, "big"): ("big", ">")}
    byteorder, code = orders.get(data[:2], ("", ""))
    if not byteorder:
        raise ObjectError(f"not BTF: starts with {data[:2].hex() or 'nothing'}", section=".BTF")
    if len(data) < 24:
        raise ObjectError(f"BTF header is cut off after {len(data)} bytes", section=".BTF")
    version, flags, length, *spans = struct.unpack_from(code + "2xBB5I", data)
    if version != 1 or flags:
        raise ObjectError(f"BTF of version {version}, flags {flags:#x}: only version 1 is known", section=".BTF")
    if length < 24 or length > len(data):
        raise ObjectError(f"BTF header of {length} bytes in {len(data)} bytes", section=".BTF")
    layout = struct.unpack_from(code + "2I", data, 24) if length >= 32 else (0, 0)
    types, strings, kinds = (
        _span(data, start=length + start, length=size, what=what)
        for start, size, what in ((*spans[:2], "types"), (*spans[2:], "strings"), (*layout, "layout"))
    )
    _check_strings(data, span=strings)
    return Header(byteorder, types, strings, kinds)


def _span(data: bytes, *, start: int, length: int, what: str) -> tuple[int, int]:
    if start + length > len(data):
        raise ObjectError(f"BTF {what} end at byte {start + length} of {len(data)}", section=".BTF", offset=start)
    return start, start + length


def _check_strings(data: bytes, *, span: tuple[int, int]) -> None:
    start, end = span
    if start < end and (data[end - 1]):
        raise ObjectError("BTF strings do not end in a NUL", section=".BTF", offset=end - 1)


def _read_words(data: bytes, *, header: Header) -> array[int]:
    start, end = header.types
    if (end - start) % 4:
        raise ObjectError(f"BTF types take {end - start} bytes, not a multiple of 4", section=".BTF", offset=start)
    words = array("I")
    words.frombytes(memoryview(data)[start:end])
    if header.byteorder != sys.byteorder:
        words.byteswap()
    return words
