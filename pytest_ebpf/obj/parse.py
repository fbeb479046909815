"""Bytes of an object file -> ``ObjectFile``: the parts, read in the order in which they depend on each other."""

from __future__ import annotations

from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.btf_ext import ExtInfo, parse_ext
from pytest_ebpf.obj.data import data_kind, fix_datasecs, read_data
from pytest_ebpf.obj.elf import SHF_EXECINSTR, Elf, read_elf
from pytest_ebpf.obj.externs import read_externs
from pytest_ebpf.obj.functions import read_functions
from pytest_ebpf.obj.legacy_maps import is_legacy_section, read_legacy_maps
from pytest_ebpf.obj.maps import MAPS_SECTION, find_spans, read_maps
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.rust_objects import is_rust
from pytest_ebpf.obj.same_names import merge_same_names
from pytest_ebpf.obj.targets import Targets, find_functions

__all__ = ["parse_object"]


def parse_object(data: bytes, *, name: str) -> ObjectFile:
    """The object in ``data``. ``name`` is the file's, for messages.

    ``ObjectError`` when it is not an eBPF object, or so broken that nothing in it can be loaded; what affects a single
    program or map is in ``problems``.
    """
    elf = merge_same_names(read_elf(data, name=name))
    try:
        return _assemble(elf, name=name)
    except ObjectError as error:
        if error.path:
            raise
        # raised by btf/, which does not know the file
        raise ObjectError(
            error.reason, path=name, section=error.section, offset=error.offset, hint=error.hint
        ) from error


def _assemble(elf: Elf, *, name: str) -> ObjectFile:
    btf_raw = _bytes(elf, ".BTF")
    btf = parse_btf(btf_raw) if btf_raw else None
    _check_order(elf, btf)
    ext = _ext(elf, btf, name=name)
    targets = _targets(elf)
    functions = read_functions(elf, targets=targets, ext=ext)
    maps, bad_maps = read_maps(elf, btf=btf, targets=targets)
    legacy, bad_legacy = read_legacy_maps(elf, btf=btf, targets=targets)
    sections, bad_data = read_data(elf, btf=btf, targets=targets)
    return ObjectFile(
        name=name,
        byteorder=elf.byteorder,
        license=_license(elf),
        version=int.from_bytes(_bytes(elf, "version")[:4], elf.byteorder),  # type: ignore[arg-type]
        programs=functions.programs,
        text=functions.text,
        maps=maps + legacy,
        data=sections,
        btf=btf,
        btf_raw=btf_raw,
        datasecs=fix_datasecs(elf, btf=btf),
        externs=read_externs(elf, btf=btf, functions=functions.programs + functions.text),
        problems=functions.problems + bad_maps + bad_legacy + bad_data,
    )


def _ext(elf: Elf, btf: Btf | None, *, name: str) -> ExtInfo:
    """Only objects with several sections of one name have relocations of .BTF.ext here: a row names its section, and
    the relocation says which of them."""
    section = elf.section(".BTF.ext")
    rels = elf.relocs.get(section.index, ()) if section else ()
    bases = {rel.offset: value for rel in rels if (value := elf.symbol(rel).value)}
    ext = parse_ext(section.data if section else b"", btf=btf, name=name, bases=bases)
    code = [section.name for section in elf.sections if section.flags & SHF_EXECINSTR]
    same = {name for name in code if code.count(name) > 1} if not rels and len(set(code)) < len(code) else ()
    return ext.without(same, path=name) if same else ext


def _license(elf: Elf) -> str:
    """Aya's rule for objects that rustc made: without a section for it, the license is the GPL."""
    section = elf.section("license")
    if section is None:
        return "GPL" if is_rust(elf) else ""
    return section.data.split(b"\0")[0].decode("utf-8", "backslashreplace")


def _bytes(elf: Elf, section: str) -> bytes:
    found = elf.section(section)
    return found.data if found else b""


def _check_order(elf: Elf, btf: Btf | None) -> None:
    if btf and btf.byteorder != elf.byteorder:
        raise ObjectError(f"{btf.byteorder} endian BTF in a {elf.byteorder} endian object", section=".BTF")


def _targets(elf: Elf) -> Targets:
    maps = find_spans(elf, [s for s in elf.sections if s.name == MAPS_SECTION or is_legacy_section(s)])
    data = frozenset(section.index for section in elf.sections if data_kind(section))
    return Targets(elf, maps, data, find_functions(elf))
