"""BTF for kernels that lack kinds. Every id must keep its meaning."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_ebpf.agent.ops import BtfLoad
from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.types import BtfType, Kind
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.object import ObjectFile, ProgramDef
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.load_plan import plan_load
from pytest_ebpf.plan.sanitise import SectionLayout, sanitise_btf
from support.plan_facts import ALL_BTF, an_object, facts, types
from support.typed_objects import KINDS, typed_object

INT = t.Int("int", 4, 32, signed=True)
CONST_VOID = t.Modifier(Kind.CONST, 0)


def sanitised(
    *values: BtfType,
    without: str = "",
    layouts: dict[int, SectionLayout] | None = None,
    text: tuple[ProgramDef, ...] = (),
) -> Btf:
    obj = an_object(btf=types(*values), text=text)
    return parse_btf(sanitise_btf(obj, features=ALL_BTF - set(without.split()), layouts=layouts or {}))


@pytest.mark.parametrize(
    ("without", "before", "after"),
    [
        ("", t.Float("f", 4), t.Float("f", 4)),
        ("float", t.Float("f", 4), t.Struct("", 4, ())),
        ("type_tag", t.Modifier(Kind.TYPE_TAG, 1, "user"), t.Modifier(Kind.CONST, 1)),
        ("", t.Modifier(Kind.TYPE_TAG, 1, "user"), t.Modifier(Kind.TYPE_TAG, 1, "user")),
        ("attribute", t.Modifier(Kind.TYPE_TAG, 1, "a", is_attr=True), t.Modifier(Kind.CONST, 1)),
        ("", t.Modifier(Kind.VOLATILE, 1), t.Modifier(Kind.VOLATILE, 1)),
        ("enum64", t.Enum("e", 4, (("A", -1),), signed=True), t.Enum("e", 4, (("A", 0xFFFFFFFF),))),
        ("", t.Enum("e", 4, (("A", -1),), signed=True), t.Enum("e", 4, (("A", -1),), signed=True)),
        (
            "enum64",
            t.Enum("e", 8, (("A", 1), ("B", 2)), is_64=True),
            t.Struct("e", 8, (t.Member("A", 3, 0), t.Member("B", 3, 0)), is_union=True),
        ),
        ("func", t.FuncProto(0, (t.Param("a", 1),)), t.Enum("", 4, (("a", 1),))),
        ("datasec", t.Var("v", 1), t.Int("v", 1, 8)),
        ("", t.Struct("a::B<u8>", 4, (t.Member("a.b-c", 1, 0),)), t.Struct("a__B_u8_", 4, (t.Member("a_b_c", 1, 0),))),
        ("", t.Typedef("a b", 1), t.Typedef("a_b", 1)),
        ("", t.Enum("e", 4, (("Some(T)", 1), ("0", 2))), t.Enum("e", 4, (("Some_T_", 1), ("_0", 2)))),
        ("", t.Int("unsigned int", 4, 32), t.Int("unsigned int", 4, 32)),
    ],
)  # fmt: skip
def test_one_type(without: str, before: BtfType, after: BtfType) -> None:
    btf = sanitised(INT, before, without=without)
    assert btf.type(1) == INT
    assert btf.type(2) == after


def test_a_placeholder_is_appended_only_where_an_enum64_went() -> None:
    wide = t.Enum("e", 8, (("A", 1),), is_64=True)
    assert len(sanitised(INT, wide)) == 3
    assert len(sanitised(INT, without="enum64")) == 2
    assert sanitised(INT, wide, without="enum64").type(3) == t.Int("enum64_placeholder", 8, 64)


PROTO = t.FuncProto(1, (t.Param("", 1), t.Param("b", 1), t.Param("", 0)))


def test_functions_get_named_parameters_and_a_linkage_the_kernel_knows() -> None:
    btf = sanitised(INT, PROTO, t.Func("f", 2, 1), t.FuncProto(1, (t.Param("", 1),)))
    assert btf.type(2) == t.FuncProto(1, (t.Param("arg0", 1), t.Param("b", 1), t.Param("", 0)))
    assert btf.type(3) == t.Func("f", 2, 1)
    assert btf.type(4) == t.FuncProto(1, (t.Param("", 1),))  # of a pointer: needs none
    assert sanitised(INT, PROTO, t.Func("f", 2, 2)).type(3) == t.Func("f", 2, 0)
    assert sanitised(INT, PROTO, t.Func("f", 2, 1), without="func_global").type(3) == t.Func("f", 2, 0)
    assert sanitised(INT, PROTO, t.Func("f", 2, 1), without="func").type(3) == t.Typedef("f", 2)


def test_builtins_and_hidden_functions_are_static() -> None:
    assert sanitised(INT, PROTO, t.Func("memcpy", 2, 1)).type(3) == t.Func("memcpy", 2, 0)
    hidden = ProgramDef("f", ".text", None, b"", is_hidden=True)
    assert sanitised(INT, PROTO, t.Func("f", 2, 1), text=(hidden,)).type(3) == t.Func("f", 2, 0)
    localised = ProgramDef("f", ".text", None, b"", is_global=False)  # objcopy --localize-symbol: BTF's linkage counts
    assert sanitised(INT, PROTO, t.Func("f", 2, 1), text=(localised,)).type(3) == t.Func("f", 2, 1)


DATA = (INT, t.Var("b", 1), t.Var("a", 1), t.DataSec(".data", 0, (t.SecVar(2, 0, 0), t.SecVar(3, 0, 0))))
LAYOUT = {4: SectionLayout(12, {"a": (0, 4), "b": (8, 4)})}


def test_sections_get_sizes_and_places_in_order() -> None:
    btf = sanitised(*DATA, layouts=LAYOUT)
    assert btf.type(4) == t.DataSec(".data", 12, (t.SecVar(3, 0, 4), t.SecVar(2, 8, 4)))


def test_a_section_becomes_a_struct_where_there_are_no_sections() -> None:
    btf = sanitised(*DATA, layouts=LAYOUT, without="datasec")
    assert btf.type(4) == t.Struct("_data", 12, (t.Member("a", 3, 0), t.Member("b", 2, 64)))


@pytest.mark.parametrize(
    "layout",
    [
        {"a": (0, 2), "b": (8, 4)},  # too small for its type
        {"a": (10, 4), "b": (0, 4)},  # past the end
        {"a": (2, 4), "b": (0, 4)},  # over the other
        {"b": (0, 4)},  # not there
    ],
)
def test_a_variable_that_does_not_fit_its_place_is_dropped(layout: dict[str, tuple[int, int]]) -> None:
    btf = sanitised(*DATA, layouts={4: SectionLayout(12, layout)})
    found = btf.type(4)
    assert isinstance(found, t.DataSec)
    assert [entry.type for entry in found.vars] == [2]


def test_odd_section_names() -> None:
    section = t.DataSec("?my/data-1", 0, (t.SecVar(2, 0, 0),))
    layouts = {3: SectionLayout(4, {"a": (0, 4)})}
    assert sanitised(INT, t.Var("a", 1), section, layouts=layouts).name(3) == "?my/data-1"
    assert sanitised(INT, t.Var("a", 1), section, layouts=layouts, without="datasec_name").name(3) == "_my_data_1"


def test_externs_and_sections_without_a_place_are_left_out_with_their_tags() -> None:
    btf = sanitised(
        INT,  # 1
        PROTO,  # 2
        t.Func("bpf_kfunc", 2, 2),  # 3
        t.Var("ksym", 0, 2),  # 4
        t.DataSec(".ksyms", 0, (t.SecVar(3, 0, 0), t.SecVar(4, 0, 0))),  # 5
        t.DeclTag("tag", 3),  # 6
        t.Var("license", 1, 1),  # 7
        t.DataSec("license", 0, (t.SecVar(7, 0, 0),)),  # 8
        t.DeclTag("kept", 7),  # 9
    )
    assert [btf.type(i) for i in (3, 4, 5, 6, 8)] == [CONST_VOID] * 5
    assert btf.type(7) == t.Var("license", 1, 1)
    assert btf.type(9) == t.DeclTag("kept", 7)


def test_kconfig_variables_are_defined_by_now() -> None:
    section = t.DataSec(".kconfig", 0, (t.SecVar(2, 0, 0),))
    btf = sanitised(INT, t.Var("CONFIG_X", 1, 2), section, layouts={3: SectionLayout(4, {"CONFIG_X": (0, 4)})})
    assert btf.type(2) == t.Var("CONFIG_X", 1, 1)


def test_tags_of_declarations() -> None:
    tagged = (INT, t.Var("v", 1), t.DeclTag("tag", 2, is_attr=True))
    assert sanitised(*tagged).type(3) == t.DeclTag("tag", 2, is_attr=True)
    assert sanitised(*tagged, without="attribute").type(3) == t.DeclTag("tag", 2)
    assert sanitised(*tagged, without="decl_tag").type(3) == t.Int("tag", 1, 8)


def test_string_offsets_stay() -> None:
    original = types(INT, t.Struct("x::y", 4, (t.Member("a", 1, 0),)))
    after = sanitised(INT, t.Struct("x::y", 4, (t.Member("a", 1, 0),)))
    strings = original.data[slice(*original.header.strings)]
    assert after.data[slice(*after.header.strings)].startswith(strings)


SINCE = {"4.18": {"btf"}, "5.0": {"btf", "func"}, "5.10": {"btf", "func", "datasec", "func_global"}, "6.15": ALL_BTF}


def size_of(btf: Btf, type_id: int) -> int | None:
    try:
        return btf.size(type_id)
    except ObjectError:
        return None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_ids_and_sizes_stay(kind: str, byteorder: str) -> None:
    """tests/vm/test_types.py loads the same objects."""
    obj = parse_object(typed_object(KINDS[kind], byteorder=byteorder), name="typed.o")
    for release in SINCE:
        check_ids_and_sizes(obj, release=release, byteorder=byteorder, added=kind == "enum64" and release != "6.15")


def check_ids_and_sizes(obj: ObjectFile, *, release: str, byteorder: str, added: bool) -> None:
    (load,) = (
        op for op in plan_load(obj, facts(features=SINCE[release], byteorder=byteorder)).ops if isinstance(op, BtfLoad)
    )
    before, after = obj.btf, parse_btf(load.data)
    assert before is not None
    assert after.byteorder == byteorder
    assert len(after) - len(before) == added
    values = [i for i in before.ids() if before.kind(i) in VALUES]
    assert {i: size_of(after, i) for i in values} == {i: size_of(before, i) for i in values}
    for type_id in values:  # what has members has them where they were
        old, new = before.type(type_id), after.type(type_id)
        if isinstance(old, t.Struct):
            assert isinstance(new, t.Struct)
            assert [replace(m, name="") for m in new.members] == [replace(m, name="") for m in old.members]


VALUES = (Kind.INT, Kind.PTR, Kind.ARRAY, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FLOAT, Kind.TYPEDEF,
          Kind.CONST, Kind.VOLATILE, Kind.RESTRICT, Kind.TYPE_TAG)  # fmt: skip
