"""Line 5: a weak kfunc that this kernel has with another type is missing; a type that is only declared matches."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf import Bpf, PlanError
from pytest_ebpf.btf import types as t
from pytest_ebpf.plan.core_match import compatible_functions, compatible_types
from support.plan_facts import types


@pytest.mark.bpf_feature("kfunc:bpf_task_acquire")
def test_the_flavour_that_fits_is_called(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "weak_kfunc_flavours.bpf.o")
    assert {name: int(obj[name].run().retval) for name in obj.programs} == {"which": 2, "compat": 0}


@pytest.mark.bpf_feature("kfunc:bpf_task_acquire")
def test_a_struct_that_is_only_declared_is_returned(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "kfunc_declared_return.bpf.o")
    assert [int(obj[name].run().retval) for name in obj.programs] == [4]


@pytest.mark.bpf_feature("kfunc:bpf_task_acquire")
def test_a_strong_one_of_another_type_is_an_error(bpf: Bpf, built: Path) -> None:
    with pytest.raises(PlanError, match="has another type in this kernel than the program declares"):
        bpf.load(built / "strong_kfunc_differs.bpf.o")


INT = t.Int("int", 4, 32, signed=True)
KERNEL = (INT, t.Struct("task", 4, (t.Member("pid", 1, 0),)), t.Ptr(2), t.FuncProto(3, (t.Param("pid", 1),)))


@pytest.mark.parametrize(
    ("declared", "params", "fits"),
    [
        (t.Fwd("task"), (t.Param("pid", 1),), True),
        (t.Fwd("task___v2"), (t.Param("pid", 1),), True),
        (t.Fwd("file"), (t.Param("pid", 1),), False),
        (t.Fwd("task", is_union=True), (t.Param("pid", 1),), False),
        (t.Fwd("task"), (), False),
        (t.Fwd("task"), (t.Param("pid", 3),), False),
    ],
)
def test_declared_returns(declared: t.BtfType, params: tuple[t.Param, ...], fits: bool) -> None:
    ours, kernel = types(INT, declared, t.Ptr(2), t.FuncProto(3, params)), types(*KERNEL)
    assert compatible_functions((ours, 4), (kernel, 4)) is fits
    assert not compatible_types((ours, 4), (kernel, 4))  # CO-RE's rule stays
