"""What is different in objects that rustc and bpf-linker make."""

from __future__ import annotations

import pytest

from pytest_ebpf.btf.codec import decode, encode
from pytest_ebpf.btf.describe import describe
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.obj.rust_names import plain_name, rust_map_types
from support.btf_writer import BtfWriter
from support.rust_object import ARRAY, HASH, PERCPU_HASH, mangled, rust_object, rust_types


def parsed(**maps: tuple[str, tuple[int, ...]]) -> ObjectFile:
    return parse_object(rust_object(maps), name="rust.o")


def kinds_of(obj: ObjectFile, name: str) -> tuple[str, str]:
    """Names of the types of a map's key and value, "" where it has none."""
    found, btf = obj.map(name), obj.btf
    assert btf is not None
    key, value = (describe(btf, type_id) if type_id else "" for type_id in (found.key_type, found.value_type))
    return key, value


def test_the_parts_of_an_object() -> None:
    obj = parsed(HASH=("HashMap<u32, u64>", (HASH, 4, 8, 16)))
    assert obj.problems == ()
    assert [program.name for program in obj.programs] == ["globals"]
    assert {section.name for section in obj.data} == {".rodata", ".rodata.cst8"}
    # constants that the compiler made are no variables
    assert [variable.name for section in obj.data for variable in section.variables] == ["LIMIT"]
    assert obj.license == "Dual MIT/GPL"
    assert [reloc.kind for reloc in obj.programs[0].relocs] == ["call", "data", "data"]


def test_definitions_have_pinning_as_their_last_number() -> None:
    obj = parsed(PINNED=("HashMap<u32, u32>", (HASH, 4, 4, 16, 1, 0, 1)))
    assert (obj.map("PINNED").pinning, obj.map("PINNED").flags, obj.map("PINNED").legacy) == (1, 1, True)


@pytest.mark.parametrize(
    ("rust", "numbers", "types"),
    [
        ("HashMap<u32, u64>", (HASH, 4, 8), ("u32", "u64")),
        ("PerCpuHashMap<u32, u64>", (PERCPU_HASH, 4, 8), ("u32", "u64")),
        ("HashMap<crate_name::Flow, u64>", (HASH, 16, 8), ("struct Flow", "u64")),
        ("HashMap<[u8; 32], crate_name::deep::Flow>", (HASH, 32, 16), ("u8[32]", "struct Flow")),
        ("Array<crate_name::Flow>", (ARRAY, 4, 16), ("u32", "struct Flow")),
        # what the object does not know, or not in that size, stays bytes
        ("HashMap<u32, crate_name::Absent>", (HASH, 4, 8), ("", "")),
        ("HashMap<u32, crate_name::Flow>", (HASH, 4, 24), ("", "")),
        ("HashMap<u32, [u8; 7]>", (HASH, 4, 7), ("", "")),
        ("HashMap<u32, Option<u64>>", (HASH, 4, 8), ("", "")),
        ("HashMap<u32>", (HASH, 4, 8), ("", "")),
        ("RingBuf", (27, 0, 0), ("", "")),
        ("Other<u32, u64>", (HASH, 4, 8), ("", "")),
        # what no compiler writes
        ("HashMap<u32, " + "[" * 150 + "u8" + "; 1]" * 150 + ">", (HASH, 4, 1), ("", "")),
        ("HashMap<u32, [u8; " + "9" * 5000 + "]>", (HASH, 4, 8), ("", "")),
        ("HashMap<u32, [u8; 0]>", (HASH, 4, 8), ("", "")),
        ("HashMap<<<u32, u64>", (HASH, 4, 8), ("", "")),
        ("HashMap<>", (HASH, 4, 8), ("", "")),
    ],
)
def test_maps_have_the_types_that_the_name_of_theirs_says(
    rust: str, numbers: tuple[int, ...], types: tuple[str, str]
) -> None:
    assert kinds_of(parsed(M=(rust, (*numbers, 16))), "M") == types


def test_names_as_rust_writes_them() -> None:
    name = "HashMap<[u8; 32], maps::Pair>"
    assert mangled(name) == "HashMap_3C__5B_u8_3B__20_32_5D__2C__20_maps_3A__3A_Pair_3E_"
    assert plain_name(mangled(name)) == name
    assert plain_name("struct_10_b") == "struct_10_b"


def test_a_static_that_is_no_map() -> None:
    writer = BtfWriter()
    writer.var("COUNT", rust_types(writer)["u64"])
    assert rust_map_types(parse_btf(writer.build()), "COUNT", sizes=(4, 8)) == (0, 0)
    assert rust_map_types(parse_btf(writer.build()), "ABSENT", sizes=(4, 8)) == (0, 0)


# -- values


def typed(name: str) -> tuple[Btf, int]:
    writer = BtfWriter()
    ids = rust_types(writer)
    return parse_btf(writer.build()), ids[name]


def test_a_wrapped_value_is_the_value() -> None:
    btf, limit = typed("Global<u32>")
    assert decode(btf, limit, data=b"\x0a\0\0\0") == 10
    assert encode(btf, limit, value=11) == b"\x0b\0\0\0"
    with pytest.raises(ValueError, match="does not fit u32"):
        encode(btf, limit, value=1 << 32)


def test_an_enum_of_one_byte_inside_a_struct() -> None:
    btf, flow = typed("Flow")
    value = {"port": 53, "kind": "Udp", "flags": b"\1\2\3", "seen": 9}
    raw = encode(btf, flow, value=value)
    assert raw == b"\x35\0\0\0\x11\1\2\3\x09\0\0\0\0\0\0\0"
    assert decode(btf, flow, data=raw) == value | {"kind": 17}


def test_a_type_without_bytes() -> None:
    writer = BtfWriter()
    u32, unit = writer.int("u32", 4), writer.raw("()", 1, 0, 0)
    pair = writer.struct("Pair", 4, [("nothing", unit, 0), ("number", u32, 0)])
    btf = parse_btf(writer.build())
    assert decode(btf, pair, data=b"\1\0\0\0") == {"nothing": None, "number": 1}
    assert encode(btf, pair, value={"nothing": None, "number": 1}) == b"\1\0\0\0"
    with pytest.raises(TypeError, match=r"nothing: takes None, not 5"):
        encode(btf, pair, value={"nothing": 5})


def test_a_wrapper_without_a_value_stays_a_struct() -> None:
    """No compiler writes it: it must not lead round in circles."""
    writer = BtfWriter()
    u8 = writer.int("u8", 1)
    odd = writer.struct(mangled("Cell<u16>"), 2, [("low", u8, 0), ("high", u8, 8)])
    assert decode(parse_btf(writer.build()), odd, data=b"\1\2") == {"low": 1, "high": 2}


def test_wrappers_within_each_other_without_an_end() -> None:
    writer = BtfWriter()
    first = writer.first_id
    writer.struct(mangled("Cell<u8>"), 4, [("value", first + 1, 0)])
    writer.struct(mangled("Cell<u8>"), 4, [("value", first, 0)])
    with pytest.raises(ObjectError, match="contains itself"):
        decode(parse_btf(writer.build()), first, data=bytes(4))
