"""BTF as Python source: ``ctypes`` classes with exactly the memory layout of the kernel or program.

Every byte is explicit: classes are packed, gaps are fields ``_pad_N``, and bitfields are properties over such bytes,
so that the layout does not depend on a C compiler. Pointers are integers of 8 bytes.
"""

from __future__ import annotations

import keyword
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pytest_ebpf.btf.c_layout import c_size
from pytest_ebpf.btf.c_names import identifier
from pytest_ebpf.btf.layout import MAX_DEPTH, bit_range, is_char, scalar
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, Enum, Int, Member, Struct, Typedef
from pytest_ebpf.errors import ObjectError

__all__ = ["render_python"]

_INTS = {1: "c_uint8", 2: "c_uint16", 4: "c_uint32", 8: "c_uint64"}
_FLOATS = {4: "c_float", 8: "c_double"}
_TAKEN = ("IntEnum", "ValueError", "_bits", "bool", "bytes", "ctypes", "float", "int", "property")
_FLOAT_TYPES = ("ctypes.c_float", "ctypes.c_double")
_HEAD = '''"""Types made from BTF by pytest-ebpf."""

from __future__ import annotations

import ctypes
from enum import IntEnum
'''
_BITS = '''

def _bits(start: int, width: int, signed: bool = False) -> property:
    """A bitfield: ``width`` bits, ``start`` bits from the beginning."""
    first, end = start // 8, (start + width + 7) // 8
    shift = {shift}
    mask = (1 << width) - 1
    sign = 1 << (width - 1) if signed else 0

    def get(self):
        value = int.from_bytes(bytes(self)[first:end], "{order}") >> shift & mask
        return (value ^ sign) - sign

    def set_(self, value):
        if not -sign <= value <= mask - sign:
            raise ValueError(f"{{value}} does not fit into {{width}} bits")
        data = (ctypes.c_ubyte * ctypes.sizeof(self)).from_buffer(self)
        rest = int.from_bytes(bytes(data)[first:end], "{order}") & ~(mask << shift)
        data[first:end] = ((value & mask) << shift | rest).to_bytes(end - first, "{order}")

    return property(get, set_)
'''
_SHIFTS = {"little": "start - 8 * first", "big": "8 * end - start - width"}


def render_python(btf: Btf, types: Iterable[int] | None = None) -> str:
    """The text of a module with a class for each struct and union and an ``IntEnum`` for each enum of ``types`` (ids;
    None: all that have a name) and the types in them. Two of one name become ``x`` and ``x___2``."""
    source = _Source(btf)
    for type_id in _roots(btf) if types is None else types:
        source.add(type_id)
    text = "\n\n\n".join(source.blocks)
    bits = _BITS.format(order=btf.byteorder, shift=_SHIFTS[btf.byteorder]) if "= _bits(" in text else ""
    return f"{_HEAD}{bits}\n\n{text}\n"


def _roots(btf: Btf) -> Iterator[int]:
    for type_id, found in btf:
        if (isinstance(found, Struct | Enum) and found.name) or isinstance(found, Typedef):
            yield type_id


class _Row(NamedTuple):
    """A field of a class: first byte, bytes, name, ctypes expression."""

    start: int
    size: int
    name: str
    python: str


