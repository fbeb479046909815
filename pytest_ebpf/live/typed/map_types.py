"""Types that a test names for the keys and values of maps whose definition has sizes only."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.value_type import find_types
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass, field, replace
from pytest_ebpf.live.typed.object_types import ObjectTypes
from pytest_ebpf.obj.object import MapDef
from pytest_ebpf.obj.rust_names import rust_map_types
from pytest_ebpf.suggest import did_you_mean

__all__ = ["AskedTypes", "typed_map"]


@dataclass(frozen=True, slots=True)
class AskedTypes:
    """``given``: the types of ``types=``. ``maps``: map -> {"key": name of a type, "value": name of a type}."""

    given: Btf | None = None
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def typed_map(definition: MapDef, types: ObjectTypes, *, named: Mapping[str, str]) -> tuple[MapDef, ObjectTypes]:
    """The definition with the types that ``named`` gives its key and value, or that DWARF has of a Rust map; and the
    types that its ids count in. The kernel is not told: it takes the ids of the object's BTF only.

    ``BpfUsageError`` for a type that does not exist, or is of another size.
    """
    if named:
        wide = types.wide
        changes = {f"{part}_type": _type(wide, definition, part=part, name=name) for part, name in named.items()}
        return replace(definition, **changes), ObjectTypes(wide)  # type: ignore[arg-type]
    if definition.legacy and not definition.value_type and types.wide is not None:
        sizes = definition.key_size, definition.value_size
        key, value = rust_map_types(types.wide, definition.name, sizes=sizes)
        if value:
            return replace(definition, key_type=key, value_type=value), ObjectTypes(types.wide)
    return definition, types


def _type(btf: Btf | None, definition: MapDef, *, part: str, name: str) -> int:
    found = find_types(btf, name) if btf is not None else ()
    if btf is None or not found:
        known = [one.name for _, one in btf if one.name] if btf is not None else []
        raise BpfUsageError(
            f"map {definition.name!r}: the object has no type {name!r} for its {part}", hint=did_you_mean(name, known)
        )
    size, wanted = btf.size(found[0]), getattr(definition, f"{part}_size")
    if wanted and size != wanted:
        raise BpfUsageError(f"map {definition.name!r}: its {part} has {wanted} bytes, {name!r} has {size}")
    return found[0]
