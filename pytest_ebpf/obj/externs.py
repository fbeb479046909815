"""What an object leaves to the kernel: kconfig values, kernel symbols, kfuncs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, DataSec, Func, Kind, Struct, Var
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.elf import STB_WEAK, Elf
from pytest_ebpf.obj.maps import MAPS_SECTION
from pytest_ebpf.obj.object import Extern, ProgramDef, Reloc
from pytest_ebpf.uapi.btf import Linkage

__all__ = ["read_externs"]

_KCONFIG, _KSYMS = ".kconfig", ".ksyms"
_LARGEST_KCONFIG = 4096


def read_externs(elf: Elf, *, btf: Btf | None, functions: Iterable[ProgramDef]) -> tuple[Extern, ...]:
    """The externs that BTF declares, then those that only an instruction names (no type is known of them)."""
    undefined = {symbol.name: symbol for symbol in elf.symbols if symbol.section == 0 and symbol.name}
    found: dict[str, Extern] = {}
    for extern in _declared(btf, {name for name, symbol in undefined.items() if symbol.bind == STB_WEAK}):
        if extern.name in undefined:
            found[extern.name] = extern
    for function in functions:
        for reloc in function.relocs:
            if reloc.kind in ("extern", "kfunc") and reloc.symbol not in found:
                weak = undefined[reloc.symbol].bind == STB_WEAK
                found[reloc.symbol] = _undeclared(btf, reloc, is_weak=weak)
    return tuple(found.values())


def _declared(btf: Btf | None, weak: set[str]) -> Iterator[Extern]:
    if btf is None:
        return
    for section in (_KCONFIG, _KSYMS, MAPS_SECTION):
        for section_id in btf.datasecs(section):
            found = btf.type(section_id)
            for entry in found.vars if isinstance(found, DataSec) else ():
                extern = _extern(btf, entry.type, section=section, weak=weak)
                if extern:
                    yield extern


def _extern(btf: Btf, btf_id: int, *, section: str, weak: set[str]) -> Extern | None:
    found = btf.type(btf_id)
    if section == MAPS_SECTION:
        is_extern = isinstance(found, Var) and found.linkage == Linkage.EXTERN
        return Extern(btf.name(btf_id), "map", is_weak=btf.name(btf_id) in weak, btf_id=btf_id) if is_extern else None
    if isinstance(found, Func):
        return Extern(found.name, "kfunc", found.type, found.name in weak, btf_id=btf_id)
    if not isinstance(found, Var):
        return None
    is_typed = btf.resolve(found.type) != 0  # "extern const void x __ksym" asks for an address alone
    type_id = found.type if is_typed else 0
    if section == _KSYMS:
        return Extern(found.name, "ksym", type_id, found.name in weak, btf_id=btf_id)
    size = btf.size(found.type)
    if size > _LARGEST_KCONFIG:
        raise ObjectError(f"{found.name} takes {size:,} bytes, no configuration value does", section=_KCONFIG)
    return Extern(found.name, "kconfig", type_id, found.name in weak, size, _align(btf, found.type), btf_id)


def _undeclared(btf: Btf | None, reloc: Reloc, *, is_weak: bool) -> Extern:
    """An extern that no section of BTF lists: a variable or function of another object when BTF declares it as such,
    else something untyped of the kernel."""
    kinds = (Kind.FUNC, Kind.VAR) if btf is not None else ()
    for kind in kinds:
        for btf_id in btf.find(reloc.symbol, kind) if btf is not None else ():
            declared = btf.type(btf_id) if btf is not None else None
            if isinstance(declared, Func | Var) and declared.linkage == Linkage.EXTERN:
                what = "func" if kind == Kind.FUNC else "data"
                return Extern(reloc.symbol, what, declared.type, is_weak, btf_id=btf_id)
    return Extern(reloc.symbol, "kfunc" if reloc.kind == "kfunc" else "ksym", is_weak=is_weak)


def _align(btf: Btf, type_id: int) -> int:
    """Alignment in bytes of a type, as the compiler lays it out."""
    for _ in range(64):
        found = btf.type(btf.resolve(type_id))
        if isinstance(found, Array):
            type_id = found.type
        elif isinstance(found, Struct):
            return 8
        else:
            return min(8, btf.size(type_id)) or 1
    raise ObjectError(f"BTF type {type_id} nests without end", section=".BTF")
