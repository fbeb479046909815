"""Maps of before BTF: section "maps", one struct bpf_map_def per variable.

20 bytes at least: type, key_size, value_size, max_entries, map_flags. aya-ebpf's ``#[map]`` adds id and pinning (28
bytes). libbpf refuses such objects since 1.0; the kernel does not mind them.
"""

from __future__ import annotations

import struct

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Kind, Struct
from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.elf import SHF_ALLOC, STB_WEAK, Elf, Section
from pytest_ebpf.obj.object import MapDef, Problem
from pytest_ebpf.obj.rust_names import rust_map_types
from pytest_ebpf.obj.targets import Span, Targets

__all__ = ["is_legacy_section", "read_legacy_maps"]

_MIN_SIZE, _WITH_PINNING = 20, 28
_PIN_BY_NAME = 1


def is_legacy_section(section: Section) -> bool:
    """Whether a section holds struct bpf_map_def: "maps", or cilium's "maps/name"."""
    return bool(section.flags & SHF_ALLOC) and (section.name == "maps" or section.name.startswith("maps/"))


def read_legacy_maps(elf: Elf, *, btf: Btf | None, targets: Targets) -> tuple[tuple[MapDef, ...], tuple[Problem, ...]]:
    """The maps of the "maps" sections, and what is wrong with those that are left out."""
    maps: list[MapDef] = []
    problems: list[Problem] = []
    weak = {(symbol.section, symbol.name) for symbol in elf.symbols if symbol.bind == STB_WEAK}
    for section in filter(is_legacy_section, elf.sections):
        for span in targets.maps.get(section.index, ()):
            data = section.data[span.start : span.end]
            if len(data) < _MIN_SIZE:
                message = f"{len(data)} bytes are less than a struct bpf_map_def of {_MIN_SIZE}"
                problems.append(Problem(section.name, span.name, message, costs="map"))
                continue
            definition = _definition(elf, data, span=span, section=section.name, btf=btf)
            maps.append(replace(definition, is_weak=(section.index, span.name) in weak))
    return tuple(maps), tuple(problems)


def _definition(elf: Elf, data: bytes, *, span: Span, section: str, btf: Btf | None) -> MapDef:
    code = "<" if elf.byteorder == "little" else ">"
    type_, key_size, value_size, max_entries, flags = struct.unpack_from(code + "5I", data)
    pinning = 0
    if len(data) >= _WITH_PINNING:
        (pinning,) = struct.unpack_from(code + "I", data, 24)
    key_type, value_type = _annotation(btf, span.name)
    if btf and not key_type:
        key_type, value_type = rust_map_types(btf, span.name, sizes=(key_size, value_size))
    return MapDef(
        name=span.name,
        type=type_,
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        flags=flags,
        key_type=key_type,
        value_type=value_type,
        pinning=pinning if pinning == _PIN_BY_NAME else 0,
        section=section,
        legacy=True,
    )


def _annotation(btf: Btf | None, name: str) -> tuple[int, int]:
    """Key and value type where the source has BPF_ANNOTATE_KV_PAIR: a struct ____btf_map_<name> {key; value}."""
    for type_id in btf.find(f"____btf_map_{name}", Kind.STRUCT) if btf else ():
        found = btf.type(type_id) if btf else None
        if isinstance(found, Struct) and [member.name for member in found.members] == ["key", "value"]:
            return found.members[0].type, found.members[1].type
    return 0, 0
