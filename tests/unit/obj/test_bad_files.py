"""Every file that is not a sound eBPF object gets a message with the file, the section and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.obj.read import read_object
from support.btf_writer import BtfWriter
from support.elf_writer import ALLOC, EXEC, FUNC, RELA, WRITE, ElfWriter
from support.sample_object import EXIT, assemble, sample


def error_of(data: bytes) -> ObjectError:
    with pytest.raises(ObjectError) as caught:
        parse_object(data, name="prog.o")
    return caught.value


def one_program(**options: int) -> ElfWriter:
    elf = ElfWriter(**options)  # type: ignore[arg-type]
    section = elf.section("xdp", assemble(EXIT), flags=ALLOC | EXEC)
    elf.symbol("main", section, size=8, type=FUNC)
    return elf


def test_an_empty_file() -> None:
    error = error_of(b"")
    assert str(error).splitlines()[0] == "prog.o: the file is empty"
    assert "clang" in error.hint


def test_the_source_instead_of_the_object() -> None:
    error = error_of(b"\n#include <linux/bpf.h>\nint x;\n")
    assert str(error).splitlines() == [
        "prog.o: not an ELF object: it is text, starting with '#include <linux/bpf.h>'",
        "compile with: clang -O2 -g -target bpf -c prog.c -o prog.o",
    ]


def test_bytes_that_are_nothing() -> None:
    assert "it starts with the bytes 01 02 03 00" in str(error_of(b"\1\2\3\0\4"))


@pytest.mark.parametrize(
    ("machine", "name"), [(62, "x86-64"), (183, "AArch64"), (243, "RISC-V"), (9999, "ELF machine 9999")]
)
@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_another_architecture(machine: int, name: str, byteorder: str) -> None:
    elf = ElfWriter(byteorder, machine=machine)
    error = error_of(elf.build())
    assert str(error).splitlines()[0] == f"prog.o: an object for {name}, not for BPF"
    assert "-target bpf" in error.hint


@pytest.mark.parametrize("options", [{"type": 2}, {"type": 3}, {"elf_class": 1}])
def test_other_sorts_of_elf(options: dict[str, int]) -> None:
    assert "not a relocatable 64-bit object" in str(error_of(one_program(**options).build()))


@pytest.mark.parametrize("keep", [1, 16, 63, 64, 100, 1000, -1, -64])
def test_a_truncated_object(keep: int) -> None:
    data = sample()[:keep]
    error = error_of(data)
    assert error.path == "prog.o"
    assert error.hint


def test_the_section_that_is_cut_off_is_named() -> None:
    elf = one_program()
    at = elf.section("late", b"x" * 8)
    elf.sections[at].size = 1 << 40
    error = error_of(elf.build())
    assert (error.section, "cut off" in str(error)) == ("late", True)


def test_an_elf_file_without_sections() -> None:
    data = bytearray(one_program().build())
    data[40:48] = bytes(8)
    assert "without sections" in str(error_of(bytes(data)))


def test_sections_that_overlap() -> None:
    """A file of 100 KB whose sections say together that they hold 100 MB."""
    elf = one_program()
    for _ in range(200):
        elf.section("again", size=90_000)
    elf.section("body", bytes(90_000))
    data = bytearray(elf.build())
    assert "overlap" in str(error_of(bytes(data)))


def test_functions_that_overlap() -> None:
    elf = ElfWriter()
    section = elf.section("xdp", assemble(*[EXIT] * 100), flags=ALLOC | EXEC)
    for at in range(100):
        elf.symbol(f"f{at}", section, size=800, type=FUNC)
    error = error_of(elf.build())
    assert (error.section, "functions overlap" in str(error)) == ("xdp", True)


def test_maps_without_btf() -> None:
    elf = one_program()
    section = elf.section(".maps", bytes(32), flags=ALLOC | WRITE)
    elf.symbol("counters", section, size=32)
    error = error_of(elf.build())
    assert str(error).splitlines() == [
        "prog.o[.maps]: maps are defined in BTF, and the object has none",
        "compile with -g (and keep the .BTF section when stripping: llvm-strip -g); "
        "Rust: -C debuginfo=2 -C link-arg=--btf",
    ]


def test_without_btf_and_maps_an_object_is_fine() -> None:
    obj = parse_object(one_program().build(), name="prog.o")
    assert ([program.name for program in obj.programs], obj.btf, obj.problems) == (["main"], None, ())


@pytest.mark.parametrize(
    ("section", "hint"),
    [("qqq", "a section names the program type"), ("xdp_firewall", 'did you mean SEC("xdp")?')],
)
def test_an_unknown_section_costs_its_program_only(section: str, hint: str) -> None:
    elf = one_program()
    other = elf.section(section, assemble(EXIT), flags=ALLOC | EXEC)
    elf.symbol("odd", other, size=8, type=FUNC)
    obj = parse_object(elf.build(), name="prog.o")
    assert obj.program("main").spec is not None
    assert obj.program("odd").spec is None
    (problem,) = obj.problems
    assert (problem.section, problem.symbol) == (section, "odd")
    assert hint in problem.hint
    assert str(problem).startswith(f"{section}: odd: no program type goes by this section name")


def test_broken_btf_names_file_and_section() -> None:
    elf = one_program()
    elf.section(".BTF", BtfWriter().build()[:20], flags=0)
    error = error_of(elf.build())
    assert (error.path, error.section) == ("prog.o", ".BTF")
    assert str(error).startswith("prog.o[.BTF]: BTF header is cut off")


def test_btf_of_the_other_byte_order() -> None:
    elf = one_program()
    elf.section(".BTF", BtfWriter(byteorder="big").build(), flags=0)
    assert "big endian BTF in a little endian object" in str(error_of(elf.build()))


def test_relocations_with_addends() -> None:
    elf = one_program()
    elf.rel(1, [(0, 1, 1)], type=RELA)
    error = error_of(elf.build())
    assert (error.section, "addends" in str(error)) == (".relxdp", True)


def test_a_relocation_against_no_symbol() -> None:
    elf = ElfWriter()
    section = elf.section("xdp", assemble((0x18,), (0,), EXIT), flags=ALLOC | EXEC)
    elf.symbol("main", section, size=24, type=FUNC)
    elf.rel(section, [(0, 77, 1)])
    assert "symbol 77 of 2" in str(error_of(elf.build()))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ObjectError, match=r"missing\.bpf\.o: no such file") as caught:
        read_object(tmp_path / "missing.bpf.o")
    assert str(tmp_path) in caught.value.hint
    (tmp_path / "missing.bpf.c").write_text("int x;")
    with pytest.raises(ObjectError) as caught:
        read_object(tmp_path / "missing.bpf.o")
    assert "was it compiled? clang -O2 -g -target bpf -c" in caught.value.hint
    (tmp_path / "near.o").write_bytes(b"")
    with pytest.raises(ObjectError) as caught:
        read_object(tmp_path / "other.o")
    assert caught.value.hint.endswith(", which has near.o")


def test_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a.o").write_bytes(sample())
    with pytest.raises(ObjectError, match="a directory, not an object file") as caught:
        read_object(tmp_path)
    assert caught.value.hint == "it holds a.o: name one of them"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    loop = tmp_path / "loop.o"
    loop.symlink_to(loop)
    with pytest.raises(ObjectError, match="cannot be read"):
        read_object(loop)
    with pytest.raises(ObjectError, match="cannot be read"):
        read_object("nul\0byte.o")


def test_a_file_that_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "sample.o"
    path.write_bytes(sample())
    obj = read_object(str(path))
    assert (obj.name, [program.name for program in obj.programs]) == (str(path), ["main_prog", "probe"])
