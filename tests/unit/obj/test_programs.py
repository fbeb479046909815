from __future__ import annotations

from typing import Any

import pytest

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.insn import Insn, pack_insns, slots_with_code, unpack_insns
from pytest_ebpf.obj.object import CoreReloc, FuncInfo, LineInfo, ObjectFile, ProgramDef, Reloc
from pytest_ebpf.obj.parse import parse_object
from support.btf_writer import BtfExtWriter, BtfWriter
from support.elf_writer import ALLOC, EXEC, FUNC, LOCAL, NOTYPE, SECTION, WEAK, WRITE, ElfWriter
from support.sample_object import EXIT, R_64_32, R_64_64, assemble, sample

each_order = pytest.mark.parametrize("byteorder", ["little", "big"])
CALL = (0x85, 0, 1, 0, -1)


def parse(elf: ElfWriter) -> ObjectFile:
    return parse_object(elf.build(), name="prog.o")


def function(obj: ObjectFile, name: str) -> ProgramDef:
    return next(f for f in obj.programs + obj.text if f.name == name)


@each_order
def test_programs_and_subprograms(byteorder: str) -> None:
    obj = parse_object(sample(byteorder), name="prog.o")
    assert (obj.byteorder, obj.license, obj.problems) == (byteorder, "GPL", ())
    assert [(p.name, p.section, p.section_offset, len(p.insns)) for p in obj.programs] == [
        ("main_prog", "xdp", 0, 80),
        ("probe", "?kprobe/x", 0, 24),
    ]
    assert [(p.name, p.section, p.section_offset, len(p.insns), p.is_global) for p in obj.text] == [
        ("sub", ".text", 0, 16, False),
        ("sub2", ".text", 16, 16, True),
    ]
    assert all(p.spec is None for p in obj.text)
    probe = obj.program("probe").spec
    assert probe is not None
    assert (probe.autoload, probe.target) == (False, "x")


@each_order
def test_what_instructions_refer_to(byteorder: str) -> None:
    obj = parse_object(sample(byteorder), name="prog.o")
    assert obj.program("main_prog").relocs == (
        Reloc(0, "map", "counters", ".maps", 0),
        Reloc(2, "data", ".data", ".data", 4),
        Reloc(4, "call", "sub", ".text", 0),
        Reloc(5, "kfunc", "bpf_kfunc"),
        Reloc(6, "extern", "jiffies"),
    )
    assert obj.program("probe").relocs == (Reloc(0, "data", "zeroes", ".bss", 0),)
    # a call within .text that no relocation entry tells of: imm -3 from slot 2
    assert function(obj, "sub2").relocs == (Reloc(0, "call", "sub", ".text", 0),)


@each_order
def test_function_line_and_core_records(byteorder: str) -> None:
    obj = parse_object(sample(byteorder), name="prog.o")
    main = obj.program("main_prog")
    assert obj.btf is not None
    assert main.func_info == (FuncInfo(0, main.btf_id),)
    assert obj.btf.name(main.btf_id) == "main_prog"
    first, second = main.line_info
    assert first == LineInfo(0, "a.c", 7, 9, "int x = lookup();", first.file_off, first.line_off, 7 << 10 | 9)
    assert (second.insn, second.line, second.text) == (8, 9, "return x;")
    assert obj.btf.string(first.line_off) == "  int x = lookup();"
    (core,) = main.core
    assert (core.insn, core.access, core.kind, obj.btf.name(core.type_id)) == (8, "0:1", 0, "value")
    assert [row.insn for row in function(obj, "sub").line_info] == [0]


def test_lookups_by_name() -> None:
    obj = parse_object(sample(), name="prog.o")
    assert obj.map("jumps").name == "jumps"
    with pytest.raises(KeyError, match="no 'nope'; there are: main_prog, probe"):
        obj.program("nope")


def test_several_functions_in_one_section_share_its_relocations() -> None:
    elf = ElfWriter()
    data = elf.section(".data", bytes(16), flags=ALLOC | WRITE)
    load = assemble((0x18, 1, 0, 0, 8), (0,), EXIT)
    section = elf.section("xdp", load * 2, flags=ALLOC | EXEC)
    anchor = elf.symbol("", data, type=SECTION, bind=LOCAL)
    elf.symbol("b", section, value=24, size=24, type=FUNC)
    elf.symbol("a", section, size=24, type=FUNC, bind=WEAK)
    elf.rel(section, [(24, anchor, R_64_64), (0, anchor, R_64_64)])
    obj = parse(elf)
    assert [(p.name, p.section_offset, p.is_weak, p.relocs) for p in obj.programs] == [
        ("a", 0, True, (Reloc(0, "data", ".data", ".data", 8),)),
        ("b", 24, False, (Reloc(0, "data", ".data", ".data", 8),)),
    ]


