"""Values that decoding makes where Python's own say too little: numbers with a name, structs whose fields overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["EnumValue", "OverlappingFields", "enum_values"]


class EnumValue(int):
    """A number with its name in the enum. It hashes as the number; it equals the number and any of its names."""

    name: str
    names: tuple[str, ...]

    def __new__(cls, value: int, *names: str) -> EnumValue:
        self = super().__new__(cls, value)
        self.name = names[0]
        self.names = names
        return self

    def __getnewargs__(self) -> tuple[int, *tuple[str, ...]]:  # type: ignore[override]  # int has one argument
        return int(self), *self.names

    def __eq__(self, other: object) -> bool:
        return other in self.names if isinstance(other, str) else int.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return other not in self.names if isinstance(other, str) else int.__ne__(self, other)

    __hash__ = int.__hash__

    def __repr__(self) -> str:
        return f"<{self.name}: {int(self)}>"

    def __str__(self) -> str:
        return self.name


def enum_values(names: Iterable[tuple[str, int]]) -> dict[int, EnumValue]:
    """The values of an enum by number; of several names for a number the first is shown."""
    by_number: dict[int, list[str]] = {}
    for name, number in names:
        by_number.setdefault(number, []).append(name)
    return {number: EnumValue(number, *found) for number, found in by_number.items()}


class OverlappingFields(dict[str, Any]):
    """The fields of a struct or union of which some share bytes, as those of an anonymous union do. It equals a dict
    that leaves a field out if that dict has a field which shares its bytes.

    ``places``: field -> its first bit, and the one behind its last.
    """

    __slots__ = ("places",)

    def __init__(self, values: Mapping[str, Any], places: Mapping[str, tuple[int, int]]) -> None:
        super().__init__(values)
        self.places = places

    def stands_for(self, name: str, given: Mapping[Any, object]) -> bool:
        """Whether ``given``, which has no field ``name``, has one that shares bytes with it."""
        start, end = self.places.get(name, (0, 0))
        others = (self.places[other] for other in given if other in self.places)
        return any(low < end and start < high for low, high in others)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        missing = self.keys() - other.keys()
        if not all(self.stands_for(name, other) for name in missing):
            return False
        return all(name in self and self[name] == value for name, value in other.items())

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __reduce__(self) -> tuple[Any, ...]:
        return OverlappingFields, (dict(self), self.places)
