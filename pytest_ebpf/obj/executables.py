"""Programs and libraries of user space: which symbol is at which byte of the file, for uprobes."""

from __future__ import annotations

import struct
from difflib import get_close_matches
from io import BytesIO
from typing import TYPE_CHECKING

from pytest_ebpf.errors import ObjectError

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

__all__ = ["find_library", "find_symbol"]

_FUNC, _GNU_IFUNC = 2, 10  # STT_*
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CACHE_HEAD = 48  # magic, nlibs, len_strings, flags, extension_offset, unused (glibc sysdeps/generic/dl-cache.h)
_CACHE_ENTRY = struct.Struct("=iIIIQ")  # flags, key, value, osversion, hwcap


def find_symbol(data: bytes, symbol: str, *, path: str) -> int:
    """The place in the file (bytes) of a function of an ELF file, versions such as ``@@GLIBC_2.34`` left out.

    ``ObjectError``: no ELF file, or it has no such function; the names most like it are in the hint.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        file = ELFFile(BytesIO(data))
        functions = _functions(file, data)
        if symbol in functions:
            return _in_file(file, functions[symbol])
    except (ELFError, struct.error, ValueError, KeyError) as error:
        raise ObjectError(f"it is no program or library: {error}", path=path) from error
    close = get_close_matches(symbol, functions, n=3, cutoff=0.7)
    hint = f"did you mean {' or '.join(close)}?" if close else "it may be stripped: give offset= instead of symbol="
    raise ObjectError(f"it has no function {symbol!r}", path=path, hint=hint)


def find_library(cache: bytes, name: str, *, wide: bool = True) -> str:
    """The path that ``/etc/ld.so.cache`` has for a library ("libc.so.6", "libc.so" or "libc"), "" for none.
    ``wide``: of 64-bit programs; libraries of other word sizes are passed over."""
    start = cache.find(_CACHE_MAGIC)
    if start < 0 or len(cache) < start + _CACHE_HEAD:
        return ""
    (count,) = struct.unpack_from("=I", cache, start + len(_CACHE_MAGIC))
    end = start + _CACHE_HEAD + count * _CACHE_ENTRY.size
    if len(cache) < end:
        return ""
    for flags, key, value, _, _ in _CACHE_ENTRY.iter_unpack(cache[start + _CACHE_HEAD : end]):
        known = _text(cache, start + key)
        if (known == name or known.startswith((f"{name}.so", f"{name}."))) and (flags & 0xFF00 != 0) == wide:
            return _text(cache, start + value)
    return ""


def _functions(file: ELFFile, data: bytes) -> dict[str, int]:
    """Name -> address. What is not defined here (section 0) is left out."""
    order = "<" if file.little_endian else ">"
    row = struct.Struct(order + ("IBBHQQ" if file.elfclass == 64 else "IIIBBH"))
    found: dict[str, int] = {}
    for section in file.iter_sections():
        header = section.header
        if header["sh_type"] not in ("SHT_SYMTAB", "SHT_DYNSYM"):
            continue
        names = file.get_section(header["sh_link"]).data()
        start, size = header["sh_offset"], header["sh_size"]
        for values in row.iter_unpack(data[start : start + size - size % row.size]):
            name, info, home, value = _symbol(values, file.elfclass)
            if info & 15 in (_FUNC, _GNU_IFUNC) and home:
                found.setdefault(_text(names, name), value)
    return found


def _symbol(values: tuple[int, ...], width: int) -> tuple[int, int, int, int]:
    """(name, info, section, value) of an Elf64_Sym or Elf32_Sym."""
    if width == 64:
        return values[0], values[1], values[3], values[4]
    return values[0], values[3], values[5], values[1]


def _in_file(file: ELFFile, address: int) -> int:
    """Where the loaded segment that holds an address has it in the file."""
    for segment in file.iter_segments("PT_LOAD"):
        begin = segment["p_vaddr"]
        if begin <= address < begin + segment["p_filesz"]:
            return int(address - begin + segment["p_offset"])
    raise ValueError(f"address {address:#x} is in no segment")


def _text(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode(errors="replace")
