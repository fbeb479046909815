from __future__ import annotations

import pytest

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import Btf, dump_index, load_index, parse_btf
from pytest_ebpf.btf.types import Kind, essential_name
from pytest_ebpf.errors import ObjectError
from support.btf_writer import BtfWriter
from support.every_kind import every_kind

each_order = pytest.mark.parametrize("byteorder", ["little", "big"])


@each_order
def test_every_kind_reads_as_written(byteorder: str) -> None:
    writer, want = every_kind(byteorder)
    btf = parse_btf(writer.build())
    assert btf.byteorder == byteorder
    assert len(btf) == len(want) + 1
    assert dict(btf) == want
    assert {kind for kind in Kind if kind} <= {btf.kind(type_id) for type_id in btf.ids()}
    assert btf.type(0) == t.Void()


@each_order
def test_name_and_kind_need_no_type(byteorder: str) -> None:
    writer, want = every_kind(byteorder)
    btf = parse_btf(writer.build())
    for type_id, type_ in want.items():
        assert btf.name(type_id) == type_.name  # type: ignore[attr-defined]
        assert btf.kind(type_id) == type_.kind  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "essential"),
    [
        ("task_struct", "task_struct"),
        ("task_struct___old", "task_struct"),
        ("a___b___c", "a___b"),
        ("x____y", "x____y"),
        ("a___b____c", "a"),
        ("a____b___c", "a____b"),
        ("___a", "___a"),
        ("a___", "a___"),
        ("", ""),
    ],
)
def test_essential_name_follows_libbpf(name: str, essential: str) -> None:
    assert essential_name(name) == essential


def named() -> Btf:
    w = BtfWriter()
    u32 = w.int("u32", 4)
    w.struct("task", 4, [("a", u32, 0)])
    w.struct("task___old", 4, [("a", u32, 0)])
    w.typedef("task", u32)
    w.struct("task", 8, [("a", u32, 0)])
    w.struct("", 4, [("a", u32, 0)])
    return parse_btf(w.build())


def test_find_is_exact_and_ascending() -> None:
    btf = named()
    assert btf.find("task") == (2, 4, 5)
    assert btf.find("task", Kind.STRUCT) == (2, 5)
    assert btf.find("task___old") == (3,)
    assert btf.find("tas") == ()
    assert btf.find("") == ()


def test_find_flavours_compares_essential_names() -> None:
    btf = named()
    assert btf.find_flavours("task", Kind.STRUCT) == (2, 3, 5)
    assert btf.find_flavours("task___old") == ()


def test_a_name_that_is_the_tail_of_another_is_found() -> None:
    w = BtfWriter()
    whole = w.int("unsigned_long", 8)
    w.offsets["long"] = w.offsets["unsigned_long"] + len("unsigned_")
    tail = w.int("long", 8)
    btf = parse_btf(w.build())
    assert (btf.find("long"), btf.find("unsigned_long")) == ((tail,), (whole,))


def test_split_btf_continues_ids_strings_and_names() -> None:
    base = BtfWriter()
    u32 = base.int("u32", 4)
    parsed = parse_btf(base.build())
    split = BtfWriter(first_id=len(parsed), first_string=parsed.string_end)
    split.offsets["u32"] = 1  # a string of the base
    struct = split.struct("own", 4, [("field", u32, 0)])
    alias = split.typedef("u32", struct)
    btf = parse_btf(split.build(), base=parsed)
    assert (len(btf), list(btf.ids())) == (4, [2, 3])
    assert btf.type(u32) == t.Int("u32", 4, 32)
    assert btf.type(struct) == t.Struct("own", 4, (t.Member("field", u32, 0),))
    assert btf.find("u32") == (u32, alias)
    assert (btf.name(alias), btf.kind(u32), btf.size(struct)) == ("u32", Kind.INT, 4)


def test_split_btf_of_the_other_byte_order_is_refused() -> None:
    base = parse_btf(BtfWriter().build())
    with pytest.raises(ObjectError, match="big endian, its base is not"):
        parse_btf(BtfWriter(byteorder="big").build(), base=base)


def test_resolve_and_size_look_through_names() -> None:
    w = BtfWriter()
    u16 = w.int("u16", 2)
    const = w.modifier("const", w.typedef("alias", w.modifier("volatile", u16)))
    array = w.array(w.typedef("row", w.array(const, 3)), 5)
    variable = w.var("v", array)
    btf = parse_btf(w.build())
    assert btf.resolve(const) == u16
    assert btf.size(const) == 2
    assert (btf.size(array), btf.size(variable)) == (30, 30)


