"""The types in an object's DWARF, as BTF.

Compilers put a type into BTF only when a map, a global, a prototype or a CO-RE access reaches it; DWARF has every type
that the source uses. Relocations of the debug sections are applied here, since pyelftools knows none of BPF's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import POINTER_SIZE, Btf, parse_btf
from pytest_ebpf.btf.types import BtfType, Kind
from pytest_ebpf.btf.write import BtfBuilder
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass

__all__ = ["read_dwarf_types"]

_EM_BPF = 247
_WORDS = {2: 8, 3: 4, 4: 4}  # R_BPF_64_ABS64, R_BPF_64_ABS32, R_BPF_64_NODYLD32 -> bytes to change
_BOOL, _FLOAT, _SIGNED, _SIGNED_CHAR = 2, 4, 5, 6  # DW_ATE_*
_WITHIN_UNIT = frozenset(("DW_FORM_ref1", "DW_FORM_ref2", "DW_FORM_ref4", "DW_FORM_ref8", "DW_FORM_ref_udata"))
_POINTERS = frozenset(("pointer_type", "reference_type", "rvalue_reference_type", "ptr_to_member_type"))
_MODIFIERS: Mapping[str, Kind] = MappingProxyType(
    {
        "const_type": Kind.CONST,
        "volatile_type": Kind.VOLATILE,
        "atomic_type": Kind.VOLATILE,
        "restrict_type": Kind.RESTRICT,
    }
)
_COMPOUNDS = frozenset(("structure_type", "class_type", "union_type"))


def read_dwarf_types(data: bytes, *, name: str) -> Btf | None:
    """The types, and the variables outside of functions, in ``.debug_info``; None when the object has none.

    ObjectError when the DWARF is damaged.
    """
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(BytesIO(data))
        if elf.get_section_by_name(".debug_info") is None:
            return None
        elf = ELFFile(BytesIO(_relocated(elf, data)))
        return _Converter(elf.get_dwarf_info(relocate_dwarf_sections=False), elf.little_endian).convert()
    except ObjectError:
        raise
    except Exception as error:  # pyelftools raises what Python raises when bytes are not what they should be
        reason = f"{type(error).__name__}: {error}"
        raise ObjectError(f"its DWARF cannot be read ({reason})", path=name, section=".debug_info") from error


def _relocated(elf: Any, data: bytes) -> bytes:
    """The file with the words of its debug sections moved to what their symbols mean."""
    out = bytearray(data)
    code = "<" if elf.little_endian else ">"
    for section in elf.iter_sections():
        if section["sh_type"] != "SHT_REL" or not section.name.startswith(".rel.debug_"):
            continue
        symbols = elf.get_section(section["sh_link"])
        base = elf.get_section(section["sh_info"])["sh_offset"]
        for at, info in struct.iter_unpack(code + "QQ", section.data()):
            size, value = _WORDS.get(info & 0xFFFFFFFF, 0), symbols.get_symbol(info >> 32)["st_value"]
            if size and value:
                word = code + ("Q" if size == POINTER_SIZE else "I")
                (old,) = struct.unpack_from(word, out, base + at)
                struct.pack_into(word, out, base + at, old + value)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A DWARF entry that becomes a type. ``tag`` without "DW_TAG_"."""

    tag: str
    die: Any


