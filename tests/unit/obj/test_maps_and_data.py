from __future__ import annotations

import struct

import pytest

from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.btf.types import DataSec
from pytest_ebpf.btf.write import rewrite_btf
from pytest_ebpf.obj.object import DataReloc, MapDef, ObjectFile, Reloc, SlotInit, Variable
from pytest_ebpf.obj.parse import parse_object
from support.btf_writer import BtfWriter
from support.elf_writer import ALLOC, EXEC, FUNC, LOCAL, NOBITS, SECTION, WRITE, ElfWriter
from support.sample_object import EXIT, R_64_64, add_map, add_map_struct, assemble, sample

each_order = pytest.mark.parametrize("byteorder", ["little", "big"])
HASH, ARRAY, PROG_ARRAY, ARRAY_OF_MAPS, RINGBUF, ARENA = 1, 2, 3, 12, 27, 33


class Maps:
    """An object with maps in ".maps", each 64 bytes long."""

    def __init__(self, byteorder: str = "little") -> None:
        self.byteorder = byteorder
        self.btf = BtfWriter(byteorder=byteorder)
        self.u32 = self.btf.int("unsigned int", 4)
        self.vars: list[int] = []
        self.names: list[str] = []
        self.rels: list[tuple[int, str]] = []

    def add(self, name: str, fields: dict[str, int], **pointers: int) -> None:
        self.vars.append(add_map(self.btf, name, fields, pointers=pointers))
        self.names.append(name)

    def add_struct(self, name: str, members: list[tuple[str, int]]) -> None:
        struct_ = self.btf.struct("", 8 * len(members), [(n, type_, 64 * at) for at, (n, type_) in enumerate(members)])
        self.vars.append(self.btf.var(name, struct_))
        self.names.append(name)

    def uint(self, number: int) -> int:
        return self.btf.ptr(self.btf.array(self.u32, number))

    def parse(self) -> ObjectFile:
        elf = ElfWriter(self.byteorder)
        xdp = elf.section("xdp", assemble(EXIT, byteorder=self.byteorder), flags=ALLOC | EXEC)
        symbols = {"prog": elf.symbol("prog", xdp, size=8, type=FUNC)}
        section = elf.section(".maps", bytes(64 * len(self.names)), flags=ALLOC | WRITE)
        for at, name in enumerate(self.names):
            symbols[name] = elf.symbol(name, section, value=64 * at, size=64)
        if self.rels:
            elf.rel(section, [(offset, symbols[name], 2) for offset, name in self.rels])
        self.btf.datasec(".maps", [(var, 0, 64) for var in self.vars])
        elf.section(".BTF", self.btf.build(), flags=0)
        return parse_object(elf.build(), name="maps.o")


@each_order
def test_every_field_of_a_map(byteorder: str) -> None:
    maps = Maps(byteorder)
    fields = {"type": HASH, "max_entries": 10, "map_flags": 5, "numa_node": 1, "pinning": 1, "map_extra": 3}
    value = maps.btf.struct("value", 24, [("a", maps.u32, 0)])
    maps.add("m", fields, key=maps.u32, value=value)
    obj = maps.parse()
    assert obj.problems == ()
    assert obj.map("m") == MapDef(
        "m", HASH, key_size=4, value_size=24, max_entries=10, flags=5, key_type=maps.u32, value_type=value, pinning=1,
        map_extra=3, numa_node=1, btf_id=maps.vars[0],
    )  # fmt: skip


def test_sizes_without_types_and_types_behind_names() -> None:
    maps = Maps()
    maps.add("sizes", {"type": ARRAY, "key_size": 4, "value_size": 100, "max_entries": 1})
    alias = maps.btf.typedef("alias_t", add_map_struct(maps.btf, {"type": ARRAY}, pointers={"value": maps.u32}))
    maps.vars.append(maps.btf.var("alias", maps.btf.modifier("const", alias)))
    maps.names.append("alias")
    obj = maps.parse()
    assert (obj.map("sizes").key_size, obj.map("sizes").value_size, obj.map("sizes").key_type) == (4, 100, 0)
    assert obj.map("alias").value_size == 4


