"""Global variables: each data section becomes an array of one value, written before any program is loaded.

``globals=`` values are encoded by the variable's type; constants in .rodata are then known to the verifier, which
prunes by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_ebpf.btf.codec import encode
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.types import BtfType, DataSec
from pytest_ebpf.btf.write import rewrite_btf
from pytest_ebpf.errors import ObjectError, PlanError
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.obj.object import DataSection, MapDef, ObjectFile, Variable
from pytest_ebpf.obj.static_names import meanings
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.kconfig import Kconfig
from pytest_ebpf.plan.map_definitions import MapOverride, kernel_name, nearest, override_map
from pytest_ebpf.plan.sanitise import SectionLayout, place_variables
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.flags import MapCreateFlag

__all__ = ["DataMap", "arena_of", "arena_start", "placed_types", "plan_data", "section_layouts", "section_map"]

# INT_MAX, the limit of any value that maps have had (kernel/bpf/arraymap.c: array_map_alloc_check); before Linux 6.1
# arrays stopped at KMALLOC_MAX_SIZE, 4 MiB on x86: that kernel says so itself (E2BIG).
_LARGEST = (1 << 31) - 1
_RDONLY_PROG, _MMAPABLE = int(MapCreateFlag.RDONLY_PROG), int(MapCreateFlag.MMAPABLE)


@dataclass(frozen=True, slots=True)
class DataMap:
    """The map of one data section. ``contents``: its initial bytes, b"" for zeros (a large .bss costs nothing);
    ``frozen``: programs can only read it."""

    definition: MapDef
    kernel_name: str
    contents: bytes = field(repr=False)
    frozen: bool
    section: DataSection


def plan_data(obj: ObjectFile, facts: Facts, *, values: Mapping[str, Any]) -> tuple[DataMap, ...]:
    """One map per data section of the object. ObjectError for a value of an unknown variable or one that does not fit
    it, and for a section that is larger than any kernel keeps in a map."""
    sections = [s for s in obj.data if s.kind not in ("struct_ops", "arena") and s.size]
    _check_names(obj, sections, values=values)
    return tuple(_data_map(obj, section, facts=facts, values=values) for section in sections)


def arena_of(obj: ObjectFile) -> DataSection | None:
    """The section of the variables in the arena of an object."""
    return next((section for section in obj.data if section.kind == "arena" and section.size), None)


def arena_start(obj: ObjectFile, facts: Facts, *, overrides: Mapping[str, MapOverride]) -> int:
    """Where in the arena of an object its variables begin. libbpf (1.7) puts them at the end, in whole pages, where the
    kernel takes addresses of any distance from the beginning (7.1); else at byte 0."""
    section, page = arena_of(obj), facts.described.page_size
    arenas = [definition for definition in obj.maps if definition.type == MapType.ARENA]
    if section is None or len(arenas) != 1 or not facts.data.get("full_range", False):
        return 0
    (arena,) = arenas
    pages = override_map(arena, overrides.get(arena.name), path=obj.name).max_entries
    return max(pages * page - -(-section.size // page) * page, 0)


def section_layouts(obj: ObjectFile) -> dict[int, SectionLayout]:
    """DATASEC id -> the places of its variables."""
    return {
        section.btf_id: SectionLayout(section.size, _places(section)) for section in obj.data if _is_typed(obj, section)
    }


def placed_types(obj: ObjectFile, *, kconfig: Kconfig | None) -> Btf | None:
    """The types of an object with the sizes of its sections and the places of the variables in them, as the kernel gets
    them (compilers leave them 0): for the values of the maps that sections become."""
    btf = obj.btf
    if btf is None:
        return None
    layouts = {**section_layouts(obj), **({kconfig.btf_id: kconfig.layout} if kconfig else {})}
    placed: dict[int, BtfType] = {}
    for type_id, layout in layouts.items():
        section = btf.type(type_id)
        if isinstance(section, DataSec):
            placed[type_id] = DataSec(section.name, layout.size, place_variables(section, btf=btf, layout=layout))
    return parse_btf(rewrite_btf(btf, placed)) if placed else btf


def _places(section: DataSection) -> dict[str, tuple[int, int]]:
    """Name in BTF -> (offset, size); further static variables of one name are "name#2" and so on."""
    found: dict[str, tuple[int, int]] = {}
    for variable in section.variables:
        name = numbered = variable.var_name or variable.name
        number = 1
        while numbered in found:
            number += 1
            numbered = f"{name}#{number}"
        found[numbered] = variable.place
    return found


def section_map(section: DataSection, *, mmap: bool = True, value_type: int = 0) -> MapDef:
    """The map of a data section. ``mmap``: the kernel can map arrays into user space."""
    name, size = section.name, section.size
    if section.kind == "percpu":
        return MapDef(name, MapType.PERCPU_ARRAY, 4, size, 1, value_type=value_type, section=name)
    # As in libbpf: a section with static variables only is private to the programs.
    shared = mmap and any(variable.is_global for variable in section.variables)
    flags = (_RDONLY_PROG if section.kind == "rodata" else 0) | (_MMAPABLE if shared else 0)
    return MapDef(name, MapType.ARRAY, 4, size, 1, flags=flags, value_type=value_type, section=name)


def _is_typed(obj: ObjectFile, section: DataSection) -> bool:
    """Whether at least one variable has a type that fits it: a section type without members is refused before 5.12."""
    btf = obj.btf
    if btf is None or not section.btf_id:
        return False
    return any(v.type_id and 0 < btf.known_size(v.type_id) <= v.size for v in section.variables)


def _data_map(obj: ObjectFile, section: DataSection, *, facts: Facts, values: Mapping[str, Any]) -> DataMap:
    if section.size > _LARGEST:
        hint = "no kernel takes a map value of 2 GiB; put the data into a map with many entries"
        raise ObjectError(f"{section.size:,} bytes of data", path=obj.name, section=section.name, hint=hint)
    if section.kind == "percpu" and not facts.data.get("percpu_data", True):
        raise PlanError(
            f"{obj.name.rpartition('/')[2]}: section {section.name} has variables of each CPU, which this kernel lacks",
            feature="per-CPU global data",
            since="7.3",
        )
    value_type = section.btf_id if _is_typed(obj, section) else 0
    definition = section_map(section, mmap=facts.array_mmap, value_type=value_type)
    contents = _contents(obj, section, values=values)
    return DataMap(definition, _data_name(obj.name, section.name), contents, section.kind == "rodata", section)


def _contents(obj: ObjectFile, section: DataSection, *, values: Mapping[str, Any]) -> bytes:
    given = [variable for variable in section.variables if variable.name in values]
    if not given:
        return section.data
    data = bytearray(section.data.ljust(section.size, b"\0"))
    for variable in given:
        data[variable.offset : variable.offset + variable.size] = _encoded(obj, variable, value=values[variable.name])
    return bytes(data)


def _encoded(obj: ObjectFile, variable: Variable, *, value: Any) -> bytes:
    raw = value if isinstance(value, bytes | bytearray) and len(value) == variable.size else None
    try:
        if raw is None and obj.btf is not None and variable.type_id:
            raw = encode(obj.btf, variable.type_id, value=value)
        elif raw is None:
            raw = _untyped(value, size=variable.size, byteorder=obj.byteorder)
    except (ValueError, TypeError, OverflowError) as error:
        raise ObjectError(f"global {variable.name!r} cannot be {value!r}: {error}", path=obj.name) from None
    if len(raw) > variable.size:
        message = f"global {variable.name!r} is {variable.size} bytes long, but its type takes {len(raw)}"
        raise ObjectError(message, path=obj.name)
    return bytes(raw).ljust(variable.size, b"\0")


def _untyped(value: Any, *, size: int, byteorder: str) -> bytes:
    if isinstance(value, int) and size <= 8:
        return int(value).to_bytes(size, "little" if byteorder == "little" else "big", signed=value < 0)
    raise TypeError(f"the object has no BTF for it; give {size} bytes")


def _check_names(obj: ObjectFile, sections: list[DataSection], *, values: Mapping[str, Any]) -> None:
    names = [variable.name for section in sections for variable in section.variables]
    names += [extern.name for extern in obj.externs if extern.kind == "kconfig"]
    for name in values:
        if name not in names:
            if which := meanings(name, names):
                raise ObjectError(which, path=obj.name)
            raise ObjectError(f"no global variable {name!r} to set", path=obj.name, hint=nearest(name, names))


def _data_name(object_name: str, section: str) -> str:
    """The kernel's name of the map. As in libbpf: the start of the object's name and the section's name, which gets 7
    characters at least; a custom section (".rodata.x") keeps its own name."""
    if section.count(".") > 1 or not section.startswith("."):
        return kernel_name(section)
    stem = object_name.rpartition("/")[2].partition(".")[0]
    return kernel_name(stem[: 15 - max(7, len(section))] + section)
