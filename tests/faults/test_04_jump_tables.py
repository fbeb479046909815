"""Line 4: jump tables of clang 22 (``-mcpu=v4``) become maps of instructions (Linux 6.19)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_ebpf import Bpf, PlanError
from pytest_ebpf.agent.ops import MapCreate, MapFreeze, MapSet, ProgLoad, Try
from pytest_ebpf.obj.elf import read_elf
from pytest_ebpf.obj.insn import unpack_insns
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.obj.targets import JUMP_TABLES
from pytest_ebpf.plan.load_plan import plan_load
from pytest_ebpf.uapi.enums import MapType
from support.plan_facts import facts

Parsed = Callable[[str], ObjectFile]
_GOTOX = 0x0D


def test_tables_lead_to_instructions_of_their_function(parsed: Parsed) -> None:
    obj = parsed("jump_table")
    assert not obj.problems
    found = {f.name: [table.name for table in f.jump_tables] for f in (*obj.programs, *obj.text)}
    assert found == {"choose": ["BPF.JT.0.0"], "twice": ["BPF.JT.1.0", "BPF.JT.1.1"]}
    for function in (*obj.programs, *obj.text):
        insns = unpack_insns(function.insns)
        for table in function.jump_tables:
            assert len(table.targets) == 15
            assert all(0 <= target < len(insns) for target in table.targets)
            assert insns[table.insn].code == 0x18


def test_each_table_is_a_frozen_map_of_instructions_of_the_whole_program(parsed: Parsed) -> None:
    obj = parsed("jump_table")
    plan = plan_load(obj, facts())
    maps = [at for at, op in enumerate(plan.ops) if isinstance(op, MapCreate) and op.type == MapType.INSN_ARRAY]
    load = next(op.op for op in plan.ops if isinstance(op, Try) and isinstance(op.op, ProgLoad))
    insns = unpack_insns(load.insns)
    assert [plan.ops[at].max_entries for at in maps] == [15, 15, 15]  # type: ignore[union-attr]
    choose, twice = obj.program("choose"), obj.text[0]
    starts = [0, len(choose.insns) // 8, len(choose.insns) // 8]
    tables = [*choose.jump_tables, *twice.jump_tables]
    for at, start, table in zip(maps, starts, tables, strict=True):
        entries = [op for op in plan.ops[at + 1 : at + 16] if isinstance(op, MapSet)]
        targets = [struct.unpack("<I", op.value[:4])[0] for op in entries]  # type: ignore[index]
        assert targets == [start + target for target in table.targets]
        assert isinstance(plan.ops[at + 16], MapFreeze)
        assert (insns[start + table.insn].src, insns[start + table.insn + 1].imm) == (2, 0)
    assert sum(insn.code == _GOTOX for insn in insns) == 3
    assert len(load.patches) >= 3


@pytest.mark.parametrize(("leads_to", "is_read"), [("behind its end", True), ("before its start", False)])
def test_an_entry_behind_the_function_is_left_to_the_kernel(built: Path, leads_to: str, is_read: bool) -> None:
    """As with libbpf; the kernel: "jump table for insn 4 points outside of the subprog" (selftest verifier_gotox)."""
    data = (built / "jump_table.bpf.o").read_bytes()
    choose = parse_object(data, name="jump_table").program("choose")
    table = read_elf(data, name="jump_table").section(JUMP_TABLES)
    assert table is not None
    at = data.index(table.data)  # BPF.JT.0.0 is the first
    end = len(choose.insns)
    place = choose.section_offset + end + 24 if is_read else (1 << 64) - 8
    changed = parse_object(data[:at] + struct.pack("<Q", place) + data[at + 8 :], name="jump_table")
    if is_read:
        assert changed.program("choose").jump_tables[0].targets[0] == end // 8 + 3
    else:
        (problem,) = changed.problems
        assert "jump table 'BPF.JT.0.0' leads out of the function" in str(problem)


def case(number: int, extra: int) -> int:
    """What the switch of the program does."""
    return extra * number + 7 - (extra >> number) if number < 15 else -1


def test_they_jump_where_the_kernel_can_and_the_error_says_where_else(bpf: Bpf, built: Path) -> None:
    path = built / "jump_table.bpf.o"
    if not bpf.has("insn_array"):
        with pytest.raises(PlanError) as caught:
            bpf.load(path)
        assert "Linux 6.19" in caught.value.hint
        assert "-fno-jump-tables" in caught.value.hint
        return
    program = bpf.load(path)["choose"]
    for number in (0, 3, 14, 20):
        found = int(program.run(ctx=struct.pack("<ii", number, 500)).retval) & 0xFFFFFFFF
        assert found == case(number, 500) & 0xFFFFFFFF
