"""Objects made to hurt: what the size of a file does not bound. Each answers soon, with a plan or with an error."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pytest_ebpf.agent.ops import MapCreate
from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import BtfType
from pytest_ebpf.errors import PlanError
from pytest_ebpf.obj.insn import CALL, LD_IMM64, Insn, pack_insns
from pytest_ebpf.obj.object import CoreReloc, Extern, MapDef, ObjectFile, Problem, ProgramDef, Reloc
from pytest_ebpf.obj.sections import parse_section
from pytest_ebpf.plan.load_plan import Plan, plan_load
from support.fuzz_cases import check_plan, time_limit
from support.plan_facts import an_object, facts, types

INT = t.Int("int", 4, 32, signed=True)
MOV, LDX_W, EXIT = 0xB7, 0x61, 0x95
OFFSET, SIZE, LSHIFT, TYPE_EXISTS, MATCHES = 0, 1, 4, 8, 12


def program(*insns: Insn, core: CoreReloc | None = None, relocs: tuple[Reloc, ...] = ()) -> ProgramDef:
    return ProgramDef("p", "xdp", parse_section("xdp"), pack_insns(insns), core=(core,) if core else (), relocs=relocs)


def planned(obj: ObjectFile, *, kernel: Btf | None = None, **changes: object) -> Plan:
    with time_limit(4):
        plan = plan_load(obj, facts(btf=kernel, **changes))
    check_plan(plan)
    return plan


def problem(obj: ObjectFile, *, kernel: Btf | None = None) -> str:
    (found,) = planned(obj, kernel=kernel).problems
    return str(found.error)


def core_object(btf: Btf, *, type_id: int, access: str = "0:0", kind: int = OFFSET) -> ObjectFile:
    insn = Insn(MOV, imm=kind in (TYPE_EXISTS, MATCHES)) if kind else Insn(LDX_W)
    return an_object(btf=btf, programs=(program(insn, Insn(EXIT), core=CoreReloc(0, type_id, access, kind)),))


def test_an_array_of_itself() -> None:
    loop = types(t.Array(1, 1, 1), t.Struct("s", 8, (t.Member("a", 1, 0),)))
    assert "nests without end" in problem(core_object(loop, type_id=2), kernel=loop)


def test_a_bitfield_of_no_size() -> None:
    odd = types(t.Struct("none", 0, ()), t.Struct("s", 8, (t.Member("a", 1, 3, 2),)))
    assert "bitfield" in problem(core_object(odd, type_id=2, kind=LSHIFT), kernel=odd)


def tower(*, height: int, params: bool) -> tuple[list[BtfType], int]:
    """Types where each level holds the one below twice: 2 ** height ways to the ground."""
    found: list[BtfType] = [INT]
    for _ in range(height):
        below = len(found)
        if params:
            found += [t.FuncProto(1, (t.Param("a", below), t.Param("b", below))), t.Ptr(below + 1)]
        else:
            found.append(t.Struct("s", 4, (t.Member("a", below, 0), t.Member("b", below, 0)), is_union=True))
    return found, len(found)


@pytest.mark.parametrize("params", [True, False], ids=["prototypes", "unions"])
@pytest.mark.parametrize("kind", [TYPE_EXISTS, MATCHES])
def test_types_with_many_ways_through_them(params: bool, kind: int) -> None:
    height = 14 if params else 30
    parts, top = tower(height=height, params=params)
    btf = types(*parts, t.Typedef("top", top))
    plan = planned(core_object(btf, type_id=top + 1, access="0", kind=kind), kernel=btf)
    assert not plan.problems


def test_a_field_behind_many_anonymous_members() -> None:
    """The kernel's types may be a file that somebody gave."""
    levels = 40
    parts: list[BtfType] = [INT]
    for level in range(1, levels):
        parts.append(t.Struct("", 4, (t.Member("", level, 0), t.Member("", level, 0)), is_union=True))
    parts.append(t.Struct("s", 4, (t.Member("", levels, 0), t.Member("", levels, 0))))
    local = types(INT, t.Struct("s", 4, (t.Member("a", 1, 0),)))
    plan = planned(core_object(local, type_id=2), kernel=types(*parts))
    assert "no field a" in next(iter(plan.programs[0].notes.values()))


def test_a_field_behind_a_type_that_contains_itself() -> None:
    twice = (t.Member("", 2, 0), t.Member("", 2, 0))
    kernel = types(INT, t.Struct("", 4, twice), t.Struct("s", 4, (*twice, t.Member("a", 1, 0))))
    local = types(INT, t.Struct("s", 4, (t.Member("a", 1, 0), t.Member("b", 1, 0))))
    assert not planned(core_object(local, type_id=2), kernel=kernel).programs[0].notes
    assert planned(core_object(local, type_id=2, access="0:1"), kernel=kernel).programs[0].notes


