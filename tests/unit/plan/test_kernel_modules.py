"""What vmlinux does not have, found in kernel modules: CO-RE types, kfuncs, variables, attach targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from pytest_ebpf.agent.ops import BtfByName, Data, Failed, FdPatch, ListDir, Op, ProgLoad, ReadFile, Ref, Result, Try
from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.errors import PlanError
from pytest_ebpf.obj.insn import CALL, LD_IMM64, Insn, pack_insns, unpack_insns
from pytest_ebpf.obj.object import CoreReloc, Extern, ObjectFile, ProgramDef, Reloc
from pytest_ebpf.obj.sections import parse_section
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.learn import learn, module_ops, needs
from pytest_ebpf.plan.load_plan import Plan, plan_load
from pytest_ebpf.plan.modules import lacks_types
from support.btf_writer import BtfWriter
from support.plan_facts import an_object, facts, types

EXIT = Insn(0x95)
PROTO = t.FuncProto(1)
KERNEL = types(
    t.Int("int", 4, 32, signed=True), PROTO, t.Func("in_kernel", 2, 1), t.Struct("known", 8, (t.Member("a", 1, 0),))
)


def module(base: Btf = KERNEL, *, offset: int = 4) -> bytes:
    """Split BTF with a function, a variable and a struct of its own."""
    writer = BtfWriter(first_id=len(base), first_string=base.string_end)
    writer.func("in_module", 2, linkage=1)
    writer.var("var_of_module", 1, linkage=1)
    writer.struct("of_module", 16, [("a", 1, 8 * offset)])
    return writer.build()


def read_modules(names: Sequence[str], *, results: Sequence[Result]) -> Facts:
    """Facts after the types of these modules were asked for."""
    listed = learn(facts(btf=KERNEL), LIST, results=[Data("\0".join(names).encode())])
    return learn(listed, module_ops(listed), results=results)


def with_module(*names: str) -> Facts:
    return read_modules(list(names), results=[Data(module()) for _ in names])


LIST: list[Op] = [Try(ListDir("/sys/kernel/btf"))]
LOCAL = types(
    t.Int("int", 4, 32, signed=True),
    PROTO,
    t.Func("in_module", 2, 2),
    t.Struct("of_module", 4, (t.Member("a", 1, 0),)),
    t.Struct("known", 4, (t.Member("a", 1, 0),)),
    t.Var("var_of_module", 1, 2),
)


def an_object_with(program: ProgramDef, *externs: Extern) -> ObjectFile:
    return an_object(btf=LOCAL, programs=(program,), externs=externs)


def program(insns: Iterable[Insn], *, section: str = "xdp", **parts: object) -> ProgramDef:
    return ProgramDef("p", section, parse_section(section), pack_insns([*insns, EXIT]), **parts)  # type: ignore[arg-type]


READS = an_object_with(program([Insn(0x61, 0, 1)], core=(CoreReloc(0, 4, "0:0", 0),)))
CALLS = an_object_with(
    program([Insn(CALL, src=2, imm=-1)], relocs=(Reloc(0, "kfunc", "in_module"),)),
    Extern("in_module", "kfunc", 2, btf_id=3),
)
LOADS = an_object_with(
    program([Insn(LD_IMM64, 1), Insn(0)], relocs=(Reloc(0, "extern", "var_of_module"),)),
    Extern("var_of_module", "ksym", 1, btf_id=6),
)
TRACES = an_object_with(program([], section="fentry/in_module"))
NAMES = an_object_with(program([], section="fentry/m:in_module"))


def load(plan: Plan) -> ProgLoad:
    (planned,) = plan.programs
    op = plan.ops[planned.op]
    assert isinstance(op, Try)
    assert isinstance(op.op, ProgLoad)
    return op.op


@pytest.mark.parametrize("obj", [READS, CALLS, LOADS, TRACES, NAMES])
def test_who_needs_modules(obj: ObjectFile) -> None:
    assert lacks_types(obj, facts(btf=KERNEL))
    assert not lacks_types(obj, facts())  # no BTF at all: modules would not help


def test_who_does_not() -> None:
    reads = an_object_with(program([Insn(0x61, 0, 1)], core=(CoreReloc(0, 5, "0:0", 0), CoreReloc(0, 4, "0", 6))))
    traces = an_object_with(program([], section="fentry/in_kernel"))
    assert not any(lacks_types(obj, facts(btf=KERNEL)) for obj in (reads, traces))
    assert not lacks_types(READS, replace(facts(btf=KERNEL), core_btf=LOCAL))


def test_a_field_of_a_type_in_a_module() -> None:
    plan = plan_load(READS, with_module("m"))
    assert unpack_insns(load(plan).insns)[0].off == 4
    assert not any(isinstance(op, BtfByName) for op in plan.ops)  # a number needs no object


def test_vmlinux_comes_first() -> None:
    """A module with a type of the same name is not even looked at."""
    writer = BtfWriter(first_id=len(KERNEL), first_string=KERNEL.string_end)
    writer.struct("known", 64, [("a", 1, 256)])
    found = read_modules(["m"], results=[Data(writer.build())])
    reads = an_object_with(program([Insn(0x61, 0, 1)], core=(CoreReloc(0, 5, "0:0", 0),)))
    assert unpack_insns(load(plan_load(reads, found)).insns)[0].off == 0


def test_modules_that_disagree() -> None:
    found = read_modules(["m", "n"], results=[Data(module()), Data(module(offset=8))])
    (problem,) = plan_load(READS, found).problems
    assert "ambiguous" in str(problem.error)


def test_types_in_place_of_the_kernels() -> None:
    other = types(t.Int("int", 4, 32, signed=True), t.Struct("of_module", 64, (t.Member("a", 1, 160),)))
    plan = plan_load(READS, replace(with_module("m"), core_btf=other))
    assert unpack_insns(load(plan).insns)[0].off == 20


def test_a_kfunc_of_a_module() -> None:
    op = load(plan := plan_load(CALLS, with_module("m")))
    assert BtfByName("m") in plan.ops
    opened = Ref(plan.ops.index(BtfByName("m")))
    assert op.fd_array == (opened, opened)
    call = unpack_insns(op.insns)[0]
    assert (call.src, call.off, call.imm) == (2, 1, len(KERNEL))


def test_a_variable_of_a_module() -> None:
    op = load(plan := plan_load(LOADS, with_module("m")))
    opened = Ref(plan.ops.index(BtfByName("m")))
    low, high = unpack_insns(op.insns)[:2]
    assert (low.src, low.imm, high.imm) == (3, len(KERNEL) + 1, 0)
    assert op.patches == (FdPatch(1, opened),)


@pytest.mark.parametrize("obj", [TRACES, NAMES])
def test_a_function_of_a_module_to_trace(obj: ObjectFile) -> None:
    op = load(plan := plan_load(obj, with_module("other", "m") if obj is NAMES else with_module("m")))
    assert op.attach_btf_obj == Ref(plan.ops.index(BtfByName("m")))
    assert op.attach_btf_id == len(KERNEL)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("fentry/m:nothing", "module m has no kernel function 'nothing'"),
        ("fentry/absent:in_module", "this kernel has no module absent with BTF loaded"),
        ("fentry/vmlinux:in_module", "this kernel has no kernel function 'in_module'"),
        ("fentry/nowhere", "this kernel has no kernel function 'nowhere'"),
    ],
)
def test_targets_that_are_not_there(section: str, words: str) -> None:
    (problem,) = plan_load(an_object_with(program([], section=section)), with_module("m")).problems
    assert isinstance(problem.error, PlanError)
    assert words in str(problem.error)


def test_another_type_than_declared() -> None:
    writer = BtfWriter(first_id=len(KERNEL), first_string=KERNEL.string_end)
    proto = writer.func_proto(1, [("x", 1)])
    writer.func("in_module", proto, linkage=1)
    found = read_modules(["m"], results=[Data(writer.build())])
    (problem,) = plan_load(CALLS, found).problems
    assert "has another type in this kernel (in module m)" in str(problem.error)


def test_what_is_listed_and_read() -> None:
    start = facts(btf=KERNEL)
    assert needs(READS, start) == LIST
    listed = learn(start, LIST, results=[Data(b"m\0vmlinux\0n\0")])
    assert listed.listed == ("m", "n")
    assert needs(READS, listed) == [Try(ReadFile("/sys/kernel/btf/m")), Try(ReadFile("/sys/kernel/btf/n"))]
    read = learn(listed, needs(READS, listed), results=[Data(module()), Failed("ReadFile", 2, "gone")])
    assert list(read.modules or {}) == ["m"]
    assert needs(READS, read) == []  # what cannot be read is not asked for again
    none = learn(start, LIST, results=[Failed("ListDir", 2, "")])
    assert (none.listed, none.modules, needs(READS, none)) == ((), {}, [])


def test_modules_that_were_unloaded_are_forgotten() -> None:
    known = replace(with_module("m", "n"), listed=None)
    assert learn(known, LIST, results=[Data(b"m\0n")]).modules is known.modules
    assert list(learn(known, LIST, results=[Data(b"n")]).modules or {}) == ["n"]


def test_modules_that_went_or_do_not_fit_are_left_out() -> None:
    results = [Failed("ReadFile", 2, "gone"), Data(b"nonsense"), Data(module())]
    found = read_modules(["gone", "odd", "good"], results=results)
    assert list(found.modules or {}) == ["good"]
    assert isinstance((found.modules or {})["good"], Btf)
    assert parse_btf(module(), base=KERNEL).name(len(KERNEL)) == "in_module"
