"""Programs and libraries of user space: which symbol is at which byte of the file, for uprobes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.suggest import close_names, did_you_mean

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

__all__ = [
    "find_libraries",
    "function_places",
    "functions_by_place",
    "is_native",
    "match_symbols",
    "place_in_file",
    "readable_elf",
]

_FUNC, _GNU_IFUNC = 2, 10  # STT_*
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CACHE_HEAD = 48  # magic, nlibs, len_strings, flags, extension_offset, unused (glibc sysdeps/generic/dl-cache.h)
_CACHE_ENTRY = struct.Struct("=iIIIQ")  # flags, key, value, osversion, hwcap
_ELF_HEAD, _WIDE = 20, 2  # up to e_machine; ELFCLASS64
# uname -m -> (EI_CLASS, e_machine) of its own programs
_NATIVE: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "x86_64": (2, 62),
        "i386": (1, 3),
        "i686": (1, 3),
        "aarch64": (2, 183),
        "armv7l": (1, 40),
        "riscv64": (2, 243),
        "s390x": (2, 22),
        "ppc64": (2, 21),
        "ppc64le": (2, 21),
        "loongarch64": (2, 258),
    }
)


def function_places(data: bytes, symbols: Sequence[str], *, path: str) -> tuple[int, ...]:
    """Where functions of an ELF file are in it, in bytes. A version may be named (``memcpy@GLIBC_2.14``).

    ``ObjectError``: not an ELF file, or it has no such function; the names most like it are in the hint.
    """
    with readable_elf(path):
        file = _elf(data)
        functions = _functions(file, data)
        named = [_versioned(file, data, symbol=each) if "@" in each else functions.get(each) for each in symbols]
        if None not in named:
            return tuple(place_in_file(file, each) for each in named if each is not None)
    missing = symbols[named.index(None)]
    stripped = "it may be stripped: give offset= instead of symbol="
    hint = did_you_mean(missing, functions, cutoff=0.7, otherwise=stripped)
    raise ObjectError(f"it has no function {missing!r}", path=path, hint=hint)


def match_symbols(data: bytes, pattern: str, *, path: str) -> tuple[str, ...]:
    """The functions of an ELF file whose names fit a pattern ("SSL_*"), one name per place. ``ObjectError``: none."""
    with readable_elf(path):
        functions = _functions(_elf(data), data)
    by_place = {place: name for name, place in functions.items() if fnmatchcase(name, pattern)}
    if not by_place:
        close = close_names(pattern.strip("*?"), functions)
        hint = f"it has {', '.join(close)}" if close else ""
        raise ObjectError(f"none of its functions matches {pattern!r}", path=path, hint=hint)
    return tuple(sorted(by_place.values()))


def functions_by_place(data: bytes, *, path: str) -> list[tuple[int, str]]:
    """(place in the file, name) of every function, in order. ``ObjectError``: no ELF file."""
    with readable_elf(path):
        file = _elf(data)
        segments = [(one["p_vaddr"], one["p_filesz"], one["p_offset"]) for one in file.iter_segments("PT_LOAD")]
        return sorted(
            (address - begin + offset, name)
            for name, address in _functions(file, data).items()
            for begin, size, offset in segments
            if begin <= address < begin + size
        )


def _elf(data: bytes) -> ELFFile:
    from elftools.elf.elffile import ELFFile

    return ELFFile(BytesIO(data))


@contextmanager
def readable_elf(path: str, *, what: str = "it is no program or library", section: str = "") -> Iterator[None]:
    """``ObjectError`` with ``what`` for whatever goes wrong in reading an ELF file."""
    try:
        yield
    except ObjectError:
        raise
    except Exception as error:  # pyelftools trusts what it reads: damaged files end in errors of many types
        raise ObjectError(f"{what}: {error or type(error).__name__}", path=path, section=section) from error


def find_libraries(cache: bytes, name: str) -> list[str]:
    """The paths that ``/etc/ld.so.cache`` has for a library ("libc.so.6", "libc.so" or "libc"), of every word size and
    ABI, in its order. What a library is made for is in the file itself: see ``is_native``."""
    start = cache.find(_CACHE_MAGIC)
    if start < 0 or len(cache) < start + _CACHE_HEAD:
        return []
    (count,) = struct.unpack_from("=I", cache, start + len(_CACHE_MAGIC))
    end = start + _CACHE_HEAD + count * _CACHE_ENTRY.size
    if len(cache) < end:
        return []
    found = []
    for _, key, value, _, _ in _CACHE_ENTRY.iter_unpack(cache[start + _CACHE_HEAD : end]):
        known = _text(cache, start + key)
        if known == name or known.startswith((f"{name}.so", f"{name}.")):
            found.append(_text(cache, start + value))
    return list(dict.fromkeys(found))


def is_native(head: bytes, machine: str) -> bool:
    """Whether an ELF file, by its first 20 bytes, is of the word size and machine of programs there. ``machine``: as
    ``uname -m`` has it; where it is not known, every file of 64 bits is. x32 is x86-64's machine with 32 bits."""
    if len(head) < _ELF_HEAD or head[:4] != b"\x7fELF":
        return False
    width = head[4]
    (kind,) = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)
    wanted = _NATIVE.get(machine)
    return (width, kind) == wanted if wanted is not None else width == _WIDE


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


def _versioned(file: ELFFile, data: bytes, *, symbol: str) -> int | None:
    """The address of ``name@VERSION`` (or ``name@@VERSION``), None for none: .gnu.version says which version each
    dynamic symbol has, .gnu.version_d what the versions are called."""
    from elftools.elf.gnuversions import GNUVerDefSection, GNUVerSymSection
    from elftools.elf.sections import SymbolTableSection

    name, _, wanted = symbol.partition("@")
    wanted = wanted.lstrip("@")
    numbers = next((each for each in file.iter_sections() if isinstance(each, GNUVerSymSection)), None)
    known = next((each for each in file.iter_sections() if isinstance(each, GNUVerDefSection)), None)
    symbols = file.get_section_by_name(".dynsym")
    if numbers is None or known is None or not isinstance(symbols, SymbolTableSection):
        return None
    index = {each["vd_ndx"]: next(names).name for each, names in known.iter_versions()}
    for place, each in enumerate(symbols.iter_symbols()):
        number = numbers.get_symbol(place)["ndx"]
        if each.name == name and isinstance(number, int) and index.get(number & 0x7FFF) == wanted and each["st_shndx"]:
            return int(each["st_value"])
    return None


def _symbol(values: tuple[int, ...], width: int) -> tuple[int, int, int, int]:
    """(name, info, section, value) of an Elf64_Sym or Elf32_Sym."""
    if width == 64:
        return values[0], values[1], values[3], values[4]
    return values[0], values[3], values[5], values[1]


def place_in_file(file: ELFFile, address: int) -> int:
    """Where the loaded segment that holds an address has it in the file."""
    for segment in file.iter_segments("PT_LOAD"):
        begin = segment["p_vaddr"]
        if begin <= address < begin + segment["p_filesz"]:
            return int(address - begin + segment["p_offset"])
    raise ValueError(f"address {address:#x} is in no segment")


def _text(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode(errors="replace")
