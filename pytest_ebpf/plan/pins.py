"""Maps that are pinned by name: where, and whether what is pinned there is the same kind of map.

As libbpf (src/libbpf.c: bpf_object__reuse_map, map_is_reuse_compat, v1.7): an existing map is used if type, sizes,
number of entries, flags and map_extra are the same, and anything else is an error rather than a surprise.
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
_INFO = struct.Struct("=I4xIIII")  # struct bpf_map_info: type, id, key_size, value_size, max_entries, map_flags
_EXTRA = struct.Struct("=Q")
_EXTRA_AT = 80


def pin_path(definition: MapDef, options: LoadOptions) -> str:
    """Where a map is to be pinned, "" for nowhere. ``maps={name: {"pin": ...}}`` wins over the object's own wish: a
    path, True for its name in ``pin_path``, or False. A file system for bpf takes no "." in names."""
    override = options.maps.get(definition.name)
    asked = override.get("pin") if isinstance(override, Mapping) else None
    if isinstance(asked, str) and asked:
        if not asked.startswith("/"):
            raise ObjectError(f"map {definition.name!r} is to be pinned at {asked!r}, which is no absolute path")
        return asked
    if asked or (asked is None and definition.pinning):
        return f"{options.pin_path.rstrip('/')}/{definition.name.replace('.', '_')}"
    return ""


def directories(path: str) -> list[Op]:
    """What makes the directories of a pin below /sys/fs/bpf; they go with the test."""
    if not path.startswith(f"{BPFFS}/"):
        return []
    parts = path.removeprefix(f"{BPFFS}/").split("/")[:-1]
    return [MakeDir("/".join((BPFFS, *parts[: count + 1]))) for count in range(len(parts))]


def differences(definition: MapDef, info: bytes) -> list[str]:
    """In what a pinned map (its struct bpf_map_info) is not as defined."""
    type_, key_size, value_size, max_entries, flags = _INFO.unpack_from(info.ljust(_INFO.size, b"\0"))
    (extra,) = _EXTRA.unpack_from(info[_EXTRA_AT:].ljust(_EXTRA.size, b"\0"))
    wanted_flags = definition.flags
    if definition.type in _DEVMAPS:  # the kernel sets it by itself
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
    """(definition as it is created, path) of the maps of an object that are to be pinned."""
    definitions = [*obj.maps, *(data.definition for data in plan_data(obj, facts, values=options.globals))]
    found = []
    for definition in definitions:
        path = pin_path(definition, options)
        given = options.maps.get(definition.name)
        if path and not isinstance(given, Handle):
            found.append((adjust_map(override_map(definition, given, path=obj.name), facts), path))
    return found