def test_static_functions_outside_of_text_are_subprograms() -> None:
    elf = ElfWriter()
    section = elf.section("xdp", assemble((*CALL[:4], 1), EXIT, EXIT), flags=ALLOC | EXEC)
    elf.symbol("main", section, size=16, type=FUNC)
    elf.symbol("helper", section, value=16, size=8, type=FUNC, bind=LOCAL)
    obj = parse(elf)
    assert ([p.name for p in obj.programs], [p.name for p in obj.text]) == (["main"], ["helper"])
    assert obj.program("main").relocs == (Reloc(0, "call", "helper", "xdp", 16),)
    assert obj.problems == ()


def test_hidden_functions() -> None:
    elf = ElfWriter()
    text = elf.section(".text", assemble(EXIT, EXIT, EXIT), flags=ALLOC | EXEC)
    elf.symbol("hidden", text, size=8, type=FUNC, hidden=True)
    elf.symbol("seen", text, value=8, size=8, type=FUNC)
    elf.symbol("static", text, value=16, size=8, type=FUNC, bind=LOCAL, hidden=True)
    assert {f.name: f.is_hidden for f in parse(elf).text} == {"hidden": True, "seen": False, "static": False}


def test_addresses_and_calls_of_functions() -> None:
    """A callback is loaded by section symbol and byte offset, a global callee by its own symbol and imm -1."""
    elf = ElfWriter()
    text = elf.section(".text", assemble(EXIT, EXIT), flags=ALLOC | EXEC)
    section = elf.section("xdp", assemble((0x18, 2, 4, 0, 8), (0,), CALL, EXIT), flags=ALLOC | EXEC)
    anchor = elf.symbol("", text, type=SECTION, bind=LOCAL)
    elf.symbol("callback", text, value=8, size=8, type=FUNC, bind=LOCAL)
    callee = elf.symbol("callee", text, size=8, type=FUNC)
    elf.symbol("main", section, size=32, type=FUNC)
    elf.rel(section, [(0, anchor, R_64_64), (16, callee, R_64_32)])
    assert parse(elf).program("main").relocs == (
        Reloc(0, "func", "callback", ".text", 8),
        Reloc(2, "call", "callee", ".text", 0),
    )


def test_a_function_without_a_size_lasts_until_the_next() -> None:
    elf = ElfWriter()
    section = elf.section("xdp", assemble(EXIT, EXIT, EXIT), flags=ALLOC | EXEC)
    elf.symbol("a", section, type=FUNC)
    elf.symbol("b", section, value=16, type=FUNC)
    assert [(p.name, len(p.insns)) for p in parse(elf).programs] == [("a", 16), ("b", 8)]


def test_code_without_function_symbols_is_a_problem() -> None:
    elf = ElfWriter()
    elf.section("xdp", assemble(EXIT), flags=ALLOC | EXEC)
    (problem,) = parse(elf).problems
    assert (problem.section, "without a function symbol" in problem.message) == ("xdp", True)


def broken(change: str) -> ElfWriter:
    """Two programs, of which the first is broken."""
    elf = ElfWriter()
    debug = elf.section(".comment", b"x" * 8, flags=0)
    data = elf.section(".data", bytes(8), flags=ALLOC | WRITE)
    load = (0x18, 1, 0, 0, -16 if change == "far data" else 0)
    section = elf.section("xdp", assemble(load, (0,), (0x85, 0, 1, 0, 5), EXIT, EXIT), flags=ALLOC | EXEC)
    size = {"not whole": 12, "too long": 4000}.get(change, 32)
    elf.symbol("bad", section, size=size, type=FUNC)
    other = elf.section("tc", assemble(EXIT), flags=ALLOC | EXEC)
    elf.symbol("good", other, size=8, type=FUNC)
    nothing = elf.symbol("nothing", debug, size=8)
    if change == "no data":
        elf.rel(section, [(0, nothing, R_64_64)])
    if change == "far data":
        elf.rel(section, [(0, elf.symbol("end", data, value=8), R_64_64)])
    if change == "no load":
        elf.rel(section, [(24, nothing, R_64_64)])
    if change == "half an instruction":
        elf.rel(section, [(4, nothing, R_64_64)])
    return elf


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("not whole", "bytes 0x0 to 0xc are not whole instructions"),
        ("too long", "bytes 0x0 to 0xfa0 are not whole instructions"),
        ("no data", "instruction 0 refers to byte 0x0 of section .comment, which is no map, data or function"),
        ("no load", r"instruction 3 \(opcode 0x95\) cannot refer to 'nothing'"),
        ("half an instruction", r"cannot refer to 'nothing'"),
        ("far data", "instruction 0 refers to byte -0x8 of section .data, which is no map, data or function"),
        ("bad call", "instruction 2 calls byte 0x40 of section xdp, where no function starts"),
    ],
)
def test_a_broken_program_costs_itself_only(change: str, says: str) -> None:
    obj = parse(broken(change))
    assert [p.name for p in obj.programs] == ["good"]
    (problem,) = obj.problems
    assert (problem.section, problem.symbol) == ("xdp", "bad")
    with pytest.raises(ObjectError, match=says):
        raise ObjectError(str(problem))


