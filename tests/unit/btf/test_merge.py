"""One BTF out of several, and BTF out of whatever file holds it."""

from __future__ import annotations

import struct

import pytest

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.merge import Place, merge_btf
from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.btf.source import find_btf
from pytest_ebpf.btf.types import DataSec, Kind, SecVar
from pytest_ebpf.btf.write import BtfBuilder
from pytest_ebpf.errors import ObjectError
from support.every_kind import every_kind


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_every_kind_is_moved_whole(byteorder: str) -> None:
    """The second copy of a BTF says the same as the first, with its ids further on."""
    writer, wanted = every_kind(byteorder)
    btf = parse_btf(writer.build())
    merged = merge_btf([btf, btf], same={}, sections={}, byteorder=byteorder)
    first, second = merged.ids
    for type_id, value in wanted.items():
        if isinstance(value, DataSec):
            assert (first[type_id], second[type_id]) == (0, 0)
            continue
        assert merged.btf.type(first[type_id]) == moved(value, first)
        assert merged.btf.type(second[type_id]) == moved(value, second)
    assert merged.btf.byteorder == byteorder
    assert merged.strings == (0, len(btf.strings))


def moved(value: object, ids: object) -> object:
    """A type with new ids, by the description of each kind."""
    from dataclasses import replace

    new = lambda type_id: ids[type_id]  # type: ignore[index]  # noqa: E731
    match value:
        case t.Array():
            return replace(value, type=new(value.type), index_type=new(value.index_type))
        case t.Struct():
            return replace(value, members=tuple(replace(m, type=new(m.type)) for m in value.members))
        case t.FuncProto():
            return replace(value, ret=new(value.ret), params=tuple(replace(p, type=new(p.type)) for p in value.params))
        case t.Ptr() | t.Typedef() | t.Modifier() | t.Func() | t.Var() | t.DeclTag():
            return replace(value, type=new(value.type))
    return value


def small(*values: t.BtfType) -> object:
    builder = BtfBuilder()
    for value in values:
        builder.add(value)
    return parse_btf(builder.build())


def test_what_is_the_same_is_there_once() -> None:
    declares = small(t.Int("int", 4, 32), t.FuncProto(1), t.Func("f", 2, 2), t.DeclTag("tag", 3))
    defines = small(t.Int("int", 4, 32), t.FuncProto(1), t.Func("f", 2, 1))
    merged = merge_btf([declares, defines], same={Place(0, 3): Place(1, 3)}, sections={}, byteorder="little")  # type: ignore[list-item]
    (function,) = merged.btf.find("f", Kind.FUNC)
    assert merged.ids[0][3] == merged.ids[1][3] == function
    assert merged.btf.type(function).linkage == 1  # type: ignore[union-attr]
    (tag,) = merged.btf.find("tag", Kind.DECL_TAG)
    assert merged.btf.type(tag).type == function  # type: ignore[union-attr]


def test_sections_come_last() -> None:
    one = small(t.Int("int", 4, 32), t.Var("a", 1, 1))
    two = small(t.Int("int", 4, 32), t.Var("b", 1, 1))
    section = DataSec("", 8, (SecVar(2, 0, 4), SecVar(1 << 32 | 2, 4, 4)))
    merged = merge_btf([one, two], same={}, sections={".data": section}, byteorder="little")  # type: ignore[list-item]
    found = merged.btf.type(merged.datasecs[".data"])
    assert found == DataSec(".data", 8, (SecVar(2, 0, 4), SecVar(4, 4, 4)))
    assert merged.datasecs[".data"] == len(merged.btf) - 1


# -- files


BTF = BtfBuilder().build()


def elf(section: bytes, *, names: bytes = b"\0.BTF\0.shstrtab\0", bits: int = 64, order: str = "<") -> bytes:
    """An ELF file of nothing but a .BTF section, of any machine."""
    wide = bits == 64
    head, row = (64, 64) if wide else (52, 40)
    body = section + names
    table = head + len(body)
    shape = order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII")

    def header(name: int, offset: int, size: int) -> bytes:
        return struct.pack(shape, name, 1, 0, 0, offset, size, 0, 0, 1, 0)

    ident = b"\x7fELF" + bytes((2 if wide else 1, 1 if order == "<" else 2, 1)) + bytes(9)
    start = ident + struct.pack(
        order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"), 2, 62, 1, 0, 0, table, 0, head, 0, 0, row, 3, 2
    )
    rows = header(0, 0, 0) + header(1, head, len(section)) + header(6, head + len(section), len(names))
    return start + body + rows


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [32, 64])
def test_the_section_of_a_file(bits: int, order: str) -> None:
    assert find_btf(elf(BTF, bits=bits, order=order)) == BTF


def test_bytes_as_they_are() -> None:
    assert find_btf(BTF) is BTF
    big = BtfBuilder(byteorder="big").build()
    assert find_btf(big) is big


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "neither BTF nor an ELF file"),
        (b"text", "neither BTF nor an ELF file"),
        (elf(BTF, names=b"\0.BTB\0.shstrtab\0"), "an ELF file without a .BTF section"),
        (elf(BTF)[:-70], "an ELF file without a .BTF section"),
        (b"\x7fELF\x07" + bytes(90), "an ELF file without a .BTF section"),
        (elf(BTF)[:40] + b"\xff" * 24 + elf(BTF)[64:], "an ELF file without a .BTF section"),
    ],
)
def test_files_without(data: bytes, words: str) -> None:
    with pytest.raises(ObjectError, match=words):
        find_btf(data, name="x")