def test_thousands_of_fields_of_a_large_type() -> None:
    count = 4000
    fields = tuple(t.Member(f"m{at}", 1, 32 * at) for at in range(count))
    btf = types(INT, t.Struct("s", 4 * count, fields))
    asks = tuple(CoreReloc(at, 2, f"0:{count - 1 - at}", SIZE) for at in range(count))
    code = pack_insns([Insn(MOV, imm=4)] * count + [Insn(EXIT)])
    obj = an_object(btf=btf, programs=(ProgramDef("p", "xdp", parse_section("xdp"), code, core=asks),))
    assert not planned(obj, kernel=btf).problems


@pytest.mark.parametrize(
    "reloc", [Reloc(0, "map", "m"), Reloc(0, "extern", "x"), Reloc(0, "func", "p", "xdp", 0)], ids=lambda r: r.kind
)
def test_half_a_load_at_the_end(reloc: Reloc) -> None:
    obj = an_object(
        programs=(program(Insn(LD_IMM64), relocs=(reloc,)),),
        maps=(MapDef("m", 1, 4, 4, 1),),
        externs=(Extern("x", "ksym", is_weak=True),),
    )
    assert "cut off" in problem(obj)


def test_half_a_load_is_not_poisoned() -> None:
    local = types(INT, t.Struct("gone", 4, (t.Member("a", 1, 0),)))
    obj = an_object(btf=local, programs=(program(Insn(LD_IMM64), core=CoreReloc(0, 2, "0:0", OFFSET)),))
    assert "cannot be relocated" in problem(obj, kernel=types(INT))


def test_a_ring_as_large_as_a_u32_allows() -> None:
    plan = planned(an_object(maps=(MapDef("ring", 27, 0, 0, 0xFFFFFFFF),)))
    (op,) = plan.ops
    assert isinstance(op, MapCreate)
    assert op.max_entries == 0xFFFFFFFF  # for the kernel to refuse: no power of two fits


@pytest.mark.parametrize("size", [0, 1, 2])
@pytest.mark.parametrize("name", ["LINUX_KERNEL_VERSION", "CONFIG_X", "CONFIG_HZ"])
def test_configuration_values_of_odd_sizes(name: str, size: int) -> None:
    btf = types(
        t.Int("_Bool", size, 8, is_bool=True), t.Var(name, 1, 2), t.DataSec(".kconfig", 0, (t.SecVar(2, 0, 0),))
    )
    extern = Extern(name, "kconfig", 1, size=size, align=1, btf_id=2)
    load = program(Insn(LD_IMM64), Insn(0), Insn(EXIT), relocs=(Reloc(0, "extern", name),))
    obj = an_object(btf=btf, externs=(extern,), programs=(load,))
    plan = planned(obj, kconfig="CONFIG_X=y\nCONFIG_HZ=250\n")
    fits = size and name == "CONFIG_X"
    assert bool(plan.problems) != bool(fits)


def test_a_program_longer_than_any_kernel_takes() -> None:
    code = pack_insns([Insn(MOV)]) * (1 << 20)
    obj = an_object(programs=(ProgramDef("p", "xdp", parse_section("xdp"), code),))
    assert "1,048,576 instructions" in problem(obj)


def test_many_of_everything() -> None:
    """Work grows with the size of the file, not with its square."""
    count = 4000
    names = [f"k{at}" for at in range(count)]
    calls = tuple(Reloc(at, "kfunc", name) for at, name in enumerate(names))
    main = program(*[Insn(CALL, src=2)] * count, Insn(EXIT), relocs=calls)
    lost = tuple(ProgramDef(f"u{at}", f"unknown{at}", None, pack_insns([Insn(EXIT)]), at * 8) for at in range(count))
    obj = an_object(
        programs=(main, *lost),
        externs=tuple(Extern(name, "kfunc", is_weak=True) for name in names),
        problems=tuple(Problem(function.section, function.name, "unknown") for function in lost),
    )
    plan = planned(obj)
    assert (len(plan.programs), len(plan.problems)) == (1, count)


def test_programs_that_share_a_long_chain_of_functions() -> None:
    """Every program gets a copy of what it calls: the sum of them is bounded too."""
    length = 300
    call, leave = Insn(CALL, src=1), Insn(EXIT)
    chain = [
        ProgramDef(
            f"s{at}", ".text", None, pack_insns([call, leave]), 16 * at, relocs=(Reloc(0, "call", "s", ".text", to),)
        )
        for at, to in enumerate(16 * n for n in range(1, length))
    ]
    chain.append(ProgramDef("end", ".text", None, pack_insns([leave]), 16 * (length - 1)))
    assert all(a.section_offset < b.section_offset for a, b in pairwise(chain))
    mains = tuple(
        ProgramDef(
            f"m{at}",
            "xdp",
            parse_section("xdp"),
            pack_insns([call, leave]),
            16 * at,
            relocs=(Reloc(0, "call", "s", ".text", 0),),
        )
        for at in range(200)
    )
    plan = planned(an_object(programs=mains, text=tuple(chain)))
    assert len(plan.programs) == len(mains)


def test_no_program_no_map() -> None:
    assert planned(an_object()).ops == ()


def test_the_whole_object_for_another_machine() -> None:
    with pytest.raises(PlanError, match="big endian"):
        plan_load(an_object(byteorder="big"), facts())
