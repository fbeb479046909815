"""One object with a bit of everything, in either byte order, and handles on its parts."""

from __future__ import annotations

from support.btf_writer import BtfExtWriter, BtfWriter
from support.elf_writer import ALLOC, EXEC, FUNC, GLOBAL, LOCAL, NOBITS, NOTYPE, OBJECT, SECTION, WEAK, WRITE, ElfWriter

R_64_64, R_64_32 = 1, 10
BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PROG_ARRAY, BPF_MAP_TYPE_ARRAY_OF_MAPS = 1, 3, 12


def insn(code: int, *, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0, byteorder: str = "little") -> bytes:
    registers = dst | src << 4 if byteorder == "little" else dst << 4 | src
    order = "little" if byteorder == "little" else "big"
    return bytes((code, registers)) + (off & 0xFFFF).to_bytes(2, order) + (imm & 0xFFFFFFFF).to_bytes(4, order)


def assemble(*rows: tuple[int, ...], byteorder: str = "little") -> bytes:
    """Rows of (code, dst, src, off, imm); missing ones are 0."""
    padded = [(*row, *[0] * (5 - len(row))) for row in rows]
    return b"".join(
        insn(code, dst=dst, src=src, off=off, imm=imm, byteorder=byteorder) for code, dst, src, off, imm in padded
    )


LD64 = ((0x18, 1), (0,))  # r1 = <relocated> ll
CALL_FUNC = (0x85, 0, 1, 0, -1)
EXIT = (0x95,)


def add_map(btf: BtfWriter, name: str, fields: dict[str, int], *, pointers: dict[str, int] | None = None) -> int:
    """The VAR of a map with ``__uint(name, n)`` for ``fields`` and ``__type(name, type)`` for ``pointers``."""
    return btf.var(name, add_map_struct(btf, fields, pointers=pointers))


def add_map_struct(btf: BtfWriter, fields: dict[str, int], *, pointers: dict[str, int] | None = None) -> int:
    int_ = btf.int("int", 4, signed=True)
    members = [(field, btf.ptr(btf.array(int_, number, index=int_))) for field, number in fields.items()]
    members += [(field, btf.ptr(type_)) for field, type_ in (pointers or {}).items()]
    return btf.struct("", 8 * len(members), [(n, type_, 64 * at) for at, (n, type_) in enumerate(members)])


