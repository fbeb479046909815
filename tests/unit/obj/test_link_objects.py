"""Objects linked into one, held against what a static linker for eBPF does with the same files."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from pytest_ebpf.agent.ops import ProgLoad, Try
from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.errors import ObjectError, PlanError
from pytest_ebpf.obj.link import link_objects
from pytest_ebpf.obj.object import DataReloc, DataSection, Extern, MapDef, ObjectFile, ProgramDef, Variable
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.load_plan import plan_load
from support.paths import TESTS
from support.plan_facts import an_object, facts
from support.sample_object import sample

BUILT = TESTS / "objects" / "built"


def built(name: str) -> ObjectFile:
    return parse_object((BUILT / f"{name}.bpf.o").read_bytes(), name=name)


@pytest.fixture(params=[("link_code", "link_test"), ("link_test", "link_code")], ids="-".join)
def linked(request: pytest.FixtureRequest) -> ObjectFile:
    return link_objects([built(name) for name in request.param])


def test_what_both_have_is_there_once(linked: ObjectFile) -> None:
    assert sorted(program.name for program in linked.programs) == ["prog", "test", "test2"]
    assert sorted(function.name for function in linked.text) == ["add_up", "scale"]
    assert [definition.name for definition in linked.maps] == ["seen"]
    assert linked.externs == ()
    assert linked.problems == ()


def test_functions_do_not_overlap(linked: ObjectFile) -> None:
    spans = sorted(
        (f.section, f.section_offset, f.section_offset + len(f.insns)) for f in (*linked.programs, *linked.text)
    )
    for (section, _, end), (after, start, _) in itertools.pairwise(spans):
        assert section != after or end <= start


def test_every_reference_leads_somewhere(linked: ObjectFile) -> None:
    functions = {(f.section, f.section_offset): f.name for f in (*linked.programs, *linked.text)}
    sections = {section.name: section for section in linked.data}
    for function in (*linked.programs, *linked.text):
        for reloc in function.relocs:
            if reloc.kind in ("call", "func"):
                assert functions[reloc.section, reloc.offset] == reloc.symbol
            elif reloc.kind == "data":
                assert reloc.offset < sections[reloc.section].size
                named = [v for v in sections[reloc.section].variables if v.name == reloc.symbol]
                assert not named or reloc.offset in [v.offset for v in named]
            else:
                assert (reloc.kind, reloc.symbol) == ("map", "seen")


def test_the_strong_definition_stays(linked: ObjectFile) -> None:
    (weak_var,) = [v for s in linked.data for v in s.variables if v.name == "weak_var"]
    (section,) = [s for s in linked.data if weak_var in s.variables]
    assert section.data[weak_var.offset : weak_var.offset + 4] == (40).to_bytes(4, "little")
    (scale,) = [f for f in linked.text if f.name == "scale"]
    assert scale.insns == next(f for f in built("link_test").text if f.name == "scale").insns


def test_types_are_one_table_without_loose_ends(linked: ObjectFile) -> None:
    btf = linked.btf
    assert btf is not None
    for name, kind in (("add_up", Kind.FUNC), ("scale", Kind.FUNC), ("seen", Kind.VAR), ("calls", Kind.VAR)):
        (found,) = btf.find(name, kind)
        assert btf.type(found).linkage == 1  # type: ignore[union-attr]
    assert len(btf.find(".maps", Kind.DATASEC)) == len(btf.find(".data", Kind.DATASEC)) == 1
    for type_id in btf.ids():
        btf.type(type_id)
    for function in (*linked.programs, *linked.text):
        found_type = btf.type(function.btf_id)
        assert isinstance(found_type, t.Func)
        assert found_type.name == function.name
        assert [row.type_id for row in function.func_info] == [function.btf_id]
        for line in function.line_info:
            assert btf.string(line.file_off) == line.file
            assert btf.string(line.line_off).strip() == line.text
    (seen,) = linked.maps
    assert btf.size(seen.key_type) == 4
    assert btf.size(seen.value_type) == 8


def test_sections_of_variables_have_their_places(linked: ObjectFile) -> None:
    assert linked.btf is not None
    (data,) = [section for section in linked.data if section.name == ".data"]
    section = dict(linked.datasecs)[data.btf_id]
    assert section.size == data.size
    places = {(v.var_name or v.name, v.offset) for v in data.variables}
    assert {(linked.btf.name(entry.type), entry.offset) for entry in section.vars} <= places
    assert {name for name, _ in places} == {"calls", "mine", "weak_var"}


def test_the_whole_is_planned_like_any_object(linked: ObjectFile) -> None:
    plan = plan_load(linked, facts())
    assert not plan.problems
    loads = [op.op for op in plan.ops if isinstance(op, Try) and isinstance(op.op, ProgLoad)]
    assert len(loads) == 3
    assert all(load.func_info and load.line_info for load in loads)


def test_alone_the_missing_part_is_named() -> None:
    plan = plan_load(built("link_test"), facts())
    errors = {problem.name: problem.error for problem in plan.problems}
    assert set(errors) == {"test"}
    assert isinstance(errors["test"], PlanError)
    assert "'add_up' is declared extern, and nothing in link_test defines it" in str(errors["test"])
    assert "bpf.load([code, other])" in str(errors["test"])


def test_two_strong_definitions() -> None:
    with pytest.raises(ObjectError, match=r"(?s)link_code and link_code: 'prog' is defined in both.*__weak"):
        link_objects([built("link_code"), built("link_code")])


def test_licenses_must_agree() -> None:
    other = replace(built("link_test"), license="MIT")
    with pytest.raises(ObjectError, match="its license is 'MIT', that of link_code 'GPL'"):
        link_objects([built("link_code"), other])


def test_byte_orders_must_agree() -> None:
    objects = [parse_object(sample(order), name=order) for order in ("little", "big")]
    with pytest.raises(ObjectError, match="big endian, but little is little endian"):
        link_objects(objects)


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_both_byte_orders(byteorder: str) -> None:
    first = parse_object(sample(byteorder), name="first")
    second = replace(
        parse_object(sample(byteorder), name="second"),
        programs=(),
        maps=(),
        text=tuple(f for f in first.text if not f.is_global),
        data=tuple(replace(s, variables=tuple(replace(v, is_global=False) for v in s.variables)) for s in first.data),
    )
    linked = link_objects([first, second])
    assert linked.btf is not None
    assert linked.btf.byteorder == byteorder
    assert [f.name for f in linked.text] == ["sub", "sub2", "sub"]
    (data,) = [section for section in linked.data if section.name == ".data"]
    assert data.data == first.data[0].data * 2
    assert [v.offset for v in data.variables] == [0, 4, 8, 12]
    assert [extern.name for extern in linked.externs] == [extern.name for extern in first.externs]


def test_one_strong_declaration_makes_an_extern_strong() -> None:
    weak = an_object(externs=(Extern("f", "kfunc", is_weak=True, btf_id=1),))
    strong = an_object(externs=(Extern("f", "kfunc", btf_id=1),))
    assert link_objects([weak, strong]).externs[0].is_weak is False
    assert link_objects([weak, weak]).externs[0].is_weak is True


def test_what_the_kernel_provides_stays_the_kernels() -> None:
    """``__ksym`` asks for the kernel's function, whatever else has its name."""
    asks = an_object(externs=(Extern("f", "kfunc", btf_id=1),))
    has = an_object(text=(ProgramDef("f", ".text", None, bytes(8)),))
    assert [extern.name for extern in link_objects([asks, has]).externs] == ["f"]


