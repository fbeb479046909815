"""Options as they change a plan, and what kernels that can do less make of it."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from pytest_ebpf.agent.ops import (
    Handle,
    MakeDir,
    MapCreate,
    MapFreeze,
    MapSet,
    MemWrite,
    Mount,
    ObjPin,
    Op,
    ProgLoad,
    Ref,
    Try,
)
from pytest_ebpf.btf import types as t
from pytest_ebpf.errors import ObjectError, PlanError
from pytest_ebpf.obj.insn import LD_IMM64, Insn, pack_insns, unpack_insns
from pytest_ebpf.obj.object import DataSection, Extern, MapDef, ObjectFile, ProgramDef, Reloc, Variable
from pytest_ebpf.obj.sections import number_of_type, parse_section, spec_of_type
from pytest_ebpf.plan.attach import ExtTarget
from pytest_ebpf.plan.load_plan import LoadOptions, Plan, plan_load
from pytest_ebpf.plan.options import ProgramOverride
from pytest_ebpf.plan.pins import differences, directories, pin_path
from pytest_ebpf.uapi.sections import ATTACH_TYPES, PROG_TYPES
from support.plan_facts import an_object, facts, types

EXIT = Insn(0x95)
LOAD = [Insn(LD_IMM64, 1), Insn(0), EXIT]
HASH, ARRAY, ARRAY_OF_MAPS, DEVMAP, ARENA = 1, 2, 12, 14, 33
EXT, TRACING, XDP = 28, 26, 6


def program(name: str, *relocs: Reloc, section: str = "xdp") -> ProgramDef:
    offset = 8 * int.from_bytes(name.encode()[:4], "big")
    return ProgramDef(name, section, parse_section(section), pack_insns(LOAD), offset, relocs=relocs)


MAPS = (
    MapDef("flows", HASH, 4, 8, 16, pinning=1),
    MapDef("stats", ARRAY, 4, 8, 1, key_type=1, value_type=1),
    MapDef("outer", ARRAY_OF_MAPS, 4, 4, 2, inner=MapDef("outer.inner", ARRAY, 4, 4, 1)),
)
OBJ = an_object(
    maps=MAPS,
    programs=(program("a", Reloc(0, "map", "stats")), program("b", section="mystery"), program("c", section="?xdp")),
    data=(DataSection(".bss", "bss", 8, b"", (Variable("count", 0, 4),)),),
)


def plan(obj: ObjectFile = OBJ, **options: object) -> Plan:
    return plan_load(obj, facts(), options=LoadOptions(**options))  # type: ignore[arg-type]


def flat(found: Plan) -> list[Op]:
    return [op.op if isinstance(op, Try) else op for op in found.ops]


def created(found: Plan) -> dict[str, MapCreate]:
    return {op.name: op for op in flat(found) if isinstance(op, MapCreate)}


def loads(found: Plan) -> dict[str, ProgLoad]:
    return {op.name: op for op in flat(found) if isinstance(op, ProgLoad)}


# -- maps


def test_fields_of_a_map() -> None:
    changes = {"max_entries": 5, "flags": 64, "value_size": 16, "numa_node": 1}
    op = created(plan(maps={"stats": changes}))["stats"]
    assert (op.max_entries, op.flags, op.value_size, op.numa_node) == (5, 64, 16, 1)
    assert (op.btf_key, op.btf_value) == (0, 0)  # its type says 8 bytes


def test_the_maps_inside_a_map() -> None:
    found = plan(maps={"outer": {"inner": {"max_entries": 9}}})
    assert created(found)["outer.inner"].max_entries == 9
    with pytest.raises(ObjectError, match="'stats' holds no maps"):
        plan(maps={"stats": {"inner": {"max_entries": 9}}})


def test_contents_come_before_programs() -> None:
    found = plan(maps={"stats": {"contents": ((bytes(4), bytes(8)),), "freeze": True}})
    ops = flat(found)
    at = next(i for i, op in enumerate(ops) if isinstance(op, MapCreate) and op.name == "stats")
    assert ops[at + 1 : at + 3] == [MapSet(Ref(at), bytes(4), bytes(8)), MapFreeze(Ref(at))]
    assert at + 2 < next(i for i, op in enumerate(ops) if isinstance(op, ProgLoad))


def test_a_data_section_grows_but_does_not_shrink() -> None:
    assert created(plan(maps={".bss": {"value_size": 64}}))["demo.bss"].value_size == 64
    with pytest.raises(ObjectError, match=r"section .bss has 8 bytes of variables"):
        plan(maps={".bss": {"value_size": 4}})


def test_a_data_section_in_another_map() -> None:
    handle = Handle(1, "b", "map")
    found = plan(maps={".bss": handle})
    assert "demo.bss" not in created(found)
    (bss,) = [planned for planned in found.maps if planned.name == ".bss"]
    assert (bss.op, bss.handle, bss.data is not None) == (-1, handle, True)


def test_a_map_for_one_program() -> None:
    found = plan(maps={"stats": {"exclusive": "a"}})
    zeroed = [insn._replace(imm=0) for insn in unpack_insns(loads(found)["a"].insns)]
    assert created(found)["stats"].exclusive == sha256(pack_insns(zeroed)).digest()
    with pytest.raises(ObjectError, match="no program 'z' to be the only one"):
        plan(maps={"stats": {"exclusive": "z"}})


# -- pins


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "/sys/fs/bpf/flows"),
        ({"pin_path": "/sys/fs/bpf/x/"}, "/sys/fs/bpf/x/flows"),
        ({"maps": {"flows": {"pin": False}}}, ""),
        ({"maps": {"flows": {"pin": "/elsewhere/f"}}}, "/elsewhere/f"),
        ({"maps": {"flows": 5}}, "/sys/fs/bpf/flows"),
    ],
)
def test_where_a_map_is_pinned(options: dict[str, object], path: str) -> None:
    assert pin_path(MAPS[0], LoadOptions(**options)) == path  # type: ignore[arg-type]


def test_pins_only_where_asked() -> None:
    assert pin_path(MAPS[1], LoadOptions()) == ""
    dotted = replace(MAPS[1], name=".bss")
    assert pin_path(dotted, LoadOptions(maps={".bss": {"pin": True}})) == "/sys/fs/bpf/_bss"
    with pytest.raises(ObjectError, match="expected an absolute path"):
        pin_path(MAPS[1], LoadOptions(maps={"stats": {"pin": "here"}}))


def test_a_pin_is_made_right_after_its_map() -> None:
    found = plan(pin_path="/sys/fs/bpf/a/b")
    (flows,) = [planned for planned in found.maps if planned.name == "flows"]
    assert found.ops[flows.pin_op] == Try(ObjPin(Ref(flows.op), "/sys/fs/bpf/a/b/flows", undo=True))
    assert found.ops[flows.op + 1 : flows.pin_op] == (
        Try(Mount("bpf", "/sys/fs/bpf", "bpf")),
        Try(MakeDir("/sys/fs/bpf/a")),
        Try(MakeDir("/sys/fs/bpf/a/b")),
    )
    assert [op.path for op in directories("/elsewhere/x/y")] == []  # type: ignore[union-attr]


def info(type_: int, *numbers: int, extra: int = 0) -> bytes:
    head = b"".join(number.to_bytes(4, "little") for number in (type_, 77, *numbers))
    return head.ljust(80, b"\0") + extra.to_bytes(8, "little") + bytes(16)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (info(HASH, 4, 8, 16, 0), []),
        (info(ARRAY, 4, 8, 16, 0), ["type ARRAY instead of HASH"]),
        (info(HASH, 4, 8, 17, 0, extra=3), ["max_entries 17 instead of 16", "map_extra 3 instead of 0"]),
        (info(HASH, 8, 4, 16, 0), ["key_size 8 instead of 4", "value_size 4 instead of 8"]),
        (info(HASH, 4, 8, 16, 1), ["flags NO_PREALLOC instead of 0"]),
        (info(HASH, 4, 8, 16, 0)[:24], []),  # a kernel without map_extra
    ],
)
def test_what_a_pinned_map_must_agree_in(found: bytes, words: list[str]) -> None:
    assert differences(MAPS[0], found) == words


def test_the_flag_that_the_kernel_puts_on_device_maps() -> None:
    assert differences(MapDef("d", DEVMAP, 4, 8, 2), info(DEVMAP, 4, 8, 2, 1 << 7)) == []
    assert differences(MapDef("h", HASH, 4, 8, 2), info(HASH, 4, 8, 2, 1 << 7)) == ["flags RDONLY_PROG instead of 0"]


# -- programs


def test_another_section() -> None:
    found = plan(programs={"b": ProgramOverride(section="cgroup/connect4")})
    assert (loads(found)["b"].type, loads(found)["b"].expected_attach_type) == (18, 10)
    with pytest.raises(ObjectError, match=r"(?s)no section 'xdq' is known"):
        plan(programs={"b": ProgramOverride(section="xdq")})


def test_another_type() -> None:
    found = plan(programs={"b": ProgramOverride(type=3), "a": ProgramOverride(type=TRACING, attach_type=25)})
    assert loads(found)["b"].type == 3
    (problem,) = [problem for problem in found.problems if problem.name == "a"]
    assert "does not name a kernel function" in str(problem.error)  # it needs a target now


def test_on_and_off_and_flags() -> None:
    found = plan(
        programs={
            "a": ProgramOverride(autoload=False),
            "b": ProgramOverride(section="xdp", frags=True),
            "c": ProgramOverride(autoload=True, sleepable=True),
        }
    )
    assert {name: op.flags for name, op in loads(found).items()} == {"b": 1 << 5, "c": 1 << 4}
    assert found.skipped == ("a",)


def test_another_target() -> None:
    kernel = types(t.Int("int", 4, 32), t.FuncProto(1), t.Func("f", 2, 1), t.Func("g", 2, 1))
    obj = an_object(programs=(program("p", section="fentry/f"),))
    options = LoadOptions(programs={"p": ProgramOverride(target="g")})
    assert loads(plan_load(obj, facts(btf=kernel)))["p"].attach_btf_id == 3
    assert loads(plan_load(obj, facts(btf=kernel), options=options))["p"].attach_btf_id == 4


def test_a_program_as_target() -> None:
    """A tracing program stays one; any other becomes an extension."""
    handle = Handle(4, "b", "prog")
    obj = an_object(programs=(program("x"), program("t", section="fexit/f"), program("e", section="freplace/f")))
    target = ProgramOverride(program=ExtTarget(handle, 9))
    found = plan(obj, programs={"x": target, "t": target, "e": target})
    for name, type_, attach_type in (("x", EXT, 0), ("t", TRACING, 25), ("e", EXT, 0)):
        op = loads(found)[name]
        assert (op.type, op.expected_attach_type) == (type_, attach_type)
        assert (op.attach_prog, op.attach_btf_id) == (handle, 9)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(ObjectError, match="no program 'aa' to change"):
        plan(programs={"aa": ProgramOverride()})


def test_types_by_name() -> None:
    assert number_of_type("xdp", PROG_TYPES) == number_of_type("BPF_PROG_TYPE_XDP", PROG_TYPES) == XDP
    assert number_of_type("trace_fentry", ATTACH_TYPES) == 24
    assert number_of_type("nothing", PROG_TYPES) is None
    assert spec_of_type("x", prog_type=XDP).prefix == "xdp"
    assert spec_of_type("x", prog_type=XDP, attach_type=33).prefix == "xdp/devmap"
    unknown = spec_of_type("x", prog_type=99, attach_type=7)
    assert (unknown.prog_type, unknown.attach_type, unknown.prefix) == (99, 7, "")


# -- configuration

KCONFIG = types(
    t.Int("int", 4, 32, signed=True), t.Enum("libbpf_tristate", 4, (("TRI_NO", 0), ("TRI_YES", 1), ("TRI_MODULE", 2)))
)


def configured(value: object) -> bytes:
    obj = an_object(btf=KCONFIG, externs=(Extern("CONFIG_X", "kconfig", 2, size=4, align=4),))
    found = plan_load(obj, facts(kconfig=""), options=LoadOptions(kconfig={"CONFIG_X": value}))
    assert found.kconfig is not None
    return found.kconfig.contents


@pytest.mark.parametrize("value", ["m", "TRI_MODULE", 2, b"\2\0\0\0"])
def test_a_value_written_in_any_way(value: object) -> None:
    assert configured(value) == b"\2\0\0\0"


def test_a_variable_that_is_not_there() -> None:
    with pytest.raises(ObjectError, match="no __kconfig variable 'CONFIG_Y' to set"):
        plan(kconfig={"CONFIG_Y": 1})


# -- kernels that can do less


def test_a_kernel_without_names() -> None:
    found = plan_load(OBJ, replace(facts(), names=False))
    assert {op.name for op in flat(found) if isinstance(op, MapCreate | ProgLoad)} == {""}


def test_a_kernel_without_global_data() -> None:
    """Maps of sections are not made, and only programs with variables go without."""
    uses = program("u", Reloc(0, "data", "count", ".bss", 0))
    obj = replace(OBJ, programs=(OBJ.programs[0], uses))
    found = plan_load(obj, replace(facts(), global_data=False))
    assert "demo.bss" not in created(found)
    assert list(loads(found)) == ["a"]
    (problem,) = found.problems
    assert isinstance(problem.error, PlanError)
    assert (problem.error.since, problem.name) == ("5.2", "u")


# -- arenas


def arena_object(*maps: MapDef) -> ObjectFile:
    section = DataSection(".addr_space.1", "arena", 8, bytes(4) + b"\7\0\0\0", (Variable("v", 4, 4),))
    return an_object(maps=maps, data=(section,), programs=(program("a", Reloc(0, "data", "v", ".addr_space.1", 4)),))


def test_variables_in_an_arena_lie_at_its_start() -> None:
    found = plan_load(arena_object(MapDef("arena", ARENA, 0, 0, 2)), facts())
    assert MemWrite(Ref(0), 0, bytes(4) + b"\7\0\0\0") in found.ops
    assert [planned.name for planned in found.maps] == ["arena"]
    load = loads(found)["a"]
    assert [patch.target for patch in load.patches] == [Ref(0)]
    assert [insn.imm for insn in unpack_insns(load.insns)[:2]] == [0, 4]


@pytest.mark.parametrize("count", [0, 2])
def test_which_arena(count: int) -> None:
    maps = [MapDef(f"arena{at}", ARENA, 0, 0, 2) for at in range(count)]
    with pytest.raises(PlanError, match=f"variables in an arena, which needs one arena map, but it has {count}"):
        plan_load(arena_object(*maps), facts())