@pytest.mark.parametrize("make", ["fwd", "func_proto", "void"])
def test_size_of_what_has_none(make: str) -> None:
    w = BtfWriter()
    target = {"fwd": lambda: w.fwd("f"), "func_proto": lambda: w.func_proto(0), "void": lambda: 0}[make]()
    alias = w.typedef("alias", target)
    with pytest.raises(ObjectError, match="has no size"):
        parse_btf(w.build()).size(alias)


def test_a_loop_of_typedefs_ends() -> None:
    w = BtfWriter()
    w.typedef("a", 2)
    w.typedef("b", 1)
    btf = parse_btf(w.build())
    with pytest.raises(ObjectError, match="loop"):
        btf.resolve(1)
    with pytest.raises(ObjectError, match="has no size"):
        btf.size(1)


def test_pointers_take_8_bytes_whatever_they_point_at() -> None:
    w = BtfWriter()
    w.ptr(1)
    assert parse_btf(w.build()).size(1) == 8


def test_ids_and_strings_that_do_not_exist() -> None:
    btf = named()
    for type_id in (len(btf), -1, 1 << 40):
        with pytest.raises(ObjectError, match="no BTF type"):
            btf.type(type_id)
    with pytest.raises(ObjectError, match="outside"):
        btf.string(btf.string_end)


GOOD = named().data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not BTF"),
        (b"\0" * 40, "not BTF"),
        (GOOD[:20], "cut off"),
        (GOOD[:-1], "strings end"),
        (GOOD[:2] + b"\2" + GOOD[3:], "version 2"),
        (GOOD[:4] + b"\x08" + GOOD[5:], "header of 8"),
        (GOOD[:4] + b"\xff\xff" + GOOD[6:], "header of"),
        (GOOD[:12] + b"\xff\xff\xff" + GOOD[15:], "types end"),
        (GOOD[:12] + bytes((GOOD[12] - 2,)) + GOOD[13:], "not a multiple of 4"),
        (GOOD[:12] + bytes((GOOD[12] - 4,)) + GOOD[13:], "cut off"),
        (GOOD[:-1] + b"x", "do not end in a NUL"),
    ],
)
def test_broken_btf_says_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(ObjectError, match=says):
        parse_btf(data)


def test_a_kind_that_nobody_knows() -> None:
    w = BtfWriter()
    w.int("u32", 4)
    w.raw("new", 25, 0)
    with pytest.raises(ObjectError, match="unknown kind 25") as caught:
        parse_btf(w.build())
    assert caught.value.offset == 16


def test_a_new_kind_is_stepped_over_by_its_layout() -> None:
    w = BtfWriter()
    w.int("u32", 4)
    new = w.raw("new", 25, 7, 0xAA, 1, 2, 3, 4, vlen=2)  # 4 bytes, then 2 items of 8
    after = w.int("u64", 8)
    layout = bytes(4 * 25) + bytes((4, 8, 0, 0))
    btf = parse_btf(w.build(layout=layout))
    opaque = btf.type(new)
    assert isinstance(opaque, t.Opaque)
    assert (opaque.kind, opaque.name, opaque.type, len(opaque.data)) == (25, "new", 7, 20)
    assert btf.name(after) == "u64"


def test_names_that_overlap_a_million_times_are_refused() -> None:
    """A long string whose every suffix is a name must not be read out as a quadratic amount of text."""
    w = BtfWriter()
    w.strings = b"\0" + b"x" * 40_000 + b"\0"
    for at in range(20_000):
        w.offsets["tail"] = 1 + at
        w.int("tail", 4)
    btf = parse_btf(w.build())
    with pytest.raises(ObjectError, match="overlap"):
        btf.find("x")


def test_saved_index_finds_what_a_fresh_one_does() -> None:
    btf = named()
    again = load_index(btf.data, dump_index(btf))
    assert dict(again) == dict(btf)
    assert again.find("task") == btf.find("task")


def test_a_damaged_saved_index_is_refused() -> None:
    saved = dump_index(named())
    for bad in (b"", saved[:30], saved[:-4], saved[:40] + bytes((saved[40] ^ 1,)) + saved[41:], b"x" + saved[1:]):
        with pytest.raises(ObjectError):
            load_index(GOOD, bad)