class _Source:
    """Classes in the order in which they need each other."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._names: dict[int, str] = {}
        self._used: Counter[str] = Counter(_TAKEN)
        self.blocks: list[str] = []

    def add(self, type_id: int) -> None:
        """Add the class of a struct, union or enum, or of one named by a typedef; other types have no class."""
        target = self._btf.resolve(type_id)
        found = self._btf.type(target)
        typedef = self._btf.type(type_id)
        name = found.name or (typedef.name if isinstance(typedef, Typedef) else "")
        if name and isinstance(found, Struct):
            self._struct(target, name=name, depth=0)
        elif name and isinstance(found, Enum) and target not in self._names:
            self._names[target] = self._unused(name)
            self.blocks.append(_enum(found, name=self._names[target]))

    def _struct(self, type_id: int, *, name: str, depth: int) -> str:
        """The name of its class, which is written on first use."""
        if type_id not in self._names:
            struct = self._btf.type(type_id)
            assert isinstance(struct, Struct)
            if depth > MAX_DEPTH:
                raise ObjectError(f"{name} contains itself, or nests too deep", section=".BTF")
            name = identifier(name)
            body = _Body(self._btf, struct)
            for index, member in enumerate(struct.members):
                body.add(member, python=self._type(member.type, name=f"{name}__{member.name or index}", depth=depth))
            self._names[type_id] = self._unused(name)
            self.blocks.append(body.text(self._names[type_id]))
        return self._names[type_id]

    def _type(self, type_id: int, *, name: str, depth: int) -> str:
        """The ctypes expression for a field. ``name``: for the class of an anonymous struct."""
        target = self._btf.resolve(type_id)
        found = self._btf.type(target)
        if isinstance(found, Array):
            if depth > MAX_DEPTH:
                raise ObjectError(f"{name} nests too deep", section=".BTF")
            return f"{self._type(found.type, name=name, depth=depth + 1)} * {found.nelems}"
        if isinstance(found, Struct):
            return self._struct(target, name=found.name or name, depth=depth + 1)
        return _scalar(self._btf, target)

    def _unused(self, name: str) -> str:
        name = _plain(identifier(name))
        self._used[name] += 1
        return name if self._used[name] == 1 else self._unused(f"{name}___{self._used[name]}")


def _scalar(btf: Btf, type_id: int) -> str:
    number = scalar(btf, type_id)
    if number is None:
        return f"ctypes.c_uint8 * {c_size(btf, type_id)}"
    if is_char(btf, type_id):
        return "ctypes.c_char"
    if number.kind == "bool" and number.size == 1 and btf.byteorder == "little":
        return "ctypes.c_bool"
    name = (_FLOATS if number.kind == "float" else _INTS).get(number.size, "")
    if not name:
        return f"ctypes.c_uint8 * {number.size}"
    return f"ctypes.{name.replace('u', '', 1) if number.signed and number.kind != 'float' else name}"


class _Body:
    """The fields of one class."""

    def __init__(self, btf: Btf, struct: Struct) -> None:
        self._btf = btf
        self._what = struct
        self._fields: list[_Row] = []
        self._bits: list[str] = []
        self._anonymous: list[str] = []

    def add(self, member: Member, *, python: str) -> None:
        start, bits = bit_range(self._btf, member)
        found = self._btf.type(self._btf.resolve(member.type))
        name = _plain(identifier(member.name))
        if bits:
            signed = ", signed=True" if isinstance(found, Int | Enum) and found.signed else ""
            self._bits += [f"{name} = _bits({start}, {bits}{signed})"] if name else []
            return
        if not name and not isinstance(found, Struct):
            return
        if not name:
            name = f"_anonymous_{len(self._anonymous)}"
            self._anonymous.append(name)
        self._fields.append(_Row(start // 8, c_size(self._btf, member.type), name, python))

    def text(self, name: str) -> str:
        """The source of the class. Its fields are set outside the class, as Python mangles names such as ``__u32``
        inside."""
        union = self._what.is_union
        order = "Big" if self._btf.byteorder == "big" else "Little"
        word = "union" if union else "struct"
        what = f"{word} {self._what.name}" if self._what.name else f"An anonymous {word}"
        lines = [f"class {name}(ctypes.{order}Endian{'Union' if union else 'Structure'}):"]
        lines += [f'    """{what}, {self._what.size} bytes."""', "", "    _pack_ = 1", '    _layout_ = "ms"']
        rows = list(self._padded())
        if anonymous := [row.name for row in rows if row.name in self._anonymous]:
            lines.append(f"    _anonymous_ = ({', '.join(map(repr, anonymous))},)")
        lines += [f"    {row.name}: {_seen_as(row.python)}  # offset {row.start}, {row.size} bytes" for row in rows]
        lines += ["", "", f"{name}._fields_ = [", *(f'    ("{row.name}", {row.python}),' for row in rows), "]"]
        if union and order == "Big":
            lines.append(f"{name}.__ctype_be__ = {name}  # Python 3.11 lacks this for unions")
        return "\n".join(lines + [f"{name}.{bits}" for bits in self._bits])

    def _padded(self) -> Iterator[_Row]:
        """The fields and the bytes that none of them covers; all bytes as one field when fields overlap."""
        size, at = self._what.size, 0
        rows: list[_Row] = []
        for row in sorted(self._fields, key=lambda row: row.start):
            if row.start < at or row.start + row.size > size:
                return iter([_pad(0, size)])
            if row.start > at:
                rows.append(_pad(at, row.start))
            rows.append(row)
            at = 0 if self._what.is_union else row.start + row.size
        longest = max((row.size for row in self._fields), default=0) if self._what.is_union else at
        if longest < size:
            rows.append(_pad(at, size))
        return iter(rows)


def _pad(start: int, end: int) -> _Row:
    return _Row(start, end - start, f"_pad_{start}", f"ctypes.c_uint8 * {end - start}")


def _seen_as(python: str) -> str:
    """The Python type of a field of that type."""
    if " * " in python:
        return "bytes" if python.startswith("ctypes.c_char *") and python.count("*") == 1 else "ctypes.Array"
    if not python.startswith("ctypes."):
        return python
    return {"ctypes.c_bool": "bool", "ctypes.c_char": "bytes"}.get(python, "float" if python in _FLOAT_TYPES else "int")


def _enum(enum: Enum, *, name: str) -> str:
    values = "".join(f'        "{_member(value)}": {number},\n' for value, number in enum.values)
    return f'{name} = IntEnum(\n    "{name}",\n    {{\n{values}    }},\n)'


def _member(name: str) -> str:
    """A name that an enum may have for a member: Python keeps ``_x_``, ``__x__`` and ``mro`` for itself."""
    name = identifier(name)
    return f"{name}_" if name == "mro" or (name[:1] == "_" and name[-1:] == "_") else _plain(name)


def _plain(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name
