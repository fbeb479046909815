"""Several objects linked into one: code under test, and the test's own programs that call it or share its maps.

The rules are those of a static linker for eBPF (libbpf's src/linker.c, ``bpftool gen object``): sections of one name
are put one after the other, a strong definition beats weak ones, two strong ones are an error, an extern finds its
definition by name, and what the kernel provides (__ksym, __kconfig) stays the kernel's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.obj.insn import INSN_SIZE
from pytest_ebpf.obj.link_names import Definition, Names, resolve_names
from pytest_ebpf.obj.link_types import LinkedTypes, link_types
from pytest_ebpf.obj.object import DataReloc, DataSection, Extern, MapDef, ObjectFile, ProgramDef, Reloc
from pytest_ebpf.obj.static_names import statics_by_file

__all__ = ["link_objects"]

_ALIGN = 8


@dataclass(frozen=True, slots=True)
class _Part:
    """One object on its way into the whole. ``bases``: section -> where its bytes come to lie."""

    number: int
    obj: ObjectFile
    bases: dict[str, int]
    names: Names
    types: LinkedTypes
    parts: tuple[dict[str, int], ...]

    def function(self, function: ProgramDef) -> ProgramDef:
        types = self.types
        ids, shift = types.ids(self.number), types.shift(self.number)
        return replace(
            function,
            section_offset=self.bases.get(function.section, 0) + function.section_offset,
            btf_id=ids[function.btf_id],
            relocs=tuple(self.reloc(reloc) for reloc in function.relocs),
            core=tuple(core._replace(type_id=ids[core.type_id]) for core in function.core),
            func_info=tuple(row._replace(type_id=ids[row.type_id]) for row in function.func_info),
            line_info=tuple(
                row._replace(file_off=row.file_off + shift, line_off=row.line_off + shift) for row in function.line_info
            ),
        )

    def reloc(self, reloc: Reloc) -> Reloc:
        if reloc.kind in ("extern", "kfunc"):
            return self._found(reloc)
        if reloc.kind in ("call", "func", "data"):
            section, offset = self.place(reloc.symbol, reloc.section, offset=reloc.offset)
            return reloc._replace(section=section, offset=offset)
        return reloc

    def _found(self, reloc: Reloc) -> Reloc:
        """An extern that another object defines."""
        found = self.names.extern(self.number, reloc.symbol)
        if found is None:
            return reloc
        if found.kind == "map":
            return reloc._replace(kind="map")
        kind = "data" if found.kind == "data" else "call" if reloc.kind == "kfunc" else "func"
        return reloc._replace(kind=kind, section=found.section, offset=self._at(found))

    def place(self, symbol: str, section: str, *, offset: int) -> tuple[str, int]:
        """Where a byte of a section comes to lie; a weak symbol that gave way leads to the one that stayed."""
        winner = self.names.instead(self.number, symbol, section=section, offset=offset)
        if winner is not None:
            loser, found = winner
            return found.section, self._at(found) + offset - loser.offset
        return section, self.bases.get(section, 0) + offset

    def _at(self, found: Definition) -> int:
        return self.parts[found.part].get(found.section, 0) + found.offset

    def map(self, definition: MapDef) -> MapDef:
        ids = self.types.ids(self.number)
        return replace(
            definition,
            key_type=ids[definition.key_type],
            value_type=ids[definition.value_type],
            btf_id=ids[definition.btf_id],
            inner=self.map(definition.inner) if definition.inner is not None else None,
        )

    def extern(self, extern: Extern) -> Extern:
        ids = self.types.ids(self.number)
        return replace(extern, type_id=ids[extern.type_id], btf_id=ids[extern.btf_id])

    def data_reloc(self, reloc: DataReloc, *, base: int) -> DataReloc:
        section, addend = reloc.section, reloc.addend
        if reloc.kind in ("func", "data"):
            section, addend = self.place(reloc.target, reloc.section, offset=reloc.addend)
        elif reloc.kind == "extern" and (found := self.names.extern(self.number, reloc.target)) is not None:
            kind = {"func": "func", "data": "data", "map": "map"}[found.kind]
            return DataReloc(base + reloc.offset, kind, reloc.target, found.section, self._at(found) + addend)
        return DataReloc(base + reloc.offset, reloc.kind, reloc.target, section, addend)


def link_objects(objects: Sequence[ObjectFile]) -> ObjectFile:
    """One object of all of them; the name, and with it that of its data maps, is the first one's.

    ObjectError when they do not fit together: other byte orders or licenses, a name defined twice.
    """
    _check(objects)
    try:
        return _linked(statics_by_file(objects))
    except IndexError:
        raise ObjectError("BTF names types that it does not have", path=objects[0].name, section=".BTF") from None


def _linked(objects: Sequence[ObjectFile]) -> ObjectFile:
    first = objects[0]
    names = resolve_names(objects)
    bases = tuple(_bases(objects))
    types = link_types(objects, names=names, bases=bases)
    parts = [_Part(number, obj, bases[number], names, types, bases) for number, obj in enumerate(objects)]
    return ObjectFile(
        name=first.name,
        files=tuple(obj.name for obj in objects),
        byteorder=first.byteorder,
        license=next((obj.license for obj in objects if obj.license), ""),
        version=first.version,
        programs=_functions(parts, [obj.programs for obj in objects]),
        text=_functions(parts, [obj.text for obj in objects]),
        maps=tuple(
            part.map(found) for part in parts for found in part.obj.maps if names.stays(part.number, found.name)
        ),
        data=tuple(_data(parts)),
        btf=types.btf,
        btf_raw=types.btf.data if types.btf is not None else b"",
        datasecs=types.datasecs,
        externs=tuple(_externs(parts)),
        problems=tuple(problem for obj in objects for problem in obj.problems),
    )


def _functions(parts: Sequence[_Part], functions: Sequence[tuple[ProgramDef, ...]]) -> tuple[ProgramDef, ...]:
    return tuple(
        part.function(function)
        for part, own in zip(parts, functions, strict=True)
        for function in own
        if not function.is_global or part.names.stays(part.number, function.name)
    )


def _check(objects: Sequence[ObjectFile]) -> None:
    first = objects[0]
    licensed = next((obj for obj in objects if obj.license), first)
    for other in objects[1:]:
        if other.byteorder != first.byteorder:
            raise ObjectError(
                f"{other.byteorder} endian, but {first.name} is {first.byteorder} endian", path=other.name
            )
        if other.license and other.license != licensed.license:
            hint = "objects that are linked become one, which has one license"
            raise ObjectError(
                f"its license is {other.license!r}, that of {licensed.name} {licensed.license!r}",
                path=other.name,
                hint=hint,
            )


def _bases(objects: Sequence[ObjectFile]) -> Iterator[dict[str, int]]:
    """Per object: section -> where it begins in the section of that name."""
    ends: dict[str, int] = {}
    for obj in objects:
        sizes = _sizes(obj)
        bases = {name: -(-ends.get(name, 0) // _ALIGN) * _ALIGN for name in sizes}
        yield bases
        ends.update({name: bases[name] + size for name, size in sizes.items()})


def _sizes(obj: ObjectFile) -> dict[str, int]:
    """Bytes of each section of code or data. What a call leads to counts, even if nothing good is there."""
    sizes: dict[str, int] = {section.name: section.size for section in obj.data}
    for function in (*obj.programs, *obj.text):
        end = function.section_offset + len(function.insns)
        sizes[function.section] = max(sizes.get(function.section, 0), end)
        for reloc in function.relocs:
            if reloc.kind in ("call", "func"):
                sizes[reloc.section] = max(sizes.get(reloc.section, 0), reloc.offset + INSN_SIZE)
    return sizes


def _data(parts: Sequence[_Part]) -> Iterator[DataSection]:
    merged: dict[str, DataSection] = {}
    for part in parts:
        ids = part.types.ids(part.number)
        for section in part.obj.data:
            base = part.bases[section.name]
            variables = tuple(
                replace(variable, offset=base + variable.offset, type_id=ids[variable.type_id])
                for variable in section.variables
                if not variable.is_global or part.names.stays(part.number, variable.name)
            )
            relocs = tuple(part.data_reloc(reloc, base=base) for reloc in section.relocs)
            known = merged.get(section.name)
            if known is None:
                merged[section.name] = replace(
                    section, variables=variables, relocs=relocs, btf_id=part.types.section(section.name)
                )
                continue
            if known.kind != section.kind:
                raise ObjectError(
                    f"its section is {section.kind}, that of another object {known.kind}",
                    path=part.obj.name,
                    section=section.name,
                )
            merged[section.name] = replace(
                known,
                size=base + section.size,
                data=_joined(known, section, base=base),
                variables=known.variables + variables,
                relocs=known.relocs + relocs,
            )
    yield from merged.values()


def _joined(known: DataSection, section: DataSection, *, base: int) -> bytes:
    return b"" if known.kind == "bss" else known.data.ljust(base, b"\0") + section.data


def _externs(parts: Sequence[_Part]) -> Iterator[Extern]:
    """Those that nothing defines, once each; strong as soon as one object cannot do without."""
    merged: dict[str, Extern] = {}
    for part in parts:
        for extern in part.obj.externs:
            if part.names.extern(part.number, extern.name) is not None:
                continue
            known = merged.get(extern.name)
            found = part.extern(extern)
            merged[extern.name] = replace(known, is_weak=known.is_weak and extern.is_weak) if known else found
    yield from merged.values()
