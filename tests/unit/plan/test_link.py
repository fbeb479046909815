"""Subprograms behind main programs, with their records."""

from __future__ import annotations

import pytest

from pytest_ebpf.errors import PlanError
from pytest_ebpf.obj.insn import CALL, LD_IMM64, Insn, pack_insns, unpack_insns
from pytest_ebpf.obj.object import FuncInfo, LineInfo, ProgramDef, Reloc
from pytest_ebpf.plan.link import Fixup, Linked, Prepared, function_index, link
from pytest_ebpf.uapi.insn import PseudoCall, PseudoLoad
from support.plan_facts import an_object

EXIT = Insn(0x95)
CALL_SUB = Insn(CALL, src=PseudoCall.CALL, imm=-1)


def function(name: str, insns: list[Insn], *relocs: Reloc, offset: int = 0, section: str = ".text") -> ProgramDef:
    line = LineInfo(0, "x.c", 1, 1, name, 10, 20, 1 << 10)
    return ProgramDef(
        name, section, None, pack_insns(insns), offset, relocs=relocs, func_info=(FuncInfo(0, 7),), line_info=(line,)
    )


def linked(main: ProgramDef, *text: ProgramDef) -> Linked:
    obj = an_object(programs=(main,), text=text)

    def prepare(function: ProgramDef) -> Prepared:
        fixups = (Fixup(0, "m"),) if function.name == "leaf" else ()
        notes = {1: "poison"} if function.name == "leaf" else {}
        return Prepared(function, function.insns, fixups, notes)

    return link(main, function_index(obj), prepare=prepare)


LEAF = function("leaf", [Insn(0xB7), EXIT], offset=16)
MIDDLE = function("middle", [CALL_SUB, EXIT], Reloc(0, "call", "leaf", ".text", 16))


def test_a_program_alone_stays_as_it_is() -> None:
    main = function("main", [Insn(0xB7), EXIT], section="xdp")
    found = linked(main, LEAF)
    assert unpack_insns(found.insns) == (Insn(0xB7), EXIT)
    assert found.starts == ((0, main),)
    assert found.func_info == ((0, 7),)


def test_what_is_reached_is_appended_once_and_calls_hold_the_distance() -> None:
    main = function(
        "main",
        [CALL_SUB, CALL_SUB, CALL_SUB, EXIT],
        Reloc(0, "call", "middle", ".text", 0),
        Reloc(1, "call", "leaf", ".text", 16),
        Reloc(2, "call", "leaf", ".text", 16),
        section="xdp",
    )
    found = linked(main, MIDDLE, LEAF, function("unused", [EXIT], offset=32))
    # main 0-3, middle 4-5, leaf 6-7
    assert [start for start, _ in found.starts] == [0, 4, 6]
    assert [unpack_insns(found.insns)[at].imm for at in (0, 1, 2, 4)] == [3, 4, 3, 1]
    assert len(found.insns) == 8 * 8


def test_fixups_notes_and_records_move_with_their_instructions() -> None:
    main = function("main", [CALL_SUB, EXIT], Reloc(0, "call", "leaf", ".text", 16), section="xdp")
    found = linked(main, LEAF)
    assert found.fixups == (Fixup(2, "m"),)
    assert found.notes == {3: "poison"}
    assert found.func_info == ((0, 7), (2, 7))
    assert [(row.insn, row.text) for row in found.line_info] == [(0, "main"), (2, "leaf")]


def test_the_address_of_a_callback() -> None:
    load = [Insn(LD_IMM64, 2, 0, 0, 16), Insn(0, imm=5), EXIT]
    main = function("main", load, Reloc(0, "func", "leaf", ".text", 16), section="xdp")
    found = linked(main, LEAF)
    assert unpack_insns(found.insns)[0] == Insn(LD_IMM64, 2, PseudoLoad.FUNC, 0, 2)
    assert unpack_insns(found.insns)[1] == Insn(0)


def test_functions_that_call_each_other_end() -> None:
    ping = function("ping", [CALL_SUB, EXIT], Reloc(0, "call", "pong", ".text", 16))
    pong = function("pong", [CALL_SUB, EXIT], Reloc(0, "call", "ping", ".text", 0), offset=16)
    main = function("main", [CALL_SUB, EXIT], Reloc(0, "call", "ping", ".text", 0), section="xdp")
    found = linked(main, ping, pong)
    assert [unpack_insns(found.insns)[at].imm for at in (0, 2, 4)] == [1, 1, -3]


def test_a_program_may_call_another_program() -> None:
    other = function("other", [EXIT], section="xdp", offset=64)
    main = function("main", [CALL_SUB, EXIT], Reloc(0, "call", "other", "xdp", 64), section="xdp")
    assert linked(main, other).starts == ((0, main), (2, other))


def test_records_are_all_or_none() -> None:
    from dataclasses import replace

    main = function("main", [CALL_SUB, EXIT], Reloc(0, "call", "leaf", ".text", 16), section="xdp")
    bare = replace(LEAF, func_info=(), line_info=())
    assert (linked(main, bare).func_info, linked(main, bare).line_info) == ((), ())
    assert linked(main, replace(bare, btf_id=9)).func_info == ((0, 7), (2, 9))


def test_a_call_into_the_middle_of_nowhere() -> None:
    main = function("main", [CALL_SUB, EXIT], Reloc(0, "call", "gone", ".text", 24), section="xdp")
    with pytest.raises(PlanError, match=r"main calls gone at \.text\+0x18, where no function starts"):
        linked(main, LEAF)
