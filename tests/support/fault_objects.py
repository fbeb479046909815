"""Objects that no compiler at hand writes, byte by byte. Each function gives the bytes of one; its description says
which line of issue 12 it shows. Every program returns 2 (XDP_PASS) unless its name says otherwise."""

from __future__ import annotations

import struct

from support.btf_writer import BtfExtWriter, BtfWriter
from support.elf_writer import ALLOC, EXEC, FUNC, WRITE, ElfWriter
from support.sample_object import EXIT, R_64_64, add_map, assemble

RETURN_2 = ((0xB7, 0, 0, 0, 2), EXIT)


def program_with_types(btf: BtfWriter, *, license: bytes = b"GPL\0", section: str = "xdp", ext: bytes = b"") -> bytes:
    """A program that needs no BTF, in an object that has some."""
    elf = ElfWriter()
    code = elf.section(section, assemble(*RETURN_2), flags=ALLOC | EXEC)
    elf.symbol("gives_2", code, size=16, type=FUNC)
    if license:
        elf.section("license", license, flags=ALLOC | WRITE)
    elf.section(".BTF", btf.build(), flags=0)
    if ext:
        elf.section(".BTF.ext", ext, flags=0)
    return elf.build()


def named_type(kind: str, name: str = "named") -> bytes:
    """Line 3: a type that must not have a name has one. ``kind``: "ptr", "const", "volatile", "restrict", "array",
    "func_proto"."""
    btf = BtfWriter()
    number = btf.int("int", 4, signed=True)
    if kind == "array":
        btf.raw(name, 3, 0, number, number, 4)
    elif kind == "func_proto":
        btf.raw(name, 13, number)
    else:
        btf.raw(name, {"ptr": 2, "volatile": 9, "const": 10, "restrict": 11}[kind], number)
    return program_with_types(btf)


def long_name(length: int) -> bytes:
    """Line 3: a struct whose name is longer than kernels take: 127 characters before Linux 6.1, 511 since."""
    btf = BtfWriter()
    btf.struct("n" * length, 4, [("x", btf.int("int", 4, signed=True), 0)])
    return program_with_types(btf)


def signed_char() -> bytes:
    """Line 3: INT with two encodings (signed and char), as GCC 12 writes ``char``."""
    btf = BtfWriter()
    btf.int("char", 1, signed=True, char=True)
    return program_with_types(btf)


def dangling_func(proto: int) -> bytes:
    """Line 3: FUNC whose prototype is ``proto``, 0 (clang 14 -g1) or beyond the last type (later ones)."""
    btf = BtfWriter()
    function = btf.func("gives_2", proto)
    ext = BtfExtWriter(btf)
    ext.func("xdp", 0, function)
    ext.line("xdp", 0, file="a.c", text="return 2;", line=1)
    return program_with_types(btf, ext=ext.build())


def stale_ext(*, type_: int = 900, name: int = 90000) -> bytes:
    """Line 3: .BTF was written anew (``pahole -J``), .BTF.ext is of before: its types and strings are not there."""
    btf = BtfWriter()
    btf.int("int", 4, signed=True)
    ext = BtfExtWriter(btf)
    ext.func("xdp", 0, type_)
    ext.line("xdp", 0, file="a.c", text="return 2;", line=1)
    data = bytearray(ext.build())
    lines = struct.unpack_from("<I", data, 16)[0] + 32 + 4 + 8  # line_info_off, header, record size, section head
    struct.pack_into("<II", data, lines + 4, name, name + 1)
    return program_with_types(btf, ext=bytes(data))


def void_variable() -> bytes:
    """Line 23: a variable of type void, as clang 14 writes one for ``double _Complex z``."""
    elf, btf = ElfWriter(), BtfWriter()
    code = elf.section("xdp", assemble(*RETURN_2), flags=ALLOC | EXEC)
    data = elf.section(".bss", type=8, size=16, flags=ALLOC | WRITE)
    elf.section("license", b"GPL\0", flags=ALLOC | WRITE)
    elf.symbol("gives_2", code, size=16, type=FUNC)
    elf.symbol("z", data, size=16)
    btf.datasec(".bss", [(btf.var("z", 0), 0, 16)])
    elf.section(".BTF", btf.build(), flags=0)
    return elf.build()


def machine_0() -> bytes:
    """Line 18: e_machine EM_NONE, which libbpf takes for BPF."""
    elf = ElfWriter(machine=0)
    code = elf.section("xdp", assemble(*RETURN_2), flags=ALLOC | EXEC)
    elf.section("license", b"GPL\0", flags=ALLOC | WRITE)
    elf.symbol("gives_2", code, size=16, type=FUNC)
    return elf.build()


