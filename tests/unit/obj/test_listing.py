from __future__ import annotations

import json

from click.testing import CliRunner

from pytest_ebpf.cli.inspect import inspect
from pytest_ebpf.obj.disasm import InsnNames
from pytest_ebpf.obj.insn import Insn
from pytest_ebpf.obj.listing import Listed, SourceLine, list_function, list_insns, render_listing
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.obj.read import read_object
from support.paths import ROOT
from support.sample_object import sample

BUILT = ROOT / "sample_programs" / "built"


def test_source_lines_stand_before_their_first_instruction() -> None:
    insns = [Insn(0xB7), Insn(0x18), Insn(0), Insn(0xBF), Insn(0x95)]
    lines = [
        SourceLine(0, "/src/a.c", 3, "first"),
        SourceLine(1, "/src/a.c", 3, "first, another column"),
        SourceLine(2, "/src/a.c", 4, "of the second slot"),
        SourceLine(4, "/src/a.c", 3, "first"),
    ]
    listed = list(list_insns(insns, names=InsnNames(), lines=lines, notes={3: "look"}))
    assert [(one.slot, one.source.line if one.source else 0) for one in listed] == [(0, 3), (1, 0), (3, 4), (4, 3)]
    assert render_listing(listed) == (
        "; first @ a.c:3\n   0: (b7) r0 = 0\n   1: (18) r0 = 0x0\n; of the second slot @ a.c:4\n"
        "   3: (bf) r0 = r0    ; look\n; first @ a.c:3\n   4: (95) exit"
    )
    assert render_listing([Listed(0, "(95) exit", SourceLine(0, "", 0, "text"))]) == "; text\n   0: (95) exit"


def test_relocations_have_names() -> None:
    obj = parse_object(sample(), name="x.o")
    texts = [one.text for one in list_function(obj, obj.program("main_prog"), helpers=("bpf_unspec",))]
    joined = "\n".join(texts)
    assert "map[counters]" in joined
    assert "call pc" in joined
    assert "#sub" in joined


def test_a_real_object() -> None:
    obj = read_object(BUILT / "map_kinds.bpf.o")
    text = "\n".join(render_listing(list_function(obj, program)) for program in obj.programs)
    assert all(f"map[{map_.name}]" in text for map_ in obj.maps if f"{map_.name}" in text)
    assert "@ map_kinds.bpf.c:" in text


def test_inspect_shows_instructions() -> None:
    path = str(BUILT / "core_task.bpf.o")
    result = CliRunner().invoke(inspect, ["--insns", path])
    assert result.exit_code == 0
    assert "ask_kernel (raw_tp/sys_exit):\n; struct task_struct___imagined" in result.output
    assert "   0: (85) call bpf_get_current_task#35\n" in result.output
    assert "(b7) r3 = 1    ; CO-RE field_exists: struct task_struct.comm\n" in result.output
    assert "(18) r2 = map[.bss][0]+40\n" in result.output
    (summary,) = json.loads(CliRunner().invoke(inspect, ["--insns", "--json", path]).output)
    rows = next(row for row in summary["programs"] if row["name"] == "ask_kernel")["listing"]
    assert rows[0]["text"] == "(85) call bpf_get_current_task#35"
    assert rows[0]["line"] == 40
    assert "listing" not in CliRunner().invoke(inspect, ["--json", path]).output
