"""What compilers write about types, on the oldest kernel and on the newest: each kind loads, and stays where it was."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pytest_ebpf.agent.ops import (
    BtfLoad,
    Failed,
    Info,
    InfoByFd,
    Made,
    Op,
    ProgLoad,
    ProgLoaded,
    ProgRun,
    Ran,
    Result,
    Try,
)
from pytest_ebpf.kernels.base import check
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.kernels.running import RunningKernel
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.load_plan import LoadOptions, Plan, plan_load
from support.guests import images
from support.plan_facts import ALL_BTF
from support.typed_objects import KINDS, XDP_PASS, typed_object

pytestmark = pytest.mark.slow

# What Linux 5.10 refuses as it stands.
NEW = {"float", "decl_tag", "type_tag", "enum64", "signed enum", "tags of functions", "attribute"}


@pytest.fixture(scope="module", params=["oldest", "newest"])
def guest(request: pytest.FixtureRequest) -> Iterator[RunningKernel]:
    found = images()
    pool = KernelPool(PoolConfig())
    yield pool.get((found[0] if request.param == "oldest" else found[-1]).spec)
    pool.close()


def typed(kind: str, *, section: str = ".data") -> ObjectFile:
    obj = parse_object(typed_object(KINDS[kind], section=section), name="typed.o")
    assert not obj.problems
    return obj


def planned(guest: RunningKernel, obj: ObjectFile, *, log_level: int = 4) -> Plan:
    plan = plan_load(obj, guest.facts(), options=LoadOptions(log_level=log_level))
    assert not plan.problems
    return plan


def failures(plan: Plan, results: list[Result]) -> list[str]:
    return [
        f"{type(inner(op)).__name__}: {result}"
        for op, result in zip(plan.ops, results, strict=True)
        if type(result).__name__ not in ("Made", "Done", "ProgLoaded")
    ]


def inner(op: Op) -> Op:
    return op.op if isinstance(op, Try) else op


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_loads(guest: RunningKernel, kind: str) -> None:
    """With its types: the map and the program know them."""
    plan = planned(guest, typed(kind))
    results = guest.kernel.run(plan.ops)
    assert failures(plan, results) == []
    (program,) = (op for op in map(inner, plan.ops) if isinstance(op, ProgLoad))
    assert (len(program.func_info) // 8, len(program.line_info) // 16) == (3, 11)
    by_name = {planned.name: planned.op for planned in plan.maps}
    assert all(info(guest, results[at], field=MAP_BTF_VALUE) for at in by_name.values())
    assert info(guest, results[plan.programs[0].op], field=PROG_BTF_ID)
    loaded = check(results[plan.programs[0].op], ProgLoaded)
    ran = check(guest.kernel.run([ProgRun(loaded.handle, data=bytes(64))])[0], Ran)
    assert ran.retval == XDP_PASS


# struct bpf_map_info and bpf_prog_info (include/uapi/linux/bpf.h): byte of the field
MAP_BTF_VALUE, PROG_BTF_ID, PROG_FUNCS, PROG_LINES = 72, 128, 144, 148


def info(guest: RunningKernel, result: Result, *, field: int) -> int:
    assert isinstance(result, Made | ProgLoaded)
    data = check(guest.kernel.run([InfoByFd(result.handle)])[0], Info).data
    return int(struct.unpack_from("=I", data, field)[0])


@pytest.mark.parametrize("kind", sorted(NEW))
def test_what_old_kernels_refuse_is_changed_for_them(guest: RunningKernel, kind: str) -> None:
    """The other side: the same types as the compiler wrote them."""
    full = replace(guest.facts(), btf_features=ALL_BTF)
    (load,) = (op for op in plan_load(typed(kind), full).ops if isinstance(op, BtfLoad))
    (result,) = guest.kernel.run([Try(load)])
    assert isinstance(result, Failed if guest.name == images()[0].spec else Made), result


@pytest.mark.parametrize("section", [".data", ".rodata", ".data.custom", ".rodata.x-1"])
def test_sections_of_any_name(guest: RunningKernel, section: str) -> None:
    plan = planned(guest, typed("union", section=section))
    assert failures(plan, guest.kernel.run(plan.ops)) == []


LINE = re.compile(r"^; (?P<text>\w+ \d+)(?: @ typed\.c:(?P<line>\d+))?$")
INSN = re.compile(r"^(?P<at>\d+): \((?P<code>[0-9a-f]{2})\)")


def test_lines_are_those_of_the_instructions(guest: RunningKernel) -> None:
    """The verifier's log shows the line of C before the instruction it belongs to. The functions came from .text, in
    another order: hidden() is appended before shared()."""
    plan = planned(guest, typed("fwd"), log_level=2)
    results = guest.kernel.run(plan.ops)
    loaded = check(results[plan.programs[0].op], ProgLoaded)
    text, seen = "", {}
    for row in loaded.log.decode().splitlines():
        if line := LINE.match(row):
            text = line["text"]
        elif insn := INSN.match(row):
            seen[int(insn["at"])] = text
    assert seen == {
        0: "main_prog 0", 1: "main_prog 1", 2: "main_prog 2", 3: "main_prog 3", 4: "main_prog 4",
        5: "hidden 0", 7: "hidden 2", 9: "hidden 4", 10: "hidden 5",
        11: "shared 0", 12: "shared 1",
    }  # fmt: skip
    result = results[plan.programs[0].op]
    assert (info(guest, result, field=PROG_FUNCS), info(guest, result, field=PROG_LINES)) == (3, 11)
