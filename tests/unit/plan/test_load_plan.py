"""Whole plans, of hand-made objects and of the sample programs as built."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.agent.ops import BtfLoad, FdPatch, Handle, MapCreate, MapFreeze, MapSet, Op, ProgLoad, Ref, Try
from pytest_ebpf.btf import types as t
from pytest_ebpf.errors import ObjectError, PlanError
from pytest_ebpf.obj.insn import LD_IMM64, Insn, pack_insns, unpack_insns
from pytest_ebpf.obj.object import DataSection, MapDef, ObjectFile, Problem, ProgramDef, Reloc, SlotInit, Variable
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.obj.sections import parse_section
from pytest_ebpf.plan.load_plan import LoadOptions, Plan, plan_load
from support.paths import ROOT
from support.plan_facts import ALL_BTF, an_object, facts, types
from support.sample_object import sample

BUILT = ROOT / "sample_programs" / "built"
EXIT = Insn(0x95)
LOAD = [Insn(LD_IMM64, 1), Insn(0), EXIT]
HASH, ARRAY, PROG_ARRAY, ARRAY_OF_MAPS = 1, 2, 3, 12


def program(name: str, *relocs: Reloc, section: str = "xdp", insns: list[Insn] | None = None) -> ProgramDef:
    offset = 8 * int.from_bytes(name.encode()[:4], "big")  # each somewhere else
    return ProgramDef(name, section, parse_section(section), pack_insns(insns or LOAD), offset, relocs=relocs)


def inner(op: Op) -> Op:
    return op.op if isinstance(op, Try) else op


def loads(plan: Plan) -> dict[str, ProgLoad]:
    found = {}
    for planned in plan.programs:
        op = inner(plan.ops[planned.op])
        assert isinstance(op, ProgLoad)
        found[planned.name] = op
    return found


MAPS = (MapDef("flows", HASH, 4, 8, 16), MapDef("stats", ARRAY, 4, 8, 1))
OBJ = an_object(maps=MAPS, programs=(program("a", Reloc(0, "map", "stats")), program("b", Reloc(0, "map", "flows"))))


def test_maps_come_before_programs_and_programs_refer_to_them() -> None:
    plan = plan_load(OBJ, facts())
    assert [type(inner(op)) for op in plan.ops] == [MapCreate, MapCreate, ProgLoad, ProgLoad]
    assert [planned.op for planned in plan.maps] == [0, 1]
    assert loads(plan)["a"].patches == (FdPatch(0, Ref(1)),)
    assert loads(plan)["b"].patches == (FdPatch(0, Ref(0)),)
    assert unpack_insns(loads(plan)["a"].insns)[0].src == 1


def test_one_rejected_program_does_not_stop_the_next() -> None:
    plan = plan_load(OBJ, facts())
    assert all(isinstance(plan.ops[planned.op], Try) for planned in plan.programs)
    assert not any(isinstance(plan.ops[planned.op], Try) for planned in plan.maps)


def test_only_the_programs_asked_for() -> None:
    plan = plan_load(OBJ, facts(), options=LoadOptions(only=("b",)))
    assert [planned.name for planned in plan.programs] == ["b"]
    assert plan.skipped == ("a",)
    with pytest.raises(ObjectError, match="no program 'c'"):
        plan_load(OBJ, facts(), options=LoadOptions(only=("c",)))


def test_a_question_mark_means_not_unless_asked_for() -> None:
    obj = an_object(programs=(program("on", insns=[EXIT]), program("off", section="?xdp", insns=[EXIT])))
    assert plan_load(obj, facts()).skipped == ("off",)
    assert list(loads(plan_load(obj, facts(), options=LoadOptions(only=("off",))))) == ["off"]


def test_problems_of_one_program_are_on_the_plan() -> None:
    obj = an_object(
        programs=(
            program("good", insns=[EXIT]),
            program("traced", section="fentry/f", insns=[EXIT]),
            program("odd", section="weird", insns=[EXIT]),
            program("lost", Reloc(0, "map", "nowhere")),
            program("ops", section="struct_ops/x", insns=[EXIT]),
        ),
        problems=(Problem("weird", "odd", "no program type goes by this name", "write SEC"),),
    )
    plan = plan_load(obj, facts())
    assert list(loads(plan)) == ["good"]
    errors = {problem.name: str(problem.error) for problem in plan.problems}
    assert "needs the kernel's BTF" in errors["traced"]
    assert "no program type goes by this name" in errors["odd"]
    assert "uses 'nowhere'" in errors["lost"]
    assert "struct_ops" in errors["ops"]


def test_options_reach_the_operations() -> None:
    handle = Handle(3, "b", "map")
    options = LoadOptions(maps={"flows": handle, "stats": 7}, log_level=2, site="test_x.py:4")
    plan = plan_load(OBJ, facts(), options=options)
    assert [(planned.name, planned.op) for planned in plan.maps] == [("flows", -1), ("stats", 0)]
    assert plan.ops[0] == MapCreate(ARRAY, 4, 8, 7, name="stats", site="test_x.py:4")
    assert loads(plan)["b"].patches == (FdPatch(0, handle),)
    assert loads(plan)["a"].log_level == 2
    assert loads(plan)["a"].site == "test_x.py:4"


def test_data_is_written_and_constants_are_frozen_before_programs_load() -> None:
    data = (
        DataSection(".rodata", "rodata", 8, bytes(8), (Variable("limit", 4, 4),)),
        DataSection(".bss", "bss", 4, b"", (Variable("n", 0, 4),)),
    )
    obj = an_object(data=data, programs=(program("a", Reloc(0, "data", "limit", ".rodata", 4)),))
    plan = plan_load(obj, facts(), options=LoadOptions(globals={"limit": 5}))
    assert [type(inner(op)) for op in plan.ops] == [MapCreate, MapSet, MapFreeze, MapCreate, ProgLoad]
    assert plan.ops[1] == MapSet(Ref(0), bytes(4), bytes(4) + b"\5\0\0\0")
    load = loads(plan)["a"]
    assert load.patches == (FdPatch(0, Ref(0)),)
    assert [(insn.src, insn.imm) for insn in unpack_insns(load.insns)[:2]] == [(2, 0), (0, 4)]
    rodata, bss = plan.maps
    assert (rodata.frozen, bss.frozen) == (True, False)
    assert rodata.data is not None


def test_slots_are_filled_last_and_a_missing_program_leaves_its_slot_empty() -> None:
    obj = an_object(
        maps=(
            MapDef("table", PROG_ARRAY, 4, 4, 3, values=(SlotInit(0, "func", "a"), SlotInit(2, "func", "gone"))),
            MapDef("outer", ARRAY_OF_MAPS, 4, 4, 2, inner=MapDef("outer.inner", ARRAY, 4, 4, 1),
                   values=(SlotInit(1, "map", "leaf"),)),
            MapDef("leaf", ARRAY, 4, 4, 1),
        ),
        programs=(program("a", insns=[EXIT]), program("gone", section="fentry/f", insns=[EXIT])),
    )  # fmt: skip
    plan = plan_load(obj, facts())
    kinds = [type(inner(op)) for op in plan.ops]
    assert kinds == [MapCreate, MapCreate, MapCreate, MapCreate, ProgLoad, MapSet, MapSet]
    outer = plan.ops[2]
    assert isinstance(outer, MapCreate)
    assert outer.inner_map == Ref(1)
    assert plan.ops[5] == Try(MapSet(Ref(0), bytes(4), Ref(4)))
    assert plan.ops[6] == MapSet(Ref(2), b"\1\0\0\0", Ref(3))


def test_an_object_for_the_other_byte_order() -> None:
    with pytest.raises(
        PlanError, match=r"demo\.bpf\.o: object is big endian, this kernel \(x86_64\) is little endian\n.*bpfel"
    ):
        plan_load(an_object(byteorder="big"), facts())


def test_a_kernel_without_btf_gets_none() -> None:
    obj = parse_object((BUILT / "xdp_firewall.bpf.o").read_bytes(), name="xdp_firewall.bpf.o")
    with_btf = plan_load(obj, facts())
    assert isinstance(with_btf.ops[with_btf.btf_op], BtfLoad)
    load = loads(with_btf)["firewall"]
    assert (load.btf, load.func_info_rec_size, load.line_info_rec_size) == (Ref(with_btf.btf_op), 8, 16)
    for plan in (plan_load(obj, facts(features=())), plan_load(obj, facts(), options=LoadOptions(btf=False))):
        assert plan.btf_op == -1
        assert not any(isinstance(op, BtfLoad) for op in plan.ops)
        load = loads(plan)["firewall"]
        assert (load.btf, load.func_info, load.line_info) == (None, b"", b"")
        assert plan.programs[0].line_info  # the lines still locate errors


def test_an_old_kernel_gets_no_function_records() -> None:
    obj = parse_object((BUILT / "xdp_firewall.bpf.o").read_bytes(), name="x.o")
    load = loads(plan_load(obj, facts(features=("btf", "datasec"))))["firewall"]
    assert (load.btf, load.func_info) == (None, b"")


@pytest.mark.parametrize("path", sorted(BUILT.glob("*.bpf.o")), ids=lambda path: path.name.partition(".")[0])
def test_the_sample_programs_have_a_plan_on_every_kind_of_kernel(path: Path) -> None:
    obj = parse_object(path.read_bytes(), name=path.name)
    for features in (ALL_BTF, ALL_BTF - {"float", "decl_tag", "type_tag", "enum64"}, {"btf"}, ()):
        plan = plan_load(obj, facts(features=features))
        planned = {p.name for p in plan.programs} | {p.name for p in plan.problems} | set(plan.skipped)
        assert planned == {p.name for p in obj.programs}, features
        for problem in plan.problems:  # for want of the kernel's types, which these facts have not
            assert "BTF" in str(problem.error), features
        for load in loads(plan).values():
            assert len(load.insns) % 8 == 0
            assert len(load.name) <= 15


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_the_object_with_a_bit_of_everything(byteorder: str) -> None:
    kernel = types(t.Int("int", 4, 32), byteorder=byteorder)
    obj = parse_object(sample(byteorder), name="sample.o")
    assert isinstance(obj, ObjectFile)
    plan = plan_load(obj, facts(btf=kernel, byteorder=byteorder, kconfig="", kallsyms=""))
    assert {p.name for p in plan.programs} | {p.name for p in plan.problems} | set(plan.skipped) == {
        p.name for p in obj.programs
    }
    assert {planned.name for planned in plan.maps} >= {definition.name for definition in obj.maps}


def test_a_kernel_that_takes_no_callbacks() -> None:
    obj = parse_object((BUILT / "bpf_loop.bpf.o").read_bytes(), name="bpf_loop.bpf.o")
    (problem,) = plan_load(obj, facts(callbacks=False)).problems
    assert isinstance(problem.error, PlanError)
    assert (problem.error.feature, problem.error.since) == ("callbacks", "5.13")
    assert "as a callback, which this kernel cannot do" in str(problem.error)
    assert plan_load(obj, facts()).problems == ()