def sample(byteorder: str = "little") -> bytes:
    """Programs in xdp and ?kprobe/x, subprograms, a hash, an initialised program array, .data/.rodata/.bss, a kfunc,
    a ksym, a kconfig value, function, line and CO-RE records."""

    def code(*rows: tuple[int, ...]) -> bytes:
        return assemble(*rows, byteorder=byteorder)

    elf, btf = ElfWriter(byteorder), BtfWriter(byteorder=byteorder)
    ext = BtfExtWriter(btf)
    u32, u64 = btf.typedef("__u32", btf.int("unsigned int", 4)), btf.int("unsigned long", 8)
    char = btf.int("char", 1, signed=True)
    value = btf.struct("value", 16, [("packets", u64, 0), ("name", btf.array(char, 8), 64)])
    proto = btf.func_proto(u32, [("ctx", btf.ptr(0))])
    main, sub, probe = btf.func("main_prog", proto), btf.func("sub", proto, linkage=0), btf.func("probe", proto)

    # xdp: load map, load .data+4 (section symbol), call sub in .text, call kfunc, load ksym, CO-RE access, exit
    rows = (*LD64, (0x18, 2, 0, 0, 4), (0,), CALL_FUNC, (0x85, 0, 2, 0, -1), *LD64, (0x61, 1, 2, 8), EXIT)
    text = elf.section(".text", code((0xB7,), EXIT, (0x85, 0, 1, 0, -3), EXIT), flags=ALLOC | EXEC)
    xdp = elf.section("xdp", code(*rows), flags=ALLOC | EXEC)
    kprobe = elf.section("?kprobe/x", code(*LD64, EXIT), flags=ALLOC | EXEC)
    maps = elf.section(".maps", bytes(32 + 40), flags=ALLOC | WRITE)
    data = elf.section(
        ".data", b"\1\0\0\0\2\0\0\0" if byteorder == "little" else b"\0\0\0\1\0\0\0\2", flags=ALLOC | WRITE
    )
    rodata = elf.section(".rodata", b"%d\n\0", flags=ALLOC)
    bss = elf.section(".bss", type=NOBITS, size=16, flags=ALLOC | WRITE)
    elf.section("license", b"GPL\0", flags=ALLOC | WRITE)

    text_symbol = elf.symbol("", text, type=SECTION, bind=LOCAL)
    data_symbol = elf.symbol("", data, type=SECTION, bind=LOCAL)
    elf.symbol("first", data, value=0, size=4, bind=LOCAL)
    elf.symbol("second", data, value=4, size=4)
    elf.symbol("fmt", rodata, size=4, bind=LOCAL)
    zero = elf.symbol("zeroes", bss, size=16)
    elf.symbol("sub", text, size=16, type=FUNC, bind=LOCAL)
    elf.symbol("sub2", text, value=16, size=16, type=FUNC)
    main_symbol = elf.symbol("main_prog", xdp, size=len(rows) * 8, type=FUNC)
    elf.symbol("probe", kprobe, size=24, type=FUNC)
    hash_ = elf.symbol("counters", maps, size=32)
    elf.symbol("jumps", maps, value=32, size=40)
    kfunc = elf.symbol("bpf_kfunc", type=NOTYPE, bind=WEAK)
    ksym = elf.symbol("jiffies", type=NOTYPE)
    elf.symbol("CONFIG_HZ", type=NOTYPE)

    elf.rel(xdp, [(0, hash_, R_64_64), (16, data_symbol, R_64_64), (32, text_symbol, R_64_32),
                  (40, kfunc, R_64_32), (48, ksym, R_64_64)])  # fmt: skip
    elf.rel(kprobe, [(0, zero, R_64_64)])
    elf.rel(maps, [(32 + 32, main_symbol, 2)])

    counters = add_map(
        btf, "counters", {"type": BPF_MAP_TYPE_HASH, "max_entries": 64}, pointers={"key": u32, "value": value}
    )
    jumps = _jumps(btf, proto=proto)
    btf.datasec(".maps", [(counters, 0, 32), (jumps, 0, 40)])
    first, second = btf.var("first", u32, linkage=0), btf.var("second", u32)
    btf.datasec(".data", [(second, 0, 4), (first, 0, 4)])
    btf.datasec(".bss", [(btf.var("zeroes", value), 0, 16)])
    btf.datasec(".kconfig", [(btf.var("CONFIG_HZ", u32, linkage=2), 0, 4)])
    btf.datasec(".ksyms", [(btf.var("jiffies", btf.modifier("const", 0), linkage=2), 0, 0),
                           (btf.func("bpf_kfunc", proto, linkage=2), 0, 0)])  # fmt: skip

    for section, function in (("xdp", main), (".text", sub), ("?kprobe/x", probe)):
        ext.func(section, 0, function)
    ext.line("xdp", 0, file="a.c", text="  int x = lookup();", line=7, col=9)
    ext.line("xdp", 64, file="a.c", text="  return x;", line=9, col=2)
    ext.line(".text", 0, file="a.c", text="  return 0;", line=3)
    ext.core("xdp", 64, type_=value, access="0:1", kind=0)
    ext_bytes = ext.build()
    elf.section(".BTF", btf.build(), flags=0)
    elf.section(".BTF.ext", ext_bytes, flags=0)
    return elf.build()


def _jumps(btf: BtfWriter, *, proto: int) -> int:
    int_ = btf.int("int", 4, signed=True)

    def number(value: int) -> int:
        return btf.ptr(btf.array(int_, value, index=int_))

    members = [("type", number(BPF_MAP_TYPE_PROG_ARRAY)), ("max_entries", number(2)), ("key_size", number(4)),
               ("values", btf.array(btf.ptr(proto), 0))]  # fmt: skip
    return btf.var("jumps", btf.struct("", 24, [(n, type_, 64 * at) for at, (n, type_) in enumerate(members)]))


__all__ = ["GLOBAL", "OBJECT", "add_map", "add_map_struct", "assemble", "insn", "sample"]