def test_ulong_fields_are_enums() -> None:
    maps = Maps()
    address = maps.btf.enum64("", [("__unique_value0", 1 << 44)])
    maps.add_struct("arena", [("type", maps.uint(ARENA)), ("map_extra", address)])
    assert maps.parse().map("arena").map_extra == 1 << 44


def test_a_field_that_nobody_knows_costs_its_map_alone() -> None:
    maps = Maps()
    maps.add("m", {"type": HASH, "brand_new_field": 7}, key=maps.u32, value=maps.u32)
    maps.add("other", {"type": HASH, "max_entries": 1}, key=maps.u32, value=maps.u32)
    obj = maps.parse()
    assert [found.name for found in obj.maps] == ["other"]
    assert [(problem.symbol, "'brand_new_field'" in problem.message) for problem in obj.problems] == [("m", True)]


def test_map_in_map_with_initial_slots() -> None:
    maps = Maps()
    maps.add("inner", {"type": ARRAY, "max_entries": 1}, key=maps.u32, value=maps.u32)
    shape = add_map_struct(maps.btf, {"type": ARRAY, "max_entries": 1}, pointers={"key": maps.u32, "value": maps.u32})
    values = maps.btf.array(maps.btf.ptr(shape), 0)
    members = [
        ("type", maps.uint(ARRAY_OF_MAPS)),
        ("max_entries", maps.uint(4)),
        ("key_size", maps.uint(4)),
        ("values", values),
    ]
    maps.add_struct("outer", members)
    maps.rels = [(64 + 24 + 16, "inner"), (64 + 24, "inner")]
    obj = maps.parse()
    outer = obj.map("outer")
    assert (outer.key_size, outer.value_size, outer.max_entries) == (4, 4, 4)
    assert outer.values == (SlotInit(0, "map", "inner"), SlotInit(2, "map", "inner"))
    assert outer.inner is not None
    assert (outer.inner.name, outer.inner.type, outer.inner.value_size) == ("outer.inner", ARRAY, 4)
    assert obj.problems == ()


def test_program_array_with_initial_slots() -> None:
    maps = Maps()
    proto = maps.btf.func_proto(0)
    members = [("type", maps.uint(PROG_ARRAY)), ("values", maps.btf.array(maps.btf.ptr(proto), 0))]
    maps.add_struct("jumps", members)
    maps.rels = [(8 + 8, "prog")]
    jumps = maps.parse().map("jumps")
    assert (jumps.values, jumps.value_size, jumps.inner) == ((SlotInit(1, "func", "prog"),), 4, None)


def test_ring_buffers_have_no_value_even_when_one_is_declared() -> None:
    """aya-ebpf's RingBuf<T> says value: T and value_size: 0."""
    maps = Maps()
    maps.add("events", {"type": RINGBUF, "max_entries": 4096, "value_size": 0}, value=maps.u32)
    obj = maps.parse()
    assert (obj.map("events").value_size, obj.map("events").value_type, obj.problems) == (0, maps.u32, ())


def two_levels(maps: Maps) -> None:
    inner = add_map_struct(maps.btf, {"type": ARRAY})
    middle = maps.btf.struct(
        "", 16, [("type", maps.uint(ARRAY_OF_MAPS), 0), ("values", maps.btf.array(maps.btf.ptr(inner), 0), 64)]
    )
    maps.add_struct("m", [("type", maps.uint(ARRAY_OF_MAPS)), ("values", maps.btf.array(maps.btf.ptr(middle), 0))])


