"""Find BTF in bytes: raw, or the .BTF section of an ELF file (a vmlinux, a module, files of BTFHub)."""

from __future__ import annotations

from struct import Struct

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.uapi.numbers import BTF_MAGIC

__all__ = ["find_btf"]

_HEADER = {
    1: {"<": Struct("<32xI10xHHH"), ">": Struct(">32xI10xHHH")},
    2: {"<": Struct("<40xQ10xHHH"), ">": Struct(">40xQ10xHHH")},
}
_SECTION = {1: {"<": Struct("<II8xII"), ">": Struct(">II8xII")}, 2: {"<": Struct("<II16xQQ"), ">": Struct(">II16xQQ")}}
_NOBITS = 8  # a section whose bytes are not in the file


def find_btf(data: bytes, *, name: str = "") -> bytes:
    """The BTF in ``data``. ObjectError when there is none; ``name`` is the file's, for the message."""
    if data[:2] in (BTF_MAGIC.to_bytes(2, "little"), BTF_MAGIC.to_bytes(2, "big")):
        return data
    if data[:4] != b"\x7fELF" or len(data) < 64:
        hint = "raw BTF (/sys/kernel/btf/vmlinux), or an ELF file with a .BTF section (vmlinux)"
        raise ObjectError("neither BTF nor an ELF file", path=name, hint=f"give {hint}")
    found = _section(data, name=name)
    if found is None:
        hint = "a kernel has one if it was built with CONFIG_DEBUG_INFO_BTF=y"
        raise ObjectError("an ELF file without a .BTF section", path=name, hint=hint)
    return found


def _section(data: bytes, *, name: str) -> bytes | None:
    size, order = data[4], "<" if data[5] == 1 else ">"
    if size not in _HEADER:
        return None
    start, entry, count, names_at = _HEADER[size][order].unpack_from(data)
    shape = _SECTION[size][order]
    if start + count * entry > len(data) or entry < shape.size or names_at >= count:
        return None
    rows = [shape.unpack_from(data, start + at * entry) for at in range(count)]
    _, _, names_start, names_size = rows[names_at]
    names = data[names_start : names_start + names_size]
    for name_at, kind, offset, length in rows:
        if names[name_at : name_at + 5] != b".BTF\0":
            continue
        if kind == _NOBITS:
            raise ObjectError(
                "its .BTF section has no bytes (NOBITS): a file of debug information alone",
                path=name,
                hint="objcopy --only-keep-debug leaves out what is in the file it was made of: give that one",
            )
        if offset + length <= len(data):
            return data[offset : offset + length]
    return None
