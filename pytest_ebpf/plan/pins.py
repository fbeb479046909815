"""Maps that are pinned by name: their paths, and whether the map at a path fits the definition.

As libbpf (src/libbpf.c: bpf_object__reuse_map, map_is_reuse_compat, v1.7): an existing map is used if its type, sizes,
number of entries, flags and map_extra are the same; otherwise it is an error.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from pytest_ebpf.agent.ops import Handle, MakeDir, Op
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.object import MapDef, ObjectFile
from pytest_ebpf.obj.sections import map_flag_names, map_type_name
from pytest_ebpf.plan.data_maps import plan_data
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.map_definitions import adjust_map, override_map
from pytest_ebpf.plan.options import LoadOptions
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.flags import MapCreateFlag

__all__ = ["BPFFS", "differences", "directories", "pin_path", "pinned_maps"]

BPFFS = "/sys/fs/bpf"
_DEVMAPS = (MapType.DEVMAP, MapType.DEVMAP_HASH)
_INFO = "I4xIIII"  # struct bpf_map_info: type, id, key_size, value_size, max_entries, map_flags
_EXTRA = "Q"
_EXTRA_AT = 80


def pin_path(definition: MapDef, options: LoadOptions) -> str:
    """The path where a map is pinned, "" for none. ``maps={name: {"pin": ...}}`` overrides the object: a path, True
    for its name in ``pin_path``, or False. Names in a bpf file system cannot have "."."""
    override = options.maps.get(definition.name)
    asked = override.get("pin") if isinstance(override, Mapping) else None
    if isinstance(asked, str) and asked:
        if not asked.startswith("/"):
            raise ObjectError(f"map {definition.name!r} is to be pinned at {asked!r}, expected an absolute path")
        return asked
    if asked or (asked is None and definition.pinning):
        return f"{options.pin_path.rstrip('/')}/{definition.name.replace('.', '_')}"
    return ""


def directories(path: str) -> list[Op]:
    """Operations that make the directories of a pin below /sys/fs/bpf; they are removed after the test."""
    if not path.startswith(f"{BPFFS}/"):
        return []
    parts = path.removeprefix(f"{BPFFS}/").split("/")[:-1]
    return [MakeDir("/".join((BPFFS, *parts[: count + 1]))) for count in range(len(parts))]


def differences(definition: MapDef, info: bytes, *, order: str = "<") -> list[str]:
    """The differences between a pinned map (its struct bpf_map_info) and the definition. ``order``:
    ``Described.order``."""
    whole = info.ljust(_EXTRA_AT + 8, b"\0")
    type_, key_size, value_size, max_entries, flags = struct.unpack_from(order + _INFO, whole)
    (extra,) = struct.unpack_from(order + _EXTRA, whole, _EXTRA_AT)
    wanted_flags = definition.flags
    if definition.type in _DEVMAPS:  # the kernel sets this flag itself
        flags, wanted_flags = flags & ~MapCreateFlag.RDONLY_PROG, wanted_flags & ~MapCreateFlag.RDONLY_PROG
    rows = (
        ("type", map_type_name(type_), map_type_name(definition.type)),
        ("key_size", key_size, definition.key_size),
        ("value_size", value_size, definition.value_size),
        ("max_entries", max_entries, definition.max_entries),
        ("flags", "|".join(map_flag_names(flags)) or "0", "|".join(map_flag_names(wanted_flags)) or "0"),
        ("map_extra", extra, definition.map_extra),
    )
    return [f"{name} {found} instead of {wanted}" for name, found, wanted in rows if found != wanted]


def pinned_maps(obj: ObjectFile, facts: Facts, *, options: LoadOptions) -> list[tuple[MapDef, str]]:
    """(adjusted definition, path) of each map of an object that is pinned."""
    if not options.maps and not any(definition.pinning for definition in obj.maps):
        return []  # sections are pinned when somebody asks for it
    definitions = [*obj.maps, *(data.definition for data in plan_data(obj, facts, values=options.globals))]
    found = []
    for definition in definitions:
        path = pin_path(definition, options)
        given = options.maps.get(definition.name)
        if path and not isinstance(given, Handle):
            found.append((adjust_map(override_map(definition, given, path=obj.name), facts), path))
    return found
