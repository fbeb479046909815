"""Line 1: several sections of one name are told apart (``__attribute__((retain))`` of LLVM)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_ebpf import Bpf, ObjectError
from pytest_ebpf.obj.elf import read_elf
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.obj.same_names import merge_same_names
from support.elf_writer import ALLOC, EXEC, FUNC, NOBITS, WRITE, ElfWriter
from support.sample_object import EXIT, assemble

Parsed = Callable[[str], ObjectFile]
FRAME = bytes(64)


@pytest.mark.parametrize("name", ["retained_plain", "retained_programs"])
def test_programs_and_globals_of_sections_of_one_name(parsed: Parsed, name: str) -> None:
    obj = parsed(name)
    assert [program.name for program in obj.programs] == ["gives_11", "gives_22", "gives_303"]
    assert len({program.section_offset for program in obj.programs}) == 3
    found = {section.name: [variable.name for variable in section.variables] for section in obj.data}
    assert found == {".data": ["first", "second"], ".rodata": ["limit", "lowest"]}
    assert not obj.problems


@pytest.mark.parametrize("name", ["retained_plain", "retained_programs"])
def test_each_program_runs_its_own_code_on_its_own_data(bpf: Bpf, built: Path, name: str) -> None:
    obj = bpf.load(built / f"{name}.bpf.o")
    assert {name: int(obj[name].run(FRAME).retval) for name in obj.programs} == {
        "gives_11": 11,
        "gives_22": 22,
        "gives_303": 303,
    }
    assert {name: obj.globals[name] for name in obj.globals} == {"first": 1, "second": 2, "limit": 100, "lowest": 200}


def test_line_records_belong_to_the_section_that_the_relocation_names(parsed: Parsed) -> None:
    obj = parsed("retained_programs")
    for program in obj.programs:
        assert program.line_info, program.name
        assert program.line_info[0].insn == 0
        assert program.btf_id
        assert obj.btf is not None
        assert obj.btf.name(program.btf_id) == program.name


def test_subprograms_of_two_text_sections(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "retained_text.bpf.o")
    assert [int(obj[name].run(FRAME).retval) for name in ("gives_10", "gives_100")] == [10, 100]


def test_maps_of_two_maps_sections(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "retained_maps.bpf.o")
    assert {name: obj.maps[name].definition.max_entries for name in obj.maps} == {"plain": 1, "kept": 3}
    assert obj["gives_3"].run(FRAME).retval == 3


def two(first: tuple[bytes, int], second: tuple[bytes, int]) -> ElfWriter:
    """An object with two sections called "same"."""
    elf = ElfWriter()
    elf.section("same", first[0], flags=first[1])
    elf.section("same", second[0], flags=second[1])
    return elf


def test_the_second_begins_at_its_alignment_and_symbols_move() -> None:
    writer = two((b"abc", ALLOC | WRITE), (b"defg", ALLOC | WRITE))
    writer.symbol("x", 1, size=3)
    writer.symbol("y", 2, size=4)
    elf = merge_same_names(read_elf(writer.build(), name="a.o"))
    assert [section.data for section in elf.sections if section.name == "same"] == [b"abc\0\0\0\0\0defg", b""]
    assert {symbol.name: (symbol.section, symbol.value) for symbol in elf.symbols if symbol.name} == {
        "x": (1, 0),
        "y": (1, 8),
    }


def test_uninitialised_sections_add_up_and_mix_with_others() -> None:
    writer = ElfWriter()
    for name in ("zeros", "mixed"):
        writer.section(name, type=NOBITS, size=8, flags=ALLOC | WRITE)
    writer.section("zeros", type=NOBITS, size=8, flags=ALLOC | WRITE)
    writer.section("mixed", b"abcd", flags=ALLOC | WRITE)
    elf = merge_same_names(read_elf(writer.build(), name="a.o"))
    sections = {section.name: section for section in reversed(elf.sections)}
    assert (sections["zeros"].size, sections["zeros"].data) == (16, b"")
    assert (sections["mixed"].size, sections["mixed"].data) == (12, bytes(8) + b"abcd")


def test_code_and_data_of_one_name_are_refused() -> None:
    data = two((assemble(EXIT), ALLOC | EXEC), (b"abcd", ALLOC | WRITE)).build()
    with pytest.raises(ObjectError, match=r"\[same\]: it has both code and variables under this name"):
        parse_object(data, name="a.o")


def test_an_object_without_such_sections_is_left_as_it_is() -> None:
    writer = ElfWriter()
    code = writer.section("xdp", assemble((0xB7, 0, 0, 0, 2), EXIT), flags=ALLOC | EXEC)
    writer.symbol("gives_2", code, size=16, type=FUNC)
    elf = read_elf(writer.build(), name="a.o")
    assert merge_same_names(elf) is elf
