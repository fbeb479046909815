"""Which definition of a name stays when objects are linked, and which externs it serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.object import ObjectFile

__all__ = ["Definition", "Names", "resolve_names"]

_KERNELS = ("kconfig", "ksym", "kfunc")


class Definition(NamedTuple):
    """``kind``: "func", "data" or "map"; ``part``: which object; ``offset`` in its ``section``, ``size`` bytes."""

    kind: str
    name: str
    part: int
    section: str
    offset: int
    size: int
    is_weak: bool
    btf_id: int


@dataclass(frozen=True, slots=True)
class Names:
    """``winners``: the definition of each global name. ``losers``: (object, name) -> the one that gave way there.
    ``served``: (object, name) of the externs that a definition serves."""

    winners: Mapping[str, Definition]
    losers: Mapping[tuple[int, str], Definition]
    served: frozenset[tuple[int, str]]

    def stays(self, part: int, name: str) -> bool:
        """Whether the definition of ``name`` in an object is kept."""
        return (part, name) not in self.losers

    def extern(self, part: int, name: str) -> Definition | None:
        """The definition that an extern of an object leads to, None when the kernel or nobody has it."""
        return self.winners[name] if (part, name) in self.served else None

    def instead(self, part: int, symbol: str, *, section: str, offset: int) -> tuple[Definition, Definition] | None:
        """(the one that gave way, the one that stayed) for a reference into the former by name."""
        loser = self.losers.get((part, symbol))
        if loser is None or loser.section != section or not loser.offset <= offset <= loser.offset + loser.size:
            return None
        return loser, self.winners[symbol]


def resolve_names(objects: Sequence[ObjectFile]) -> Names:
    """ObjectError when a name has two strong definitions, or two of different kinds."""
    winners: dict[str, Definition] = {}
    losers: dict[tuple[int, str], Definition] = {}
    for part, obj in enumerate(objects):
        for found in _definitions(part, obj):
            known = winners.get(found.name)
            if known is None:
                winners[found.name] = found
                continue
            winner, loser = _stronger(known, found, objects=objects)
            winners[found.name] = winner
            losers[loser.part, loser.name] = loser
    served = frozenset(
        (part, extern.name)
        for part, obj in enumerate(objects)
        for extern in obj.externs
        if extern.name in winners and (extern.kind not in _KERNELS or not extern.btf_id)
    )
    return Names(winners, losers, served)


def _definitions(part: int, obj: ObjectFile) -> Iterator[Definition]:
    """What other objects can refer to. Maps are known by name, static or not."""
    for function in (*obj.programs, *obj.text):
        if function.is_global:
            yield Definition(
                "func",
                function.name,
                part,
                function.section,
                function.section_offset,
                len(function.insns),
                function.is_weak,
                function.btf_id,
            )
    for section in obj.data:
        for variable in section.variables:
            if variable.is_global:
                yield Definition(
                    "data", variable.name, part, section.name, variable.offset, variable.size, variable.is_weak, 0
                )
    for definition in obj.maps:
        yield Definition("map", definition.name, part, definition.section, 0, 0, definition.is_weak, definition.btf_id)


def _stronger(one: Definition, other: Definition, *, objects: Sequence[ObjectFile]) -> tuple[Definition, Definition]:
    """(the one that stays, the one that gives way)."""
    where = f"{objects[one.part].name} and {objects[other.part].name}"
    if one.kind != other.kind:
        words = {"func": "a function", "data": "a variable", "map": "a map"}
        raise ObjectError(f"{one.name!r} is {words[one.kind]} and {words[other.kind]}", path=where)
    if not one.is_weak and not other.is_weak:
        hint = "declare it extern in one of them, or __weak, or static"
        raise ObjectError(f"{one.name!r} is defined in both", path=where, hint=hint)
    if one.kind == "map" and not _same_map(one, other, objects=objects):
        raise ObjectError(f"map {one.name!r} is defined differently", path=where)
    return (other, one) if one.is_weak and not other.is_weak else (one, other)


def _same_map(one: Definition, other: Definition, *, objects: Sequence[ObjectFile]) -> bool:
    """Maps of BTF are compared; a struct bpf_map_def is a variable like others."""
    shapes = []
    for found in (one, other):
        definition = objects[found.part].map(found.name)
        if definition.legacy:
            return True
        shapes.append(
            (definition.type, definition.key_size, definition.value_size, definition.max_entries, definition.flags)
        )
    return shapes[0] == shapes[1]
