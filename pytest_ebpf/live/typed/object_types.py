"""The types of an object: those in its BTF, and where a name is not there, those in its DWARF or in what ``types=``
gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from warnings import warn

from pytest_ebpf.btf.merge import append_btf
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.dwarf_types import read_dwarf_types
from pytest_ebpf.obj.elf import read_elf
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.read import read_bytes

__all__ = ["ObjectTypes", "object_types", "read_types"]


class ObjectTypes:
    """``btf``: the types to look at first. ``wide``: those of ``more`` too, under higher ids; read on first use."""

    def __init__(self, btf: Btf | None, *, more: Callable[[], Iterable[Btf]] = tuple) -> None:
        self.btf = btf
        self._more = more
        self._wide: Btf | None = None
        self._is_read = False

    @property
    def wide(self) -> Btf | None:
        """All types; None when there are none. A warning when the DWARF is damaged."""
        if not self._is_read:
            self._wide = self.btf
            for found in self._more():
                self._wide = append_btf(self._wide, found)
            self._is_read = True
        return self._wide


def object_types(obj: ObjectFile, *, given: Btf | None = None) -> ObjectTypes:
    """The types of an object that was read from files, with those of ``types=`` before those of its DWARF."""

    def more() -> Iterable[Btf]:
        if given is not None:
            yield given
        for name in obj.files or (obj.name,):
            if Path(name).is_file():
                yield from _dwarf_types(name)

    return ObjectTypes(obj.btf, more=more)


def _dwarf_types(name: str) -> Iterable[Btf]:
    """Damaged DWARF costs the types that only it has: nothing that a load needs is there."""
    try:
        found = read_dwarf_types(read_bytes(name), name=name)
    except ObjectError as error:
        warn(
            f"{name}: its DWARF cannot be read, so its types are those of its BTF alone: {error.message}", stacklevel=2
        )
        return
    if found is not None:
        yield found


def read_types(data: bytes, *, name: str) -> Btf | None:
    """The types of an object that holds nothing else, in its BTF and DWARF; None when it has neither."""
    section = read_elf(data, name=name).section(".BTF")
    btf = parse_btf(section.data) if section is not None and section.data else None
    dwarf = read_dwarf_types(data, name=name)
    return append_btf(btf, dwarf) if dwarf is not None else btf
