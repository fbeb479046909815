"""The types of linked objects: one BTF, in which a declaration and its definition are one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_ebpf.btf.merge import Merged, Place, merge_btf
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import DataSec, Func, Kind, SecVar, Var
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.obj.link_names import Names
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.uapi.btf import Linkage

__all__ = ["LinkedTypes", "link_types"]


class _NoIds:
    """The ids of an object without types: there is none but 0."""

    def __getitem__(self, type_id: int) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class LinkedTypes:
    """``parts``: object -> which part of the BTF it is; objects without types are none."""

    merged: Merged | None
    parts: Mapping[int, int]
    datasecs: tuple[tuple[int, DataSec], ...]

    @property
    def btf(self) -> Btf | None:
        """All types, None when no object has any."""
        return self.merged.btf if self.merged is not None else None

    def ids(self, number: int) -> Sequence[int] | _NoIds:
        """Old id -> new id of an object."""
        if self.merged is None or number not in self.parts:
            return _NoIds()
        return self.merged.ids[self.parts[number]]

    def shift(self, number: int) -> int:
        """What its string offsets grow by."""
        return self.merged.strings[self.parts[number]] if self.merged is not None and number in self.parts else 0

    def section(self, name: str) -> int:
        """The DATASEC of a section, 0 when there is none."""
        return self.merged.datasecs.get(name, 0) if self.merged is not None else 0


def link_types(objects: Sequence[ObjectFile], *, names: Names, bases: Sequence[Mapping[str, int]]) -> LinkedTypes:
    """``bases``: per object, section -> where its bytes come to lie."""
    typed = [number for number, obj in enumerate(objects) if obj.btf is not None]
    if not typed:
        return LinkedTypes(None, {}, ())
    parts = {number: at for at, number in enumerate(typed)}
    same = dict(_same(objects, parts=parts, names=names))
    sections = _sections(objects, parts=parts, bases=bases, same=same)
    btfs = [obj.btf for obj in objects if obj.btf is not None]
    merged = merge_btf(btfs, same=same, sections=sections, byteorder=objects[0].byteorder)
    placed = []
    for type_id in merged.datasecs.values():
        section = merged.btf.type(type_id)
        if isinstance(section, DataSec):
            placed.append((type_id, section))
    return LinkedTypes(merged, parts, tuple(placed))


def _same(objects: Sequence[ObjectFile], *, parts: Mapping[int, int], names: Names) -> Iterator[tuple[Place, Place]]:
    """Declarations of what another object defines, definitions that gave way, and the second declaration of what the
    kernel has: (that, what stays)."""
    first_declared: dict[tuple[str, int], Place] = {}
    winners = {name: _place_of(objects, name, parts=parts, names=names) for name in names.winners}
    for number, part in parts.items():
        btf = objects[number].btf
        assert btf is not None
        for type_id in btf.ids():
            kind = btf.kind(type_id)
            if kind not in (Kind.FUNC, Kind.VAR):
                continue
            found = btf.type(type_id)
            assert isinstance(found, Func | Var)
            here = Place(part, type_id)
            winner = winners.get(found.name)
            served = names.extern(number, found.name) is not None or not names.stays(number, found.name)
            if served and winner is not None and found.linkage != Linkage.STATIC and winner != here:
                yield here, winner
            elif (
                found.linkage == Linkage.EXTERN
                and (earlier := first_declared.setdefault((found.name, kind), here)) != here
            ):
                yield here, earlier


def _place_of(objects: Sequence[ObjectFile], name: str, *, parts: Mapping[int, int], names: Names) -> Place | None:
    """The VAR or FUNC of the definition that stays."""
    winner = names.winners[name]
    btf = objects[winner.part].btf
    if btf is None:
        return None
    if winner.btf_id:
        return Place(parts[winner.part], winner.btf_id)
    for type_id in btf.find(name, Kind.FUNC if winner.kind == "func" else Kind.VAR):
        found = btf.type(type_id)
        if isinstance(found, Func | Var) and found.linkage == Linkage.GLOBAL:
            return Place(parts[winner.part], type_id)
    return None


def _sections(
    objects: Sequence[ObjectFile],
    *,
    parts: Mapping[int, int],
    bases: Sequence[Mapping[str, int]],
    same: Mapping[Place, Place],
) -> dict[str, DataSec]:
    """Sections of variables, with variables named as ``merge_btf`` wants them."""
    merged: dict[str, DataSec] = {}
    for number, part in parts.items():
        btf = objects[number].btf
        assert btf is not None
        fixed = dict(objects[number].datasecs)
        for type_id in btf.ids():
            found = fixed.get(type_id) or (btf.type(type_id) if btf.kind(type_id) == Kind.DATASEC else None)
            if not isinstance(found, DataSec):
                continue
            base = bases[number].get(found.name, 0)
            known = merged.setdefault(found.name, DataSec(found.name, 0))
            entries = tuple(
                SecVar(part << 32 | entry.type, base + entry.offset, entry.size)
                for entry in found.vars
                if Place(part, entry.type) not in same
            )
            merged[found.name] = replace(known, size=max(known.size, base + found.size), vars=known.vars + entries)
    return merged