def wrong_slot(maps: Maps) -> None:
    maps.add_struct(
        "m", [("type", maps.uint(PROG_ARRAY)), ("values", maps.btf.array(maps.btf.ptr(maps.btf.func_proto(0)), 0))]
    )
    maps.rels = [(8, "good")]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda m: m.add("m", {"type": HASH, "max_entires": 1}),
            "there is no field 'max_entires'; did you mean max_entries?",
        ),
        (lambda m: m.add("m", {"type": HASH, "zebra": 1}), "there is no field 'zebra'; known: type, max_entries"),
        (lambda m: m.add("m", {"max_entries": 1}), "it has no __uint(type, …)"),
        (lambda m: m.add("m", {"type": HASH, "key_size": 8}, key=m.u32), "key_size is 8, but its type takes 4 bytes"),
        (lambda m: m.add("m", {"type": HASH}, value=m.btf.fwd("later")), "has no size"),
        (lambda m: m.add_struct("m", [("type", m.u32)]), "type is not written as __uint(type, …)"),
        (lambda m: m.add_struct("m", [("type", m.uint(HASH)), ("key", m.u32)]), "key is not written as __type(key, …)"),
        (lambda m: m.add_struct("m", [("type", m.uint(HASH)), ("values", m.u32)]), "values is not written as __array"),
        (two_levels, "maps nest two levels deep, not more"),
        (wrong_slot, "slot 0 is set to 'good', which is not a function"),
        (lambda m: (m.add("m", {"type": HASH}), m.rels.append((4, "prog"))), "byte 4 is set to 'prog', but is no slot"),
        (lambda m: (m.vars.append(m.btf.var("m", m.u32)), m.names.append("m")), "it is not a struct of __uint"),
        (lambda m: m.vars.append(add_map(m.btf, "m", {"type": HASH})), "the symbol table does not have it"),
    ],
)  # fmt: skip
def test_a_broken_map_costs_itself_only(make: object, says: str) -> None:
    maps = Maps()
    make(maps)  # type: ignore[operator]
    maps.add("good", {"type": HASH, "max_entries": 1}, key=maps.u32, value=maps.u32)
    obj = maps.parse()
    assert [map_.name for map_ in obj.maps] == ["good"]
    (problem,) = obj.problems
    assert (problem.section, problem.symbol) == (".maps", "m")
    assert says in problem.message


@each_order
@pytest.mark.parametrize("size", [20, 28, 36])
def test_legacy_maps(byteorder: str, size: int) -> None:
    code = "<" if byteorder == "little" else ">"
    definition = struct.pack(code + "9I", HASH, 4, 8, 100, 1, 77, 1, 0, 0)[:size]
    elf = ElfWriter(byteorder)
    section = elf.section("maps", definition * 2, flags=ALLOC | WRITE)
    xdp = elf.section("xdp", assemble((0x18, 1), (0,), EXIT, byteorder=byteorder), flags=ALLOC | EXEC)
    elf.symbol("main", xdp, size=24, type=FUNC)
    elf.symbol("one", section)  # no size: it lasts until the next
    two = elf.symbol("two", section, value=size)
    elf.rel(xdp, [(0, two, R_64_64)])
    obj = parse_object(elf.build(), name="maps.o")
    one = MapDef("one", HASH, 4, 8, 100, 1, pinning=1 if size >= 28 else 0, section="maps", legacy=True)
    assert obj.map("one") == one
    assert obj.program("main").relocs == (Reloc(0, "map", "two", "maps", 0),)


def test_legacy_maps_with_annotated_types() -> None:
    elf, btf = ElfWriter(), BtfWriter()
    section = elf.section("maps", struct.pack("<5I", HASH, 4, 4, 1, 0), flags=ALLOC | WRITE)
    elf.symbol("m", section, size=20)
    u32, i32 = btf.int("u32", 4), btf.int("int", 4, signed=True)
    btf.struct("____btf_map_m", 8, [("key", u32, 0), ("value", i32, 32)])
    elf.section(".BTF", btf.build(), flags=0)
    found = parse_object(elf.build(), name="maps.o").map("m")
    assert (found.key_type, found.value_type) == (u32, i32)


def test_legacy_maps_that_are_too_short() -> None:
    elf = ElfWriter()
    section = elf.section("maps", bytes(16), flags=ALLOC | WRITE)
    elf.symbol("m", section, size=16)
    (problem,) = parse_object(elf.build(), name="maps.o").problems
    assert "16 bytes are less than a struct bpf_map_def of 20" in problem.message


