from __future__ import annotations

import pytest

from pytest_ebpf.btf import types as t
from pytest_ebpf.errors import PlanError
from pytest_ebpf.obj.insn import CALL, LD_IMM64, Insn
from pytest_ebpf.obj.object import Extern
from pytest_ebpf.plan.ksyms import POISON_KFUNC, Ksym, call_kfunc, find_ksym, load_address
from pytest_ebpf.uapi.insn import PseudoCall, PseudoLoad
from support.plan_facts import an_object, facts, types

KALLSYMS = "ffffffff81000000 T _text\n0000000000000000 A zero\nffffffff82345678 d table\t[mod]\n"
LOCAL = types(t.Int("int", 4, 32, signed=True), t.FuncProto(1, (t.Param("p", 3),)), t.Ptr(0), t.FuncProto(1))
KERNEL = types(
    t.Int("int", 4, 32, signed=True),
    t.Ptr(0),
    t.FuncProto(1, (t.Param("task", 2),)),
    t.Func("bpf_acquire", 3),
    t.Var("runqueues", 1),
)
OBJ = an_object(btf=LOCAL)


def find(extern: Extern, **changes: object) -> Ksym:
    changes.setdefault("btf", KERNEL)
    return find_ksym(extern, OBJ, facts=facts(kallsyms=KALLSYMS, **changes))  # type: ignore[arg-type]


def test_a_typed_variable_and_a_function_are_in_the_kernels_types() -> None:
    assert find(Extern("runqueues", "ksym", 1)) == Ksym(btf_id=5)
    assert find(Extern("bpf_acquire", "kfunc", 2)) == Ksym(btf_id=4)
    assert find(Extern("bpf_acquire___v2", "kfunc", 2)) == Ksym(btf_id=4)


def test_an_untyped_variable_is_an_address() -> None:
    assert find(Extern("_text", "ksym")) == Ksym(address=0xFFFFFFFF81000000)
    assert find(Extern("table", "ksym")) == Ksym(address=0xFFFFFFFF82345678)


def test_an_address_of_zero_is_one_that_the_kernel_hides() -> None:
    with pytest.raises(PlanError, match="no kernel variable zero in /proc/kallsyms"):
        find(Extern("zero", "ksym"))


def test_weak_ones_may_be_missing() -> None:
    assert find(Extern("nope", "kfunc", 2, is_weak=True)) == Ksym()
    assert find(Extern("nope", "ksym", is_weak=True)) == Ksym()
    assert find(Extern("bpf_acquire", "kfunc", 2, is_weak=True), btf=None) == Ksym()


def test_calls_of_the_c_library_come_from_the_compiler() -> None:
    with pytest.raises(PlanError, match=r"calls memcmp\(\), and programs have no C library\n.*-fno-builtin") as caught:
        find(Extern("memcmp", "kfunc", 2))
    assert caught.value.feature == ""


def test_strong_ones_may_not() -> None:
    with pytest.raises(PlanError, match="no kernel function nope in its BTF") as caught:
        find(Extern("nope", "kfunc", 2))
    assert caught.value.feature == "kfunc:nope"
    assert "bpf_ksym_exists" in caught.value.hint
    with pytest.raises(PlanError, match="this kernel has none"):
        find(Extern("bpf_acquire", "kfunc", 2), btf=None)


def test_a_function_of_another_arity_is_not_the_one() -> None:
    with pytest.raises(PlanError, match="bpf_acquire has another type"):
        find(Extern("bpf_acquire", "kfunc", 4))


def test_addresses_go_into_loads() -> None:
    insns = [Insn(LD_IMM64, 3, 0, 0, 0), Insn(0)]
    load_address(insns, 0, ksym=Ksym(address=0xFFFFFFFF82345678))
    assert [insn.imm & 0xFFFFFFFF for insn in insns] == [0x82345678, 0xFFFFFFFF]
    load_address(insns, 0, ksym=Ksym(btf_id=5))
    assert insns == [Insn(LD_IMM64, 3, PseudoLoad.BTF_ID, 0, 5), Insn(0)]
    load_address(insns, 0, ksym=Ksym())
    assert insns == [Insn(LD_IMM64, 3), Insn(0)]


def test_calls_of_kfuncs() -> None:
    insns = [Insn(CALL, src=2, imm=-1)]
    assert call_kfunc(insns, 0, ksym=Ksym(btf_id=4), number=3) == ""
    assert insns == [Insn(CALL, src=PseudoCall.KFUNC_CALL, imm=4)]
    assert call_kfunc(insns, 0, ksym=Ksym(), number=3) == "missing"
    assert insns == [Insn(CALL, imm=POISON_KFUNC + 3)]
