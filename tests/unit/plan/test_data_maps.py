from __future__ import annotations

from contextlib import suppress

import pytest

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.layout import fields
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.object import DataSection, ObjectFile, Variable
from pytest_ebpf.obj.read import read_object
from pytest_ebpf.plan.data_maps import placed_types, plan_data, section_layouts
from pytest_ebpf.plan.sanitise import SectionLayout
from support.paths import ROOT
from support.plan_facts import an_object, facts, types

SAMPLES, OBJECTS = ROOT / "sample_programs" / "built", ROOT / "tests" / "objects" / "built"

BTF = types(
    t.Int("unsigned int", 4, 32),
    t.Int("bool", 1, 8, is_bool=True),
    t.Struct("config", 8, (t.Member("limit", 1, 0), t.Member("on", 2, 32))),
    t.DataSec(".rodata", 0),
)
RODATA = DataSection(
    ".rodata",
    "rodata",
    16,
    bytes(range(16)),
    (Variable("limit", 0, 4, 1), Variable("config", 4, 8, 3), Variable("raw", 12, 3, 0)),
    btf_id=4,
)
BSS = DataSection(".bss", "bss", 8, b"", (Variable("counter", 0, 4, 1, is_global=False),))
OBJ = an_object(btf=BTF, data=(RODATA, BSS), name="dir/firewall.bpf.o")


def test_constants_are_frozen_and_readable_by_programs_only() -> None:
    rodata, bss = plan_data(OBJ, facts(), values={})
    assert rodata.frozen
    assert rodata.definition.flags == 1 << 7 | 1 << 10
    assert rodata.definition.value_type == 4
    assert rodata.contents == bytes(range(16))
    assert not bss.frozen
    assert bss.definition.flags == 0  # all static: nothing to share
    assert bss.contents == b""  # zeros need no writing
    assert (bss.definition.key_size, bss.definition.value_size, bss.definition.max_entries) == (4, 8, 1)


def test_an_old_kernel_has_no_mmapable_arrays() -> None:
    assert plan_data(OBJ, facts(array_mmap=False), values={})[0].definition.flags == 1 << 7


def test_globals_are_encoded_by_their_types() -> None:
    rodata, bss = plan_data(OBJ, facts(), values={"limit": 7, "config": {"on": True}, "raw": b"abc", "counter": 9})
    assert rodata.contents == b"\7\0\0\0" + bytes(4) + b"\1\0\0\0" + b"abc" + b"\x0f"
    assert bss.contents == b"\x09" + bytes(7)


def test_a_global_without_a_type_takes_bytes_or_a_number() -> None:
    rodata, _ = plan_data(OBJ, facts(), values={"raw": 0x010203})
    assert rodata.contents[12:15] == b"\3\2\1"


def test_a_global_that_does_not_exist() -> None:
    with pytest.raises(ObjectError, match=r"no global variable 'limits' to set\ndid you mean limit\?"):
        plan_data(OBJ, facts(), values={"limits": 1})


@pytest.mark.parametrize("value", [1 << 40, "text", {"no": 1}])
def test_a_value_that_does_not_fit(value: object) -> None:
    with pytest.raises(ObjectError, match="global 'limit' cannot be"):
        plan_data(OBJ, facts(), values={"limit": value})
    with pytest.raises(ObjectError, match="global 'raw' cannot be"):
        plan_data(OBJ, facts(), values={"raw": value})


@pytest.mark.parametrize(
    ("name", "section", "expected"),
    [  # examples of libbpf's rule
        ("my_object_name.bpf.o", ".rodata", "my_objec.rodata"),
        ("my_object_name.bpf.o", ".bss", "my_objec.bss"),
        ("x.o", ".data", "x.data"),
        ("x.o", ".rodata.custom", ".rodata.custom"),
        ("x.o", "my/section", "my_section"),
    ],
)
def test_names_of_data_maps(name: str, section: str, expected: str) -> None:
    obj = an_object(name=name, data=(DataSection(section, "data", 4, bytes(4)),))
    assert plan_data(obj, facts(), values={})[0].kernel_name == expected


def test_layouts_are_for_sections_with_types() -> None:
    layout = SectionLayout(16, {"limit": (0, 4), "config": (4, 8), "raw": (12, 3)})
    assert section_layouts(OBJ) == {4: layout}


def test_zeros_are_not_written_out() -> None:
    """A .bss may be larger than this machine's memory."""
    huge = DataSection(".bss", "bss", (1 << 31) - 1, b"")
    (planned,) = plan_data(an_object(data=(huge,)), facts(), values={})
    assert (planned.contents, planned.definition.value_size) == (b"", (1 << 31) - 1)


def test_a_section_that_no_kernel_takes() -> None:
    with pytest.raises(ObjectError, match=r"demo\.bpf\.o\[\.bss\]: 2,147,483,648 bytes of data\nno kernel takes"):
        plan_data(an_object(data=(DataSection(".bss", "bss", 1 << 31, b""),)), facts(), values={})


def test_a_variable_shorter_than_its_type() -> None:
    section = DataSection(".data", "data", 8, bytes(8), (Variable("short", 0, 4, 3),))
    with pytest.raises(ObjectError, match="global 'short' is 4 bytes long, but its type takes 8"):
        plan_data(an_object(btf=BTF, data=(section,)), facts(), values={"short": {"limit": 1}})


def test_the_value_of_a_section_is_read_by_the_names_of_its_variables() -> None:
    """Compilers leave the places of variables 0 in BTF: read by that, each lies outside of its section."""
    for path in sorted((*SAMPLES.glob("*.o"), *OBJECTS.glob("*.o"))):
        with suppress(ObjectError):  # broken on purpose
            check_data_sections(read_object(path))


def check_data_sections(obj: ObjectFile) -> None:
    placed = placed_types(obj, kconfig=None)
    for section in obj.data:
        size = obj.btf.known_size if obj.btf else lambda type_id: 0
        typed = {v.var_name or v.name: v.offset for v in reversed(section.variables) if v.type_id and size(v.type_id)}
        if placed is None or section.btf_id not in section_layouts(obj) or any("#" in name for name in typed):
            continue
        found = {field.name: field.bit_offset // 8 for field in fields(placed, section.btf_id)}
        assert found.items() <= typed.items(), f"{obj.name}: {section.name}"
        assert found, f"{obj.name}: {section.name}"
