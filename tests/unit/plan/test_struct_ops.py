"""Tables of functions, laid out as the kernel has them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_ebpf.agent.ops import BtfLoad, FdAt, MapCreate, Op, ProgLoad, Ref, Try
from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import PlanError
from pytest_ebpf.obj.object import DataSection, ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.load_plan import LoadOptions, Plan, plan_load
from support.paths import TESTS
from support.plan_facts import an_object, facts, types

OBJ = parse_object((TESTS / "objects/built/struct_ops.bpf.o").read_bytes(), name="struct_ops.bpf.o")
U32, CHARS, PROTO, POINTER = 1, 3, 4, 5
LINK = t.Struct("bpf_struct_ops_link", 8, ())


def kernel(*members: tuple[str, int, int], links: bool = True, name: str = "tcp_congestion_ops") -> Btf:
    """A kernel whose struct has these members: (name, type, byte)."""
    own = t.Struct(name, 64, tuple(t.Member(member, type_, 8 * at) for member, type_, at in members))
    value = t.Struct(f"bpf_struct_ops_{name}", 128, (t.Member("common", U32, 0), t.Member("data", 6, 8 * 64)))
    known = [
        t.Int("unsigned int", 4, 32),
        t.Int("char", 1, 8),
        t.Array(2, U32, 16),
        t.FuncProto(U32),
        t.Ptr(PROTO),
        own,
        value,
    ]
    return types(*known, *([LINK] if links else []))


USUAL = (
    ("undo_cwnd", POINTER, 0),
    ("ssthresh", POINTER, 8),
    ("cong_avoid", POINTER, 16),
    ("flags", U32, 24),
    ("name", CHARS, 32),
)


def planned(btf: Btf | None, obj: ObjectFile = OBJ, **options: object) -> Plan:
    return plan_load(obj, facts(btf=btf), options=LoadOptions(**options))  # type: ignore[arg-type]


def flat(plan: Plan) -> list[Op]:
    return [op.op if isinstance(op, Try) else op for op in plan.ops]


def test_members_go_where_the_kernel_has_them() -> None:
    plan = planned(kernel(*USUAL))
    linked, plain = plan.struct_ops
    assert (linked.kernel_type, linked.by_link, plain.by_link) == ("tcp_congestion_ops", True, False)
    assert linked.value == bytes(64 + 32) + b"pe_linked".ljust(32, b"\0")
    ops = flat(plan)
    names = {at.offset: getattr(ops[at.target.index], "name", "") for at in linked.programs if isinstance(at, FdAt)}  # type: ignore[union-attr]
    assert names == {64: "undo", 72: "half", 80: "avoid"}


def test_the_map_and_its_programs_say_what_they_are_for() -> None:
    plan = planned(kernel(*USUAL))
    ops = flat(plan)
    creates = {op.name: op for op in ops if isinstance(op, MapCreate)}
    btf = Ref(next(i for i, op in enumerate(ops) if isinstance(op, BtfLoad)))
    linked = creates["linked"]
    assert (linked.type, linked.key_size, linked.value_size, linked.max_entries) == (26, 4, 128, 1)
    assert (linked.flags, creates["plain"].flags) == (1 << 13, 0)
    assert (linked.kernel_value, linked.btf, linked.btf_value) == (7, btf, 0)
    loads = {op.name: op for op in ops if isinstance(op, ProgLoad)}
    assert {name: (op.attach_btf_id, op.expected_attach_type) for name, op in loads.items()} == {
        "half": (6, 1),
        "undo": (6, 0),
        "avoid": (6, 2),
    }


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (USUAL[1:], "tcp_congestion_ops.undo_cwnd: this kernel has no such member, and the object sets it"),
        ((*USUAL[:4], ("name", POINTER, 32)), "name is a ptr in this kernel, not a array"),
        ((*USUAL[:4], ("name", 2, 32)), "name is a int in this kernel"),
        ((("undo_cwnd", U32, 0), *USUAL[1:]), "undo_cwnd is a int in this kernel, not a ptr"),
    ],
)
def test_what_this_kernel_does_not_have(members: tuple[tuple[str, int, int], ...], words: str) -> None:
    plan = planned(kernel(*members))
    assert set(plan.lost) == {"linked", "plain"}
    assert words in str(plan.lost["plain"])
    assert {problem.name for problem in plan.problems} == {"half", "undo", "avoid"}


def test_members_that_are_zero_need_not_exist() -> None:
    without_flags = tuple(member for member in USUAL if member[0] != "flags")
    assert not planned(kernel(*without_flags)).lost  # and no kernel has "no_kernel_has_this"


def test_a_kernel_without_links() -> None:
    """The table that wants one is lost; the other is not, and neither are the programs."""
    plan = planned(kernel(*USUAL, links=False))
    assert list(plan.lost) == ["linked"]
    assert (getattr(plan.lost["linked"], "since", ""), plan.problems) == ("6.4", ())
    assert [table.name for table in plan.struct_ops] == ["plain"]


@pytest.mark.parametrize("btf", [None, kernel(*USUAL, name="other_ops")])
def test_a_kernel_without_the_type(btf: Btf | None) -> None:
    plan = planned(btf)
    assert set(plan.lost) == {"linked", "plain"}
    assert isinstance(plan.problems[0].error, PlanError)


def test_tables_that_nobody_wants_are_left_out() -> None:
    off = dict.fromkeys(("undo", "avoid", "half"), False)
    from pytest_ebpf.plan.options import ProgramOverride

    plan = planned(kernel(*USUAL), programs={name: ProgramOverride(autoload=on) for name, on in off.items()})
    assert not plan.struct_ops
    assert not any(isinstance(op, MapCreate) for op in flat(plan))


def test_a_program_in_no_table() -> None:
    obj = replace(OBJ, data=())
    errors = {problem.name: str(problem.error) for problem in planned(kernel(*USUAL), obj).problems}
    assert errors["half"] == "half: no struct in .struct_ops or .struct_ops.link has it as a member"


def test_sections_that_are_switched_off() -> None:
    off = tuple(replace(section, name=f"?{section.name}") for section in OBJ.data)
    assert not planned(kernel(*USUAL), replace(OBJ, data=off)).struct_ops


def test_data_without_types_is_no_table() -> None:
    obj = an_object(data=(DataSection(".struct_ops", "struct_ops", 8, bytes(8)),))
    assert not planned(kernel(*USUAL), obj).struct_ops