@each_order
def test_data_sections_and_their_variables(byteorder: str) -> None:
    obj = parse_object(sample(byteorder), name="prog.o")
    assert obj.btf is not None
    found = {section.name: section for section in obj.data}
    assert {name: (s.kind, s.size, len(s.data)) for name, s in found.items()} == {
        ".data": ("data", 8, 8),
        ".rodata": ("rodata", 4, 4),
        ".bss": ("bss", 16, 0),
    }
    u32 = obj.btf.find("__u32")[0]
    assert found[".data"].variables == (
        Variable("first", 0, 4, u32, is_global=False),
        Variable("second", 4, 4, u32, is_global=True),
    )
    assert found[".rodata"].variables == (Variable("fmt", 0, 4, 0, is_global=False),)
    assert obj.btf.name(found[".bss"].btf_id) == ".bss"


@each_order
def test_datasecs_get_the_sizes_and_offsets_that_compilers_leave_out(byteorder: str) -> None:
    obj = parse_object(sample(byteorder), name="prog.o")
    assert obj.btf is not None
    fixed = dict(obj.datasecs)
    (data_id,) = obj.btf.find(".data")
    data = fixed[data_id]
    assert data.size == 8
    assert [(obj.btf.name(var.type), var.offset, var.size) for var in data.vars] == [("first", 0, 4), ("second", 4, 4)]
    (maps_id,) = obj.btf.find(".maps")
    assert [(var.offset, var.size) for var in fixed[maps_id].vars] == [(0, 32), (32, 40)]
    assert obj.btf.find(".ksyms")[0] not in fixed, "there is no such section in the file"
    again = parse_btf(rewrite_btf(obj.btf, fixed))
    assert again.type(data_id) == data
    assert isinstance(again.type(maps_id), DataSec)


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        (".data", {"flags": ALLOC | WRITE}, "data"),
        (".data.foo", {"flags": ALLOC | WRITE}, "data"),
        (".rodata", {"flags": ALLOC}, "rodata"),
        (".rodata.str1.1", {"flags": ALLOC}, "rodata"),
        (".rodata.cst8", {"flags": ALLOC}, "rodata"),
        (".bss.foo", {"flags": ALLOC | WRITE, "type": NOBITS}, "bss"),
        (".struct_ops.link", {"flags": ALLOC | WRITE}, "struct_ops"),
        ("my_globals", {"flags": ALLOC | WRITE}, "custom"),
        (".eh_frame", {"flags": ALLOC}, ""),
        ("license", {"flags": ALLOC | WRITE}, ""),
        (".comment", {"flags": 0}, ""),
        (".database", {"flags": ALLOC | WRITE}, "custom"),
    ],
)
def test_kinds_of_data(name: str, options: dict[str, int], kind: str) -> None:
    elf = ElfWriter()
    if options.get("type") == NOBITS:
        elf.section(name, size=8, **options)
    else:
        elf.section(name, b"GPL\0\0\0\0\0", **options)
    assert [section.kind for section in parse_object(elf.build(), name="x.o").data] == ([kind] if kind else [])


def test_pointers_in_data() -> None:
    elf = ElfWriter()
    xdp = elf.section("xdp", assemble(EXIT, EXIT), flags=ALLOC | EXEC)
    main = elf.symbol("main", xdp, size=8, type=FUNC)
    elf.symbol("other", xdp, value=8, size=8, type=FUNC)
    anchor = elf.symbol("", xdp, type=SECTION, bind=LOCAL)
    lost = elf.symbol("lost", elf.section(".comment", b"x", flags=0))
    table = elf.section(".struct_ops.link", bytes(8) + (8).to_bytes(8, "little") + bytes(8), flags=ALLOC | WRITE)
    elf.rel(table, [(0, main, 2), (8, anchor, 2), (16, lost, 2)])
    obj = parse_object(elf.build(), name="x.o")
    assert obj.data[0].relocs == (DataReloc(0, "func", "main", "xdp", 0), DataReloc(8, "func", "other", "xdp", 8))
    assert [(problem.section, problem.symbol) for problem in obj.problems] == [(".struct_ops.link", "lost")]


def test_license_and_version() -> None:
    elf = ElfWriter("big")
    elf.section("license", b"Dual MIT/GPL\0junk", flags=ALLOC | WRITE)
    elf.section("version", (0x60600).to_bytes(4, "big"), flags=ALLOC | WRITE)
    obj = parse_object(elf.build(), name="x.o")
    assert (obj.license, obj.version) == ("Dual MIT/GPL", 0x60600)
