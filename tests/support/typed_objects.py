"""Objects that any kernel loads but for their BTF: each uses a kind that old kernels do not know, or know otherwise.

The type is that of a global, and the value of a map, and its functions carry records; so it is looked at by the kernel
wherever types are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from support.btf_writer import BtfExtWriter, BtfWriter
from support.elf_writer import ALLOC, EXEC, FUNC, GLOBAL, LOCAL, NOTYPE, OBJECT, SECTION, WEAK, WRITE, ElfWriter
from support.sample_object import EXIT, add_map, assemble

Make: TypeAlias = Callable[[BtfWriter, int], tuple[int, int]]  # (writer, u32) -> (type id, bytes)

HASH = 1
R_64_64, R_64_32 = 1, 10
MOV, CALL, LD64 = 0xB7, 0x85, 0x18
XDP_PASS = 2


def _holding(w: BtfWriter, *members: tuple[str, int, int], size: int = 8) -> tuple[int, int]:
    return w.struct("holder", size, members), size


def _pointing(w: BtfWriter, type_: int) -> tuple[int, int]:
    return _holding(w, ("p", w.ptr(type_), 0))


def _float(w: BtfWriter, u32: int) -> tuple[int, int]:
    return _holding(w, ("single", w.float("float", 4), 0), ("double", w.float("double", 8), 64), size=16)


def _decl_tag(w: BtfWriter, u32: int) -> tuple[int, int]:
    held = _holding(w, ("a", u32, 0), ("b", u32, 32))
    w.decl_tag("of:the struct", held[0])
    w.decl_tag("of_a_member", held[0], component=1)
    return held


def _type_tag(w: BtfWriter, u32: int) -> tuple[int, int]:
    return _pointing(w, w.modifier("type_tag", w.modifier("type_tag", u32, name="rcu"), name="percpu"))


def _enum64(w: BtfWriter, u32: int) -> tuple[int, int]:
    wide = w.enum64("wide", [("SMALL", 1), ("LARGE", 1 << 40)])
    low = w.enum64("low", [("MINUS", -(1 << 40))], signed=True)
    return _holding(w, ("wide", wide, 0), ("low", low, 64), size=16)


def _signed_enum(w: BtfWriter, u32: int) -> tuple[int, int]:
    return _holding(w, ("e", w.enum("signed_enum", [("MINUS", -1), ("ZERO", 0)], signed=True), 0))


def _enums_of_all_sizes(w: BtfWriter, u32: int) -> tuple[int, int]:
    sizes = [w.enum(f"e{size}", [(f"E{size}_A", 0), (f"E{size}_B", 1)], size=size) for size in (1, 2, 8)]
    return _holding(w, ("one", sizes[0], 0), ("two", sizes[1], 16), ("eight", sizes[2], 64), size=16)


def _fwd(w: BtfWriter, u32: int) -> tuple[int, int]:
    return _holding(w, ("s", w.ptr(w.fwd("later")), 0), ("u", w.ptr(w.fwd("either", union=True)), 64), size=16)


def _bitfields(w: BtfWriter, u32: int) -> tuple[int, int]:
    return w.bitfields("bits", 8, [("low", u32, 0, 3), ("high", u32, 3, 29), ("plain", u32, 32, 0)]), 8


def _modifiers(w: BtfWriter, u32: int) -> tuple[int, int]:
    pointer = w.modifier("restrict", w.ptr(w.modifier("const", 0)))
    volatile = w.modifier("const", w.modifier("volatile", w.typedef("number", u32)))
    return _holding(w, ("p", pointer, 0), ("n", volatile, 64), size=16)


def _func_proto(w: BtfWriter, u32: int) -> tuple[int, int]:
    return _pointing(w, w.func_proto(u32, [("", u32), ("", w.ptr(0)), ("", 0)]))


def _func_tags(w: BtfWriter, u32: int) -> tuple[int, int]:
    func = w.func("tagged", w.func_proto(u32, [("a", u32), ("b", u32)]), linkage=0)
    w.decl_tag("of_a_function", func)
    w.decl_tag("of_a_parameter", func, component=1)
    return _holding(w, ("a", u32, 0))


def _unnamed_parameters(w: BtfWriter, u32: int) -> tuple[int, int]:
    w.func("unnamed", w.func_proto(u32, [("", u32), ("", w.ptr(0))]), linkage=0)
    return _holding(w, ("a", u32, 0))


def _rust_names(w: BtfWriter, u32: int) -> tuple[int, int]:
    inner = w.struct("core::option::Option<u32>", 4, [("{variant#0}", u32, 0)])
    w.enum("a::B<'c>", [("Some(T)", 1)])
    w.typedef("x::Y", u32)
    w.func("_RNvC4demo<impl>", w.func_proto(u32, [("self", u32)]), linkage=0)
    return _holding(w, ("0", inner, 0), ("__1", u32, 32))


def _kernel_types(w: BtfWriter, u32: int) -> tuple[int, int]:
    """Weak externs: a kfunc, a typed and an untyped variable, and a tag on one of them."""
    kfunc = w.func("bpf_no_such_kfunc", w.func_proto(u32, [("a", u32)]), linkage=2)
    variable, symbol = (
        w.var("no_such_variable", u32, linkage=2),
        w.var("no_such_symbol", w.modifier("const", 0), linkage=2),
    )
    w.datasec(".ksyms", [(kfunc, 0, 0), (variable, 0, 4), (symbol, 0, 0)])
    w.decl_tag("bpf_fastcall", kfunc)
    return _holding(w, ("a", u32, 0))


def _union(w: BtfWriter, u32: int) -> tuple[int, int]:
    inner = w.struct("", 4, [("x", u32, 0), ("y", w.array(w.int("unsigned char", 1), 4, index=u32), 0)], kind="union")
    return _holding(w, ("", inner, 0), ("z", u32, 32))


def _static_variable(w: BtfWriter, u32: int) -> tuple[int, int]:
    w.decl_tag("of_a_variable", w.var("lonely", u32, linkage=0))
    return _holding(w, ("a", u32, 0))


def _attribute(w: BtfWriter, u32: int) -> tuple[int, int]:
    """TYPE_TAG and DECL_TAG with kind_flag: __attribute__((...)) in general (Linux 6.15)."""
    tag = w.raw("address_space(1)", 18, u32, kflag=True)
    held = _pointing(w, tag)
    w.raw("preserve_access_index", 17, held[0], 0xFFFFFFFF, kflag=True)
    return held


KINDS: dict[str, Make] = {
    "float": _float,
    "decl_tag": _decl_tag,
    "type_tag": _type_tag,
    "enum64": _enum64,
    "signed enum": _signed_enum,
    "enums of 1, 2 and 8 bytes": _enums_of_all_sizes,
    "fwd": _fwd,
    "bitfields": _bitfields,
    "modifiers": _modifiers,
    "func_proto": _func_proto,
    "tags of functions": _func_tags,
    "unnamed parameters": _unnamed_parameters,
    "names of Rust": _rust_names,
    "externs": _kernel_types,
    "union": _union,
    "static variable": _static_variable,
    "attribute": _attribute,
}


def typed_object(make: Make, *, section: str = ".data", byteorder: str = "little") -> bytes:
    """An XDP program that calls a static function, which uses the map, and a global one; returns XDP_PASS.

    The functions lie in .text in another order than the program reaches them, and each line of "C" is the name of its
    function and the number of its instruction there.
    """

    def code(*rows: tuple[int, ...]) -> bytes:
        return assemble(*rows, byteorder=byteorder)

    elf, w = ElfWriter(byteorder), BtfWriter(byteorder=byteorder)
    ext = BtfExtWriter(w)
    u32 = w.int("unsigned int", 4)
    type_, size = make(w, u32)
    proto, main_proto = w.func_proto(u32, [("x", u32)]), w.func_proto(u32, [("ctx", w.ptr(0))])
    shared, hidden = w.func("shared", proto), w.func("hidden", proto, linkage=0)
    main = w.func("main_prog", main_proto)

    shared_rows = ((MOV, 0, 0, 0, XDP_PASS), EXIT)
    hidden_rows = ((LD64, 1), (0,), (LD64, 2), (0,), (MOV, 0, 0, 0, 1), EXIT)
    main_rows = ((MOV, 1, 0, 0, 7), (CALL, 0, 1, 0, -1), (MOV, 1, 0, 0, 8), (CALL, 0, 1, 0, -1), EXIT)
    text = elf.section(".text", code(*shared_rows, *hidden_rows), flags=ALLOC | EXEC)
    xdp = elf.section("xdp", code(*main_rows), flags=ALLOC | EXEC)
    maps = elf.section(".maps", bytes(32), flags=ALLOC | WRITE)
    data = elf.section(section, bytes(range(1, size + 1)), flags=ALLOC | WRITE)
    elf.section("license", b"GPL\0", flags=ALLOC | WRITE)

    elf.symbol("", text, type=SECTION, bind=LOCAL)
    hidden_symbol = elf.symbol(
        "hidden", text, value=8 * len(shared_rows), size=8 * len(hidden_rows), type=FUNC, bind=LOCAL
    )
    shared_symbol = elf.symbol("shared", text, size=8 * len(shared_rows), type=FUNC)
    elf.symbol("main_prog", xdp, size=8 * len(main_rows), type=FUNC)
    map_symbol, global_symbol = elf.symbol("m", maps, size=32), elf.symbol("g", data, size=size)
    for name in ("bpf_no_such_kfunc", "no_such_variable", "no_such_symbol"):
        elf.symbol(name, type=NOTYPE, bind=WEAK)
    elf.rel(text, [(16, map_symbol, R_64_64), (32, global_symbol, R_64_64)])
    elf.rel(xdp, [(8, hidden_symbol, R_64_32), (24, shared_symbol, R_64_32)])

    value = add_map(w, "m", {"type": HASH, "max_entries": 4}, pointers={"key": u32, "value": type_})
    w.datasec(".maps", [(value, 0, 32)])
    w.datasec(section, [(w.var("g", type_), 0, size)])
    for where, at, function in (("xdp", 0, main), (".text", 0, shared), (".text", 8 * len(shared_rows), hidden)):
        ext.func(where, at, function)
    for where, name, start, rows in (
        ("xdp", "main_prog", 0, main_rows),
        (".text", "shared", 0, shared_rows),
        (".text", "hidden", len(shared_rows), hidden_rows),
    ):
        for at, row in enumerate(rows):
            if row != (0,):
                ext.line(where, 8 * (start + at), file="typed.c", text=f"{name} {at}", line=100 + start + at)
    ext_bytes = ext.build()
    elf.section(".BTF", w.build(), flags=0)
    elf.section(".BTF.ext", ext_bytes, flags=0)
    return elf.build()


__all__ = ["GLOBAL", "KINDS", "OBJECT", "typed_object"]