def needs_gpl(*, license: bytes | None, maps: str = "", name: str = "gives_2") -> bytes:
    """Line 22: a helper that is GPL-only (bpf_trace_printk) in an object whose license is ``license`` (None: no such
    section). ``maps``: "maps" for a map as aya-ebpf defines it, ".maps" for BTF, "" for none."""
    elf, btf = ElfWriter(), BtfWriter()
    text = ((0xB7, 1, 0, 0, 0), (0x7B, 10, 1, -8), (0xBF, 1, 10), (0x07, 1, 0, 0, -8), (0xB7, 2, 0, 0, 8))
    load = ((0x18, 6), (0,)) if maps else ()
    rows = (*load, *text, (0x85, 0, 0, 0, 6), *RETURN_2)
    code = elf.section("xdp", assemble(*rows), flags=ALLOC | EXEC)
    if license is not None:
        elf.section("license", license, flags=ALLOC | WRITE)
    elf.symbol(name, code, size=8 * len(rows), type=FUNC)
    if maps == "maps":
        definition = struct.pack("<7I", 2, 4, 4, 1, 0, 0, 0)
        counts = elf.symbol("COUNTS", elf.section("maps", definition, flags=ALLOC | WRITE), size=28)
        elf.rel(code, [(0, counts, R_64_64)])
    elif maps:
        counts = elf.symbol("COUNTS", elf.section(".maps", bytes(32), flags=ALLOC | WRITE), size=32)
        elf.rel(code, [(0, counts, R_64_64)])
        u32 = btf.int("u32", 4)
        var = add_map(btf, "COUNTS", {"type": 2, "max_entries": 1}, pointers={"key": u32, "value": u32})
        btf.datasec(".maps", [(var, 0, 32)])
        elf.section(".BTF", btf.build(), flags=0)
    return elf.build()


X86_64, X32, I386, AARCH64 = 0x0303, 0x0803, 0x0003, 0x0A03  # flags of libraries in ld.so.cache (glibc, ldconfig.h)


def library_cache(rows: list[tuple[str, str, int]]) -> bytes:
    """Line 17: /etc/ld.so.cache of (name, path, flags), in the order in which ldconfig wrote them: x32 may be first."""
    head, entries, strings = 48, 24 * len(rows), b""
    table = b""
    for name, path, flags in rows:
        places = []
        for text in (name, path):
            places.append(head + entries + len(strings))
            strings += text.encode() + b"\0"
        table += struct.pack("=iIIIQ", flags, places[0], places[1], 0, 0)
    magic = b"glibc-ld.so.cache1.1"
    return magic + struct.pack("=7I", len(rows), len(strings), 2, 0, 0, 0, 0) + table + strings


def flexible_in_padding() -> tuple[bytes, int, bytes]:
    """Line 20: (BTF, type id, value) of ``struct {u32 n; u8 flags; u16 rest[];}``: the array begins in the tail
    padding, at byte 6 of 8. A value of 12 bytes holds three elements: 7, 8 and 9."""
    btf = BtfWriter()
    u32, u8, u16 = btf.int("u32", 4), btf.int("u8", 1), btf.int("u16", 2)
    struct_ = btf.struct("flexible", 8, [("n", u32, 0), ("flags", u8, 32), ("rest", btf.array(u16, 0, index=u32), 48)])
    return btf.build(), struct_, struct.pack("<IBxHHH", 3, 1, 7, 8, 9)


def rodata_pointer() -> bytes:
    """Line 20: a constant table of pointers: a pointer in .rodata to a variable, which a loader has to set or refuse by
    name. (``const char *names[]``; the program loads ``names[0]`` and reads through it.)"""
    elf = ElfWriter()
    rows = ((0x18, 1), (0,), (0x79, 1, 1, 0), (0x71, 0, 1, 0), EXIT)  # r1 = &names; r1 = *r1; r0 = *(u8 *)r1
    code = elf.section("xdp", assemble(*rows), flags=ALLOC | EXEC)
    rodata = elf.section(".rodata", bytes(8) + b"\2\0\0\0\0\0\0\0", flags=ALLOC)
    elf.section("license", b"GPL\0", flags=ALLOC | WRITE)
    names = elf.symbol("names", rodata, size=8)
    text = elf.symbol("text", rodata, value=8, size=8)
    elf.symbol("gives_2", code, size=8 * len(rows), type=FUNC)
    elf.rel(code, [(0, names, R_64_64)])
    elf.rel(rodata, [(0, text, 2)])
    return elf.build()


def nobits_btf(*, machine: int = 62) -> bytes:
    """Line 20: what ``objcopy --only-keep-debug`` leaves of a kernel: .BTF is there in name only (NOBITS)."""
    elf = ElfWriter(machine=machine)
    elf.section(".BTF", type=8, size=4096, flags=ALLOC)
    return elf.build()


def btf_of_machine(machine: int) -> bytes:
    """Line 20: an ELF file of any machine (183: AArch64, 62: x86-64) with a good .BTF."""
    elf, btf = ElfWriter(machine=machine, type=2), BtfWriter()
    btf.struct("one", 4, [("x", btf.int("int", 4, signed=True), 0)])
    elf.section(".BTF", btf.build(), flags=ALLOC)
    return elf.build()


__all__ = [
    "AARCH64",
    "I386",
    "X32",
    "X86_64",
    "btf_of_machine",
    "dangling_func",
    "flexible_in_padding",
    "library_cache",
    "long_name",
    "machine_0",
    "named_type",
    "needs_gpl",
    "nobits_btf",
    "program_with_types",
    "rodata_pointer",
    "signed_char",
    "stale_ext",
    "void_variable",
]
