"""One BTF type of each kind, as bytes and as values."""

from __future__ import annotations

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.types import Kind
from support.btf_writer import BtfWriter


def every_kind(byteorder: str = "little") -> tuple[BtfWriter, dict[int, object]]:
    """One type of each kind, and what they should read as."""
    w = BtfWriter(byteorder=byteorder)
    want: dict[int, object] = {}
    u32 = w.int("u32", 4)
    want[u32] = t.Int("u32", 4, 32)
    want[w.int("long", 8, signed=True)] = t.Int("long", 8, 64, signed=True)
    want[w.int("char", 1, char=True)] = t.Int("char", 1, 8, is_char=True)
    want[w.int("bool", 1, bool_=True, bits=1)] = t.Int("bool", 1, 1, is_bool=True)
    pointer = w.ptr(u32)
    want[pointer] = t.Ptr(u32)
    want[w.array(u32, 7, index=u32)] = t.Array(u32, u32, 7)
    want[w.struct("pair", 16, [("a", u32, 0), ("", pointer, 64)])] = t.Struct(
        "pair", 16, (t.Member("a", u32, 0), t.Member("", pointer, 64))
    )
    want[w.struct("either", 4, [("a", u32, 0)], kind="union")] = t.Struct("either", 4, (t.Member("a", u32, 0),), True)
    want[w.bitfields("flags", 4, [("low", u32, 0, 3), ("high", u32, 3, 29)])] = t.Struct(
        "flags", 4, (t.Member("low", u32, 0, 3), t.Member("high", u32, 3, 29))
    )
    want[w.enum("e", [("A", 0), ("TOP", 0xFFFFFFFF)])] = t.Enum("e", 4, (("A", 0), ("TOP", 0xFFFFFFFF)))
    want[w.enum("s", [("MINUS", -1)], signed=True)] = t.Enum("s", 4, (("MINUS", -1),), signed=True)
    want[w.enum64("e64", [("BIG", 1 << 40)])] = t.Enum("e64", 8, (("BIG", 1 << 40),), is_64=True)
    want[w.enum64("s64", [("LOW", -(1 << 40))], signed=True)] = t.Enum("s64", 8, (("LOW", -(1 << 40)),), True, True)
    want[w.fwd("later", union=True)] = t.Fwd("later", is_union=True)
    want[w.typedef("__u32", u32)] = t.Typedef("__u32", u32)
    for kind in ("volatile", "const", "restrict"):
        want[w.modifier(kind, u32)] = t.Modifier(Kind[kind.upper()], u32)
    want[w.modifier("type_tag", u32, name="user")] = t.Modifier(Kind.TYPE_TAG, u32, "user")
    proto = w.func_proto(u32, [("x", u32), ("", 0)])
    want[proto] = t.FuncProto(u32, (t.Param("x", u32), t.Param("", 0)))
    want[w.func("f", proto, linkage=2)] = t.Func("f", proto, 2)
    variable = w.var("v", u32, linkage=1)
    want[variable] = t.Var("v", u32, 1)
    want[w.datasec(".data", [(variable, 8, 4)], size=12)] = t.DataSec(".data", 12, (t.SecVar(variable, 8, 4),))
    want[w.float("double", 8)] = t.Float("double", 8)
    want[w.decl_tag("tag", u32)] = t.DeclTag("tag", u32, -1)
    want[w.decl_tag("tag2", u32, component=1)] = t.DeclTag("tag2", u32, 1)
    return w, want
