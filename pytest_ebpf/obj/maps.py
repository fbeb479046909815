"""Maps that BTF defines: the variables of section ".maps".

Conventions (libbpf's bpf_helpers.h): ``__uint(x, N)`` is a pointer to an array of N elements, ``__type(x, T)`` a
pointer to T, ``__ulong(x, N)`` an enum whose one value is N, ``__array(values, T)`` an array of pointers to T.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, DataSec, Enum, FuncProto, Fwd, Member, Ptr, Struct, Var
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.obj.elf import STB_WEAK, STT_SECTION, Elf, Section, Symbol, twin_names, without_twins
from pytest_ebpf.obj.object import MapDef, Problem, SlotInit
from pytest_ebpf.obj.targets import Span, Targets
from pytest_ebpf.suggest import did_you_mean
from pytest_ebpf.uapi.btf import Linkage
from pytest_ebpf.uapi.sections import MAP_TYPES

__all__ = ["MAPS_SECTION", "find_spans", "read_maps"]

MAPS_SECTION = ".maps"

_NUMBERS = {
    "type": "type",
    "max_entries": "max_entries",
    "map_flags": "flags",
    "numa_node": "numa_node",
    "key_size": "key_size",
    "value_size": "value_size",
    "pinning": "pinning",
    "map_extra": "map_extra",
}
_U32, _U64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_RINGBUF = MAP_TYPES.index("RINGBUF")


class _BadMapError(Exception):
    """This map cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class _Declared:
    """A map and where its initial slots begin in its own bytes, -1 when it can have none."""

    map: MapDef
    slots_at: int = -1


def find_spans(elf: Elf, sections: Iterable[Section]) -> dict[int, tuple[Span, ...]]:
    """The named variables of each section (by index), in order; one without a size lasts until the next."""
    found: dict[int, list[Symbol]] = {section.index: [] for section in sections}
    for symbol in elf.symbols:
        named = found.get(symbol.section)
        if named is not None and symbol.name and symbol.type != STT_SECTION:
            named.append(symbol)
    return {index: _spans(without_twins(named), section=elf.sections[index]) for index, named in found.items()}


def _spans(symbols: list[Symbol], *, section: Section) -> tuple[Span, ...]:
    named = sorted((symbol.value, symbol.size, symbol.name) for symbol in symbols if symbol.value < section.size)
    starts = [value for value, _, _ in named] + [section.size]
    return tuple(
        Span(
            value,
            min(value + size, section.size) if size else starts[bisect_left(starts, value + 1, 0, len(starts) - 1)],
            name,
        )
        for value, size, name in named
    )


def read_maps(elf: Elf, *, btf: Btf | None, targets: Targets) -> tuple[tuple[MapDef, ...], tuple[Problem, ...]]:
    """The maps of section ".maps", and what is wrong with those that are left out."""
    section = elf.section(MAPS_SECTION)
    if section is None or not section.size:
        return (), ()
    if btf is None:
        hint = (
            "compile with -g (and keep the .BTF section when stripping: llvm-strip -g); "
            "Rust: -C debuginfo=2 -C link-arg=--btf"
        )
        raise ObjectError(
            "maps are defined in BTF, and the object has none", path=elf.name, section=MAPS_SECTION, hint=hint
        )
    maps: list[MapDef] = []
    problems: list[Problem] = []
    spans = {span.name: span for span in targets.maps.get(section.index, ())}
    weak = {symbol.name for symbol in elf.symbols if symbol.section == section.index and symbol.bind == STB_WEAK}
    twins = twin_names(symbol for symbol in elf.symbols if symbol.section == section.index)
    for btf_id, var in _variables(btf):
        if var.linkage == Linkage.EXTERN:
            continue  # another object defines it
        if var.name in twins:
            var = replace(var, name=twins[var.name])
        try:
            declared = _definition(btf, var.type, name=var.name)
            if var.name not in spans:
                raise _BadMapError("the symbol table does not have it")
            values = _slots(elf, declared, section=section, span=spans[var.name], targets=targets)
            maps.append(
                replace(
                    declared.map,
                    values=values,
                    btf_id=btf_id,
                    is_weak=var.name in weak,
                    is_static=var.linkage == Linkage.STATIC,
                )
            )
        except (_BadMapError, ObjectError) as error:
            problems.append(Problem(MAPS_SECTION, var.name, str(error), costs="map"))
    return tuple(maps), tuple(problems)


def _variables(btf: Btf) -> Iterator[tuple[int, Var]]:
    for section_id in btf.datasecs(MAPS_SECTION):
        section = btf.type(section_id)
        for entry in section.vars if isinstance(section, DataSec) else ():
            var = btf.type(entry.type)
            if isinstance(var, Var):
                yield entry.type, var


