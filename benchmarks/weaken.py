"""A copy of an object whose undefined symbols are weak: libbpf does not refuse it for one that the kernel lacks."""

from __future__ import annotations

import struct

__all__ = ["weaken"]

# include/uapi/linux/elf.h: struct elf64_hdr, elf64_shdr, elf64_sym
_SECTIONS_AT, _SECTION_SIZES_AT = 0x28, 0x3A
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMTAB, _GLOBAL, _WEAK = 2, 1, 2


def weaken(data: bytes) -> bytes:
    """``data``: a sound little-endian ELF64 object, as libbpf has opened it."""
    copy = bytearray(data)
    (sections,) = struct.unpack_from("<Q", data, _SECTIONS_AT)
    size, count = struct.unpack_from("<HH", data, _SECTION_SIZES_AT)
    for index in range(count):
        _, kind, _, _, start, length, *_ = _SECTION.unpack_from(data, sections + index * size)
        if kind == _SYMTAB:
            for at in range(start, start + length, _SYMBOL.size):
                name, info, _, section, *_ = _SYMBOL.unpack_from(data, at)
                if name and not section and info >> 4 == _GLOBAL:
                    copy[at + 4] = _WEAK << 4 | info & 15
    return bytes(copy)
