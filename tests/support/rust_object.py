"""An object as rustc 1.95, aya-ebpf 0.2 and bpf-linker 0.13 make one: what is different in it from clang's."""

from __future__ import annotations

import struct

from support.btf_writer import BtfWriter
from support.elf_writer import ALLOC, EXEC, FUNC, LOCAL, NOTYPE, WRITE, ElfWriter
from support.sample_object import CALL_FUNC, EXIT, LD64, R_64_32, R_64_64, assemble

HASH, ARRAY, PERCPU_HASH = 1, 2, 5


def mangled(name: str) -> str:
    """As bpf-linker writes the name of a Rust type."""
    return "".join(letter if letter.isalnum() or letter == "_" else f"_{ord(letter):02X}_" for letter in name)


def wrapper(btf: BtfWriter, name: str, *, inner: int, size: int) -> int:
    """``name<...>`` around ``inner`` as core has it: MaybeUninit is a union of () and the value."""
    unit = btf.raw("()", 1, 0, 0)
    value = btf.struct(mangled(f"ManuallyDrop<{name}>"), size, [("value", inner, 0)])
    union = btf.struct(mangled(f"MaybeUninit<{name}>"), size, [("uninit", unit, 0), ("value", value, 0)], kind="union")
    return btf.struct(mangled(f"Global<{name}>"), size, [("value", union, 0)])


def rust_types(btf: BtfWriter) -> dict[str, int]:
    """Names of types to ids: numbers, a struct, an enum of one byte, an array, ``Global<u32>``."""
    u8, u32, u64 = btf.int("u8", 1), btf.int("u32", 4), btf.int("u64", 8)
    kind = btf.enum("Kind", [("Tcp", 6), ("Udp", 17)], size=1)
    flags = btf.array(u8, 3, index=u32)
    flow = btf.struct("Flow", 16, [("port", u32, 0), ("kind", kind, 32), ("flags", flags, 40), ("seen", u64, 64)])
    name = btf.array(u8, 32, index=u32)
    limit = wrapper(btf, "u32", inner=u32, size=4)
    return {"u8": u8, "u32": u32, "u64": u64, "Flow": flow, "[u8; 32]": name, "Global<u32>": limit}


def rust_object(maps: dict[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """``maps``: name -> (the Rust type of the static, type and sizes of its definition). A program in ``xdp`` calls a
    subprogram in ``.text`` and reads ``LIMIT`` and a constant that the compiler put into ``.rodata.cst8``."""
    elf, btf = ElfWriter(), BtfWriter()
    ids = rust_types(btf)
    text = elf.section(".text", assemble((0xB7, 0, 0, 0, 5), EXIT, (0xB7,), EXIT), flags=ALLOC | EXEC)
    xdp = elf.section("xdp", assemble(CALL_FUNC, *LD64, *LD64, (0xB7, 0, 0, 0, 2), EXIT), flags=ALLOC | EXEC)
    rodata = elf.section(".rodata", struct.pack("<I", 10))
    constants = elf.section(".rodata.cst8", struct.pack("<Q", 1))
    elf.section("license", b"Dual MIT/GPL\0")
    helper = elf.symbol("_RNvCs3pA2cfMvKKz_7globals6helper", text, size=16, type=FUNC, bind=LOCAL)
    elf.symbol("memcpy", text, value=16, size=16, type=FUNC, hidden=True)
    anonymous = elf.symbol("anon.20e0fdb8eacafd7958bd614ee0eb895a.0", constants, size=8, bind=LOCAL)
    section = elf.section("maps", _definitions(maps), flags=ALLOC | WRITE)
    elf.symbol("", section, type=NOTYPE, bind=LOCAL)
    elf.symbol("globals", xdp, size=56, type=FUNC)
    limit = elf.symbol("LIMIT", rodata, size=4)
    variables = [btf.var("LIMIT", ids["Global<u32>"])]
    for at, (name, (rust, _)) in enumerate(maps.items()):
        elf.symbol(name, section, value=28 * at, size=28)
        variables.append(btf.var(name, btf.struct(mangled(rust), 28, [("def", ids["u32"], 0)])))
    elf.rel(xdp, [(0, helper, R_64_32), (8, limit, R_64_64), (24, anonymous, R_64_64)])
    # bpf-linker leaves sizes and offsets of sections to the loader, and lists the maps like data
    btf.datasec(".rodata", [(variables[0], 0, 4)], size=0)
    btf.datasec("maps", [(var, 0, 28) for var in variables[1:]], size=0)
    elf.section(".BTF", btf.build(), flags=0)
    return elf.build()


def _definitions(maps: dict[str, tuple[str, tuple[int, ...]]]) -> bytes:
    return b"".join(struct.pack("<7I", *numbers, *[0] * (7 - len(numbers))) for _, numbers in maps.values())
