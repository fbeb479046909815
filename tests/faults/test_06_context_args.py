"""Line 6: ``__arg_ctx`` works before Linux 6.8, where global functions get the context struct of each program type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_ebpf import Bpf
from pytest_ebpf.agent.ops import BtfLoad, ProgLoad, Try
from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.context_args import plan_context_args
from pytest_ebpf.plan.learn import needs
from pytest_ebpf.plan.load_plan import LoadOptions, plan_load
from pytest_ebpf.uapi.enums import ProgType
from support.plan_facts import facts, types

Parsed = Callable[[str], ObjectFile]
WITH_STRUCT = {
    "on_kprobe": "bpf_user_pt_regs_t",
    "on_raw_tp": "bpf_raw_tracepoint_args",
    "on_perf_event": "bpf_perf_event_data",
    "gives_5": "__sk_buff",
    "gives_64": "xdp_md",
}


@pytest.mark.parametrize("name", WITH_STRUCT)
def test_a_function_that_takes_any_context_loads(bpf: Bpf, built: Path, name: str) -> None:
    assert bpf.load(built / "arg_ctx.bpf.o", only=name)[name].id > 0


def test_programs_run(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "arg_ctx.bpf.o", only=["gives_5", "gives_64"])
    assert obj["gives_5"].run(bytes(64)).retval == 5
    assert obj["gives_64"].run(bytes(64)).retval == 64


def loaded_types(obj: ObjectFile, name: str, *, tag: bool) -> tuple[Btf, list[int]]:
    """The BTF for a program, and the FUNC of each of its functions."""
    plan = plan_load(obj, facts(data={"arg_ctx": tag}), options=LoadOptions(only=(name,)))
    (btf,) = (op for op in plan.ops if isinstance(op, BtfLoad))
    (load,) = (op.op for op in plan.ops if isinstance(op, Try) and isinstance(op.op, ProgLoad))
    info = load.func_info
    return parse_btf(btf.data), [int.from_bytes(info[at + 4 : at + 8], "little") for at in range(0, len(info), 8)]


@pytest.mark.parametrize("name", WITH_STRUCT)
def test_the_copy_points_to_the_struct_of_the_program_type(parsed: Parsed, name: str) -> None:
    btf, (main, function) = loaded_types(parsed("arg_ctx"), name, tag=False)
    assert main < len(parsed("arg_ctx").btf or ())
    func = btf.type(function)
    assert isinstance(func, t.Func)
    assert (func.name, func.linkage) == ({"gives_5": "mark", "gives_64": "length"}.get(name, "from_any"), 1)
    proto = btf.type(func.type)
    assert isinstance(proto, t.FuncProto)
    pointer = btf.type(proto.params[0].type)
    assert isinstance(pointer, t.Ptr)
    assert btf.name(pointer.type) == WITH_STRUCT[name]
    assert len(proto.params) == (2 if name == "gives_5" else 1)


def test_nothing_changes_where_the_kernel_knows_the_tag_or_has_no_struct(parsed: Parsed) -> None:
    obj = parsed("arg_ctx")
    assert obj.btf is not None
    for name, tag in (("on_kprobe", True), ("on_tracepoint", False)):
        btf, funcs = loaded_types(obj, name, tag=tag)
        assert len(btf) == len(obj.btf)
        assert [btf.name(func) for func in funcs] == [name, "from_any"]


def test_only_objects_with_the_tag_are_asked_for_it(parsed: Parsed) -> None:
    assert [op.op.name for op in needs(parsed("arg_ctx"), facts()) if isinstance(op, Try) and _is_load(op)] == [
        "arg_ctx"
    ]
    assert needs(parsed("arg_ctx"), facts(data={"arg_ctx": False})) == []
    assert needs(parsed("any_verdict"), facts()) == []


def _is_load(op: Try) -> bool:
    return isinstance(op.op, ProgLoad)


@pytest.mark.parametrize(
    ("target", "prog_type", "changes"),
    [
        (t.Struct("pt_regs", 0, ()), ProgType.KPROBE, True),
        (t.Struct("pt_regs", 0, ()), ProgType.PERF_EVENT, True),
        (t.Struct("pt_regs", 0, ()), ProgType.XDP, False),
        (t.Typedef("bpf_user_pt_regs_t", 1), ProgType.KPROBE, False),
        (t.Struct("xdp_md", 0, ()), ProgType.XDP, False),
        (t.Struct("mine", 0, ()), ProgType.XDP, False),
        (t.Int("u64", 8, 64), ProgType.RAW_TRACEPOINT, True),
        (t.Int("u64", 8, 64), ProgType.KPROBE, False),
    ],
)
def test_the_types_that_libbpf_replaces(target: t.BtfType, prog_type: int, changes: bool) -> None:
    """need_func_arg_type_fixup() in src/libbpf.c."""
    btf = types(
        t.Struct("pt_regs", 0, ()),
        target,
        t.Ptr(2),
        t.FuncProto(0, (t.Param("ctx", 3),)),
        t.Func("f", 4, 1),
        t.DeclTag("arg:ctx", 5, 0),
    )
    assert bool(plan_context_args(btf, [prog_type]).copies) is changes
    static = types(*(btf.type(i) for i in range(1, 5)), t.Func("f", 4, 0), t.DeclTag("arg:ctx", 5, 0))
    assert not plan_context_args(static, [prog_type]).copies
