from __future__ import annotations

import pytest

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import PlanError
from pytest_ebpf.obj.object import ProgramDef
from pytest_ebpf.obj.sections import parse_section
from pytest_ebpf.plan.attach import Attachment, ExtTarget, plan_attachment
from support.plan_facts import facts, types

KERNEL = types(
    t.FuncProto(0),
    t.Func("do_exit", 1),
    t.Func("schedule", 1),
    t.Typedef("btf_trace_sched_switch", 1),
    t.Func("bpf_lsm_file_open", 1),
    t.Func("bpf_iter_task", 1),
    t.Func("sched_switch", 1),
)


def attachment(section: str, *, btf: Btf | None = KERNEL, attach_type: bool = True, **targets: ExtTarget) -> Attachment:
    program = ProgramDef("prog", section, parse_section(section), b"")
    return plan_attachment(program, facts(btf=btf, attach_type=attach_type), targets=targets)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("xdp", Attachment(37, 0)),
        ("xdp.frags", Attachment(37, 1 << 5)),
        ("kprobe/do_exit", Attachment()),
        ("uprobe.s/x", Attachment(0, 1 << 4)),
        ("fentry/do_exit", Attachment(24, 0, 2)),
        ("fexit.s/do_exit", Attachment(25, 1 << 4, 2)),
        ("fentry/vmlinux:do_exit", Attachment(24, 0, 2)),
        ("tp_btf/sched_switch", Attachment(23, 0, 4)),
        ("lsm/file_open", Attachment(27, 0, 5)),
        ("lsm.s/file_open", Attachment(27, 1 << 4, 5)),
        ("iter/task", Attachment(28, 0, 6)),
    ],
)
def test_by_section(section: str, expected: Attachment) -> None:
    assert attachment(section) == expected


def test_an_optional_attach_type_is_dropped_where_there_are_none() -> None:
    assert attachment("xdp", attach_type=False).attach_type == 0
    assert attachment("cgroup/connect4", attach_type=False).attach_type == 10  # this one is not optional


def test_a_missing_target_names_those_most_like_it() -> None:
    with pytest.raises(
        PlanError, match=r"prog \(fentry/do_exut\): this kernel has no kernel function 'do_exut'"
    ) as caught:
        attachment("fentry/do_exut")
    assert caught.value.hint == "did you mean do_exit?"
    with pytest.raises(PlanError, match="no raw tracepoint 'sched_swatch'") as caught:
        attachment("tp_btf/sched_swatch")
    assert caught.value.hint == "did you mean sched_switch?"


def test_a_section_without_a_target() -> None:
    with pytest.raises(PlanError, match="does not name a kernel function") as caught:
        attachment("fentry")
    assert 'SEC("fentry/name")' in caught.value.hint
    assert 'programs={"prog": "fentry/name"}' in caught.value.hint


def test_a_kernel_without_types() -> None:
    with pytest.raises(PlanError, match="needs the kernel's BTF") as caught:
        attachment("fentry/do_exit", btf=None)
    assert caught.value.feature == "btf"


def test_an_extension_has_to_be_told_its_target() -> None:
    with pytest.raises(PlanError, match="prog extends another program"):
        attachment("freplace/f")
    handle = Handle(1, "b", "prog")
    assert attachment("freplace/f", prog=ExtTarget(handle, 9)) == Attachment(0, 0, 9, handle)
    assert attachment("fentry/f", prog=ExtTarget(handle, 9)) == Attachment(24, 0, 9, handle)
