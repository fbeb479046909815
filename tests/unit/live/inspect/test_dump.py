from __future__ import annotations

import struct

from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.live.inspect.dump import Jited, JitedFunction, Symbols, list_xlated, read_source_lines, xlated_names
from pytest_ebpf.obj.insn import Insn
from support.btf_writer import BtfWriter

KALLSYMS = (
    "ffffffff81000000 T _text\n"
    "ffffffff81001000 T __bpf_call_base\n"
    "ffffffff81002000 T htab_lookup\n"
    "ffffffffc0000000 t bpf_prog_0123456789abcdef_sub\t[bpf]\n"
)
SUB = 0xFFFFFFFFC0000000


def test_symbols() -> None:
    symbols = Symbols(KALLSYMS)
    assert symbols.base == 0xFFFFFFFF81001000
    assert symbols.at(0xFFFFFFFF81000000) == "_text"
    assert symbols.at(SUB) == "bpf_prog_0123456789abcdef_sub"
    assert symbols.at(0xFFFFFFFF81002001) == ""
    hidden = Symbols(KALLSYMS.replace("ffffffff", "00000000").replace("81001000", "0" * 8))
    assert (hidden.base, hidden.at(0)) == (0, "")
    assert Symbols("").base == 0


def text(*insns: Insn, symbols: Symbols | None = None) -> list[str]:
    names = xlated_names(
        helpers=("bpf_unspec", "bpf_map_lookup_elem"),
        symbols=symbols or Symbols(KALLSYMS),
        maps={7: "counts"},
        ksyms=(SUB, 0x1000),
    )
    return [line.text for line in list_xlated(insns, names=names, lines=())]


def test_names_in_a_dump() -> None:
    assert text(Insn(0x18, 1, 1, 0, 7), Insn(0)) == ["(18) r1 = map[counts]"]
    assert text(Insn(0x18, 1, 1, 0, 8), Insn(0)) == ["(18) r1 = map[id:8]"]
    assert text(Insn(0x18, 1, 2, 0, 7), Insn(0, imm=16)) == ["(18) r1 = map[counts][0]+16"]
    assert text(Insn(0x18, 1, 6, 0, 2), Insn(0, imm=8)) == ["(18) r1 = map[idx:2]+8"]
    assert text(Insn(0x18, 1, 4, 0, -3), Insn(0)) == ["(18) r1 = subprog[-3]"]
    assert text(Insn(0x18, 1, 0, 0, 5), Insn(0)) == ["(18) r1 = 0x5"]
    assert text(Insn(0x85, 0, 0, 0, 1)) == ["(85) call bpf_map_lookup_elem#1"]
    assert text(Insn(0x85, 0, 0, 0, 0x1000)) == ["(85) call htab_lookup#4096"]
    assert text(Insn(0x85, 0, 0, 0, 0x2000)) == ["(85) call 0xffffffff81003000#8192"]
    assert text(Insn(0x85, 0, 1, 5, 0)) == ["(85) call pc+5#bpf_prog_0123456789abcdef_sub"]
    assert text(Insn(0x85, 0, 1, 5, 1)) == ["(85) call pc+5#0x1000"]
    assert text(Insn(0x85, 0, 1, 0, 9)) == ["(85) call pc+9"]
    assert text(Insn(0x85, 0, 0, 0, 0x1000), symbols=Symbols("")) == ["(85) call unknown#4096"]


def test_source_lines_and_what_a_listing_holds() -> None:
    w = BtfWriter()
    file, line = w.string("a.c"), w.string("  return 0;")
    btf = parse_btf(w.build())
    records = struct.pack("=5I", 1, file, line, 3 << 10 | 2, 0xFFFFFFFF)
    (row,) = read_source_lines(records + b"cut off", record_size=20, btf=btf)
    assert (row.insn, row.file, row.line, row.text) == (1, "a.c", 3, "return 0;")
    assert read_source_lines(records, record_size=8, btf=btf) == ()
    assert read_source_lines(records, record_size=20, btf=None) == ()
    names = xlated_names(helpers=(), symbols=Symbols(""), maps={}, ksyms=())
    xlated = list_xlated((Insn(0xB7), Insn(0x95)), names=names, lines=(row,))
    assert str(xlated) == "   0: (b7) r0 = 0\n; return 0; @ a.c:3\n   1: (95) exit"
    assert "exit" in xlated
    assert "call" not in xlated
    assert 5 not in xlated
    assert [line.slot for line in xlated] == [0, 1]
    assert len(xlated) == 2


def test_machine_code_of_all_functions() -> None:
    assert Jited((JitedFunction("a", 1, b"ab"), JitedFunction("b", 2, b"c"))).code == b"abc"
    assert Jited(()).code == b""