def test_pointers_in_data() -> None:
    points = an_object(
        data=(
            DataSection(".data", "data", 8, bytes(8), relocs=(DataReloc(0, "data", "mine", ".data", 0),)),
            DataSection(".struct_ops", "struct_ops", 8, bytes(8), relocs=(DataReloc(0, "extern", "f", "", 0),)),
        ),
        externs=(Extern("f", "func"),),
    )
    has = an_object(text=(ProgramDef("f", ".text", None, bytes(8), 16),))
    linked = link_objects([has, points, points])
    assert linked.data[0].relocs == (DataReloc(0, "data", "mine", ".data", 0), DataReloc(8, "data", "mine", ".data", 8))
    assert linked.data[1].relocs[0] == DataReloc(0, "func", "f", ".text", 16)
    assert linked.externs == ()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"data": (DataSection(".data", "data", 4, bytes(4), (Variable("m", 0, 4),)),)}, "is a map and a variable"),
        ({"maps": (MapDef("m", 1, 4, 8, 2),)}, "'m' is defined in both"),
        ({"maps": (MapDef("m", 1, 4, 8, 2, is_weak=True),)}, "map 'm' is defined differently"),
        ({"data": (DataSection(".x", "rodata", 4, bytes(4)),)}, "its section is rodata, that of another object custom"),
    ],
)
def test_what_does_not_fit_together(other: dict[str, object], words: str) -> None:
    first = an_object(maps=(MapDef("m", 1, 4, 4, 1),), data=(DataSection(".x", "custom", 4, bytes(4)),))
    with pytest.raises(ObjectError, match=words):
        link_objects([first, an_object(**other)])


def test_damaged_types_are_an_error_of_the_file() -> None:
    broken = built("link_test")
    broken = replace(broken, maps=(MapDef("m", 1, key_type=99999),))
    with pytest.raises(ObjectError, match="BTF names types that it does not have"):
        link_objects([built("link_code"), broken])