class _Converter:
    """Types get ids in the order of the DWARF; what one entry needs besides (the inner dimensions of an array) comes
    after all of them."""

    def __init__(self, dwarf: Any, little_endian: bool) -> None:
        self._dwarf = dwarf
        self._byteorder = "little" if little_endian else "big"
        self._ids: dict[int, int] = {}
        self._more: list[BtfType] = []
        self._index = 0
        self._makers: dict[str, Callable[[Any], BtfType]] = {
            "base_type": _number,
            "typedef": lambda die: t.Typedef(_name(die), self._type(die)),
            "enumeration_type": _enum,
            "array_type": self._array,
            "variable": lambda die: t.Var(_name(die), self._type(die), 1),
            "subroutine_type": lambda die: t.FuncProto(0),
            **dict.fromkeys(_POINTERS, lambda die: t.Ptr(self._type(die))),
            **dict.fromkeys(_COMPOUNDS, self._compound),
            **{tag: self._modifier(kind) for tag, kind in _MODIFIERS.items()},
        }

    def convert(self) -> Btf | None:
        entries = list(self._entries())
        self._index = len(entries) + 1
        self._ids.update({entry.die.offset: number for number, entry in enumerate(entries, 1)})
        self._more.append(t.Int("__ARRAY_SIZE_TYPE__", 4, 32))
        builder = BtfBuilder(byteorder=self._byteorder)
        for entry in entries:
            builder.add(self._makers[entry.tag](entry.die))
        for found in self._more:
            builder.add(found)
        return parse_btf(builder.build()) if entries else None

    def _entries(self) -> Iterator[_Entry]:
        for unit in self._dwarf.iter_CUs():
            for die in unit.iter_DIEs():
                tag = die.tag.removeprefix("DW_TAG_") if isinstance(die.tag, str) else ""
                if tag in self._makers and (tag != "variable" or _is_global(die)):
                    yield _Entry(tag, die)

    def _type(self, die: Any) -> int:
        """The id of what an entry is of; 0 for void, and for what BTF has no kind for."""
        found = die.attributes.get("DW_AT_type")
        if found is None:
            return 0
        start = die.cu.cu_offset if found.form in _WITHIN_UNIT else 0
        return self._ids.get(start + found.value, 0)

    def _modifier(self, kind: Kind) -> Callable[[Any], BtfType]:
        return lambda die: t.Modifier(kind, self._type(die))

    def _array(self, die: Any) -> BtfType:
        counts = [_count(child) for child in die.iter_children() if child.tag == "DW_TAG_subrange_type"] or [0]
        element = self._type(die)
        for count in reversed(counts[1:]):
            self._more.append(t.Array(element, self._index, count))
            element = self._index + len(self._more) - 1
        return t.Array(element, self._index, counts[0])

    def _compound(self, die: Any) -> BtfType:
        is_union = die.tag == "DW_TAG_union_type"
        if "DW_AT_declaration" in die.attributes:
            return t.Fwd(_name(die), is_union)
        members = tuple(
            self._member(child)
            for child in die.iter_children()
            if child.tag == "DW_TAG_member" and "DW_AT_external" not in child.attributes
        )
        return t.Struct(_name(die), _value(die, "DW_AT_byte_size"), members, is_union)

    def _member(self, die: Any) -> t.Member:
        bits = _value(die, "DW_AT_bit_size")
        at = 8 * _value(die, "DW_AT_data_member_location")
        if "DW_AT_data_bit_offset" in die.attributes:
            at += _value(die, "DW_AT_data_bit_offset")
        elif "DW_AT_bit_offset" in die.attributes:  # DWARF 3: counted from the most significant bit of the storage
            above = _value(die, "DW_AT_bit_offset")
            storage = 8 * _value(die, "DW_AT_byte_size")
            at += storage - above - bits if self._byteorder == "little" else above
        return t.Member(_name(die), self._type(die), at, bits)


def _is_global(die: Any) -> bool:
    parent = die.get_parent()
    return "DW_AT_name" in die.attributes and parent.tag in ("DW_TAG_compile_unit", "DW_TAG_namespace")


def _name(die: Any) -> str:
    found = die.attributes.get("DW_AT_name")
    return found.value.decode("utf-8", "backslashreplace") if found is not None else ""


def _value(die: Any, attribute: str) -> int:
    """A number, 0 where there is none or it is computed."""
    found = die.attributes.get(attribute)
    return found.value if found is not None and isinstance(found.value, int) else 0


def _count(die: Any) -> int:
    """Elements of one dimension, 0 for ``T x[]``."""
    if "DW_AT_count" in die.attributes:
        return _value(die, "DW_AT_count")
    return _value(die, "DW_AT_upper_bound") + 1 if "DW_AT_upper_bound" in die.attributes else 0


def _number(die: Any) -> BtfType:
    name, size, encoding = _name(die), _value(die, "DW_AT_byte_size"), _value(die, "DW_AT_encoding")
    if encoding == _FLOAT:
        return t.Float(name, size)
    return t.Int(name, size, 8 * size, encoding in (_SIGNED, _SIGNED_CHAR), is_bool=encoding == _BOOL)


def _enum(die: Any) -> BtfType:
    if "DW_AT_declaration" in die.attributes:
        return t.Int(_name(die), 4, 32)
    values = tuple(
        (_name(child), _value(child, "DW_AT_const_value"))
        for child in die.iter_children()
        if child.tag == "DW_TAG_enumerator"
    )
    size = _value(die, "DW_AT_byte_size")
    return t.Enum(_name(die), size, values, any(number < 0 for _, number in values), size == POINTER_SIZE)