def _definition(btf: Btf, type_id: int, *, name: str, is_inner: bool = False) -> _Declared:
    struct = btf.type(btf.resolve(type_id))
    if not isinstance(struct, Struct):
        raise _BadMapError("it is not a struct of __uint(…), __type(…) fields")
    fields: dict[str, Any] = {}
    inner: MapDef | None = None
    slots_at = -1
    for member in struct.members:
        if member.name in _NUMBERS:
            fields[_NUMBERS[member.name]] = _number(btf, member) & (_U64 if member.name == "map_extra" else _U32)
        elif member.name in ("key", "value"):
            fields[f"{member.name}_type"] = _pointee(btf, member)
        elif member.name == "values":
            if is_inner:
                raise _BadMapError("maps nest two levels deep, not more")
            inner, slots_at = _inner(btf, member, name=name), member.bit_offset // 8
        else:
            raise _BadMapError(_unknown(member.name))
    if not fields.get("type"):
        raise _BadMapError("it has no __uint(type, …)")
    if slots_at >= 0:
        fields.setdefault("value_size", 4)  # an fd, whatever it holds
    _add_sizes(btf, fields)
    return _Declared(MapDef(name=name, inner=inner, section=MAPS_SECTION, **fields), slots_at)


def _unknown(field: str) -> str:
    """libbpf refuses such a map as well: a misspelt field would otherwise be left at 0 without a message."""
    fields = (*_NUMBERS, "key", "value", "values")
    return f"there is no field {field!r}; {did_you_mean(field, fields, most=1)}"


def _number(btf: Btf, member: Member) -> int:
    found = btf.type(btf.resolve(member.type))
    if isinstance(found, Enum) and len(found.values) == 1:
        return found.values[0][1]
    if isinstance(found, Ptr):
        array = btf.type(btf.resolve(found.type))
        if isinstance(array, Array):
            return array.nelems
    raise _BadMapError(f"{member.name} is not written as __uint({member.name}, …)")


def _pointee(btf: Btf, member: Member) -> int:
    found = btf.type(btf.resolve(member.type))
    if not isinstance(found, Ptr):
        raise _BadMapError(f"{member.name} is not written as __type({member.name}, …)")
    return found.type


def _inner(btf: Btf, member: Member, *, name: str) -> MapDef | None:
    """The map that ``values`` holds pointers to; None when it holds programs."""
    array = btf.type(btf.resolve(member.type))
    pointer = btf.type(btf.resolve(array.type)) if isinstance(array, Array) else None
    if not isinstance(pointer, Ptr):
        raise _BadMapError("values is not written as __array(values, …)")
    if isinstance(btf.type(btf.resolve(pointer.type)), FuncProto):
        return None
    return _definition(btf, pointer.type, name=f"{name}.inner", is_inner=True).map


def _add_sizes(btf: Btf, fields: dict[str, Any]) -> None:
    """Sizes follow from types. When both are given they must agree, but for the value of a ring buffer: it has none,
    and aya-ebpf declares one (rust-facts: ``RingBuf<T>``)."""
    for what in ("key", "value"):
        type_id = fields.get(f"{what}_type")
        if not type_id:
            continue
        size = _size(btf, type_id, what=what)
        if size > _U32:
            raise _BadMapError(f"its {what} takes {size:,} bytes")
        if what == "value" and fields["type"] == _RINGBUF:
            continue  # of its records
        if fields.setdefault(f"{what}_size", size) != size:
            raise _BadMapError(f"{what}_size is {fields[f'{what}_size']}, but its type takes {size} bytes")


def _size(btf: Btf, type_id: int, *, what: str) -> int:
    found = btf.type(btf.resolve(type_id))
    if isinstance(found, Fwd):
        kind = "union" if found.is_union else "struct"
        raise _BadMapError(f"its {what} is {kind} {found.name}, which is only declared here: it has no size")
    return btf.size(type_id)


def _slots(elf: Elf, declared: _Declared, *, section: Section, span: Span, targets: Targets) -> tuple[SlotInit, ...]:
    rels = elf.relocs.get(section.index, ())
    found = []
    for rel in rels[bisect_left(rels, (span.start,)) : bisect_left(rels, (span.end,))]:
        symbol = elf.symbol(rel)
        at = rel.offset - span.start - declared.slots_at
        if declared.slots_at < 0 or at < 0 or at % 8:
            raise _BadMapError(f"byte {rel.offset - span.start} is set to {symbol.name!r}, but is no slot")
        addend = int.from_bytes(section.data[rel.offset : rel.offset + 8], elf.byteorder)  # type: ignore[arg-type]
        target = targets.find(symbol, addend)
        wanted = "map" if declared.map.inner else "code"
        if target.kind != wanted or not target.symbol:
            raise _BadMapError(
                f"slot {at // 8} is set to {symbol.name!r}, which is not a {'map' if wanted == 'map' else 'function'}"
            )
        found.append(SlotInit(at // 8, "map" if wanted == "map" else "func", target.symbol))
    return tuple(found)