def test_externs() -> None:
    obj = parse_object(sample(), name="prog.o")
    found = {extern.name: extern for extern in obj.externs}
    assert {name: (e.kind, e.is_weak, bool(e.type_id), e.size) for name, e in found.items()} == {
        "CONFIG_HZ": ("kconfig", False, True, 4),
        "jiffies": ("ksym", False, False, 0),
        "bpf_kfunc": ("kfunc", True, True, 0),
    }
    assert found["CONFIG_HZ"].align == 4


def test_externs_without_btf() -> None:
    elf = ElfWriter()
    section = elf.section("xdp", assemble((0x18, 1), (0,), CALL, EXIT), flags=ALLOC | EXEC)
    elf.symbol("main", section, size=32, type=FUNC)
    variable = elf.symbol("some_ksym", type=NOTYPE)
    kfunc = elf.symbol("some_kfunc", type=NOTYPE, bind=WEAK)
    elf.symbol("unused", type=NOTYPE)
    elf.rel(section, [(0, variable, R_64_64), (16, kfunc, R_64_32)])
    assert [(e.name, e.kind, e.is_weak, e.type_id) for e in parse(elf).externs] == [
        ("some_ksym", "ksym", False, 0),
        ("some_kfunc", "kfunc", True, 0),
    ]


def with_ext(data: bytes, *, btf: BtfWriter) -> ElfWriter:
    elf = ElfWriter(btf.byteorder)
    section = elf.section("xdp", assemble(EXIT, byteorder=btf.byteorder), flags=ALLOC | EXEC)
    elf.symbol("main", section, size=8, type=FUNC)
    elf.section(".BTF", btf.build(), flags=0)
    elf.section(".BTF.ext", data, flags=0)
    return elf


@each_order
@pytest.mark.parametrize(("header", "sizes"), [(24, (8, 16, 16)), (32, (8, 16, 16)), (40, (12, 20, 24))])
def test_headers_and_records_of_any_length(byteorder: str, header: int, sizes: tuple[int, int, int]) -> None:
    btf = BtfWriter(byteorder=byteorder)
    main = btf.func("main", btf.func_proto(0))
    ext = BtfExtWriter(btf, record_sizes=sizes)
    ext.func("xdp", 0, main)
    ext.line("xdp", 0, file="a.c", text="x", line=1000, col=1023)
    if header > 24:
        ext.core("xdp", 0, type_=main, access="0", kind=8)
    program = parse(with_ext(ext.build(header=header), btf=btf)).program("main")
    assert program.func_info == (FuncInfo(0, main),)
    assert [(row.line, row.col) for row in program.line_info] == [(1000, 1023)]
    assert program.core == ((CoreReloc(0, main, "0", 8),) if header > 24 else ())


def ext_bytes(**change: Any) -> bytes:
    btf = BtfWriter()
    ext = BtfExtWriter(btf)
    ext.func("xdp", 0, 1)
    data = bytearray(ext.build())
    for at, value in change.items():
        offset = int(at.removeprefix("at"))
        data[offset : offset + 4] = value.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x9f\xeb\1\0", "header cut off"),
        (ext_bytes(at0=0), "unknown header"),
        (ext_bytes(at4=20), "unknown header"),
        (ext_bytes(at4=4000), "unknown header"),
        (ext_bytes(at12=4000), "a table ends after the section does"),
        (ext_bytes(at32=4), "records of 4 bytes"),
        (ext_bytes(at32=1 << 31), "records of"),
        (ext_bytes(at40=1 << 30), "do not fit"),
        (ext_bytes(at12=6), "cut off"),
        (ext_bytes(at36=9999), "string offset"),
    ],
)
def test_broken_ext_names_file_and_section(data: bytes, says: str) -> None:
    btf = BtfWriter()
    btf.func("main", btf.func_proto(0))
    with pytest.raises(ObjectError, match=says) as caught:
        parse(with_ext(data, btf=btf))
    assert caught.value.path == "prog.o"


@each_order
def test_instructions_unpack_and_pack(byteorder: str) -> None:
    data = assemble((0x18, 1, 2, -3, 0x7FFFFFFF), (0, 0, 0, 0, -1), (0x85, 0, 1, 0, -1), EXIT, byteorder=byteorder)
    insns = unpack_insns(data, byteorder=byteorder)
    assert insns == (Insn(0x18, 1, 2, -3, 0x7FFFFFFF), Insn(0, imm=-1), Insn(0x85, src=1, imm=-1), Insn(0x95))
    assert pack_insns(insns, byteorder=byteorder) == data
    assert list(slots_with_code(data, 0x85)) == [2]
    with pytest.raises(ValueError, match="12 bytes are not whole instructions"):
        unpack_insns(data[:12], byteorder=byteorder)
