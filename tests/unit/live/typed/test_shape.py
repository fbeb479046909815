"""Keys, values and globals between Python and bytes."""

from __future__ import annotations

import pytest

from pytest_ebpf.btf import types as t
from pytest_ebpf.live.maps.diff import value_differences
from pytest_ebpf.live.typed.shape import Shape, StructKey, add_values, encode_lpm, hashable
from pytest_ebpf.obj.parse import parse_object
from support.paths import ROOT
from support.plan_facts import types

OBJECTS = ROOT / "sample_programs" / "built"


@pytest.fixture(scope="module")
def limits() -> Shape:
    """struct { u32 smallest; u32 largest; } of config.bpf.c."""
    obj = parse_object((OBJECTS / "config.bpf.o").read_bytes(), name="config")
    (variable,) = [v for section in obj.data for v in section.variables if v.name == "limits"]
    return Shape("global 'limits'", variable.size, "little", obj.btf, variable.type_id)


PLAIN = Shape("key of map 'm'", 4, "little")


def test_without_a_type() -> None:
    assert PLAIN.encode(5) == bytes([5, 0, 0, 0])
    assert PLAIN.encode(-1) == b"\xff" * 4
    assert PLAIN.encode("ab") == b"ab\0\0"
    assert PLAIN.encode(memoryview(b"abcd")) == b"abcd"
    assert PLAIN.decode(bytes([5, 0, 0, 0])) == 5
    assert Shape("x", 3, "little").decode(b"abc") == b"abc"
    assert Shape("x", 2, "big").encode(1) == bytes([0, 1])


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (b"abc", ValueError, "key of map 'm' is 4 bytes, got 3"),
        (1 << 32, ValueError, "does not fit in 4 bytes"),
        ("abcde", ValueError, "is 4 bytes, got 5"),
        ({"a": 1}, TypeError, "has no BTF type"),
        (None, TypeError, "has no BTF type"),
    ],
)
def test_what_does_not_fit(value: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        PLAIN.encode(value)


TAIL = types(
    t.Int("unsigned int", 4, 32), t.Array(1, 1, 0), t.Struct("tail", 4, (t.Member("n", 1, 0), t.Member("rest", 2, 32)))
)


def test_an_array_without_a_size_fills_its_variable_and_no_more() -> None:
    roomy = Shape("global 'tail'", 12, "little", TAIL, 3)
    assert roomy.encode({"n": 1, "rest": [2]}) == bytes((1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0))
    assert roomy.decode(roomy.encode({"n": 1})) == {"n": 1, "rest": [0, 0]}
    value = Shape("value of map 'm'", 4, "little", TAIL, 3)
    assert value.encode({"n": 1}) == bytes((1, 0, 0, 0))
    with pytest.raises(ValueError, match="value of map 'm' is 4 bytes, got 8"):
        value.encode({"n": 1, "rest": [2]})


def test_keys_of_arrays_of_arrays_can_be_keys() -> None:
    assert {hashable([[1, 2], [3, 4]], raw=b""): "x"} == {((1, 2), (3, 4)): "x"}


def test_structs(limits: Shape) -> None:
    raw = bytes([1, 0, 0, 0, 2, 0, 0, 0])
    assert limits.decode(raw) == {"smallest": 1, "largest": 2}
    assert limits.encode({"largest": 2, "smallest": 1}) == raw
    assert limits.encode((1, 2)) == raw
    assert limits.encode(raw) == raw
    assert limits.encode(hashable(limits.decode(raw), raw=raw)) == raw


@pytest.mark.parametrize("value", [{"smalest": 1}, {"smallest": 1 << 40}, (1, 2, 3), (1,)])
def test_what_does_not_fit_a_struct(limits: Shape, value: object) -> None:
    with pytest.raises((ValueError, TypeError), match="global 'limits'"):
        limits.encode(value)


def test_a_data_section_is_a_dict_of_its_variables() -> None:
    """clang leaves the offsets in the section's type at zero: the symbols have them."""
    obj = parse_object((OBJECTS / "config.bpf.o").read_bytes(), name="config")
    section = next(section for section in obj.data if section.name == ".rodata")
    shape = Shape("value of map '.rodata'", section.size, "little", obj.btf, section.btf_id, section.variables)
    values = {"limits": {"smallest": 64, "largest": 1500}, "strict": False, "label": "samples"}
    assert shape.decode(section.data) == values
    assert shape.encode(values) == section.data
    with pytest.raises(ValueError, match="there is no variable 'limit'; it has limits, strict, label"):
        shape.encode({"limit": 1})
    with pytest.raises(TypeError, match="takes a dict of variables, not 5"):
        shape.encode(5)


def test_struct_keys_are_dicts_that_can_be_keys() -> None:
    key = hashable({"a": 1, "b": 2}, raw=b"\1\2")
    assert isinstance(key, StructKey)
    assert key == {"a": 1, "b": 2}
    assert {key: "x"}[StructKey({"a": 1, "b": 2}, raw=b"\1\2")] == "x"
    assert (key["a"], bytes(key), repr(key)) == (1, b"\1\2", "{'a': 1, 'b': 2}")
    assert hashable([1, 2], raw=b"") == (1, 2)
    assert hashable(7, raw=b"") == 7


def test_lpm_keys_as_people_write_them() -> None:
    assert encode_lpm("192.0.2.0/24", size=8, byteorder="little") == bytes([24, 0, 0, 0, 192, 0, 2, 0])
    assert encode_lpm("192.0.2.7", size=8, byteorder="big") == bytes([0, 0, 0, 32, 192, 0, 2, 7])
    assert encode_lpm("2001:db8::/32", size=20, byteorder="little")[:8] == bytes([32, 0, 0, 0, 0x20, 1, 0xD, 0xB8])
    assert encode_lpm("not an address", size=8, byteorder="little") is None
    with pytest.raises(ValueError, match="is IPv6, but the key holds 4 bytes of address"):
        encode_lpm("::1", size=8, byteorder="little")


def test_sums() -> None:
    assert add_values([1, 2, 3]) == 6
    assert add_values([{"n": 1, "who": "a"}, {"n": 2, "who": "b"}]) == {"n": 3, "who": "a"}
    assert add_values([[1, 2], [10, 20]]) == [11, 22]
    assert add_values([b"x", b"y"]) == b"x"


@pytest.mark.parametrize(
    ("got", "expected", "lines"),
    [
        (1, 1, []),
        (1, 2, [": 1, expected 2"]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, [".b: 2, expected 3"]),
        ({"a": {"x": 1}}, {"a": {"x": 2}}, [".a.x: 1, expected 2"]),
        ({"a": 1}, {}, [".a: 1, not mentioned in what was expected"]),
        ({}, {"a": 1}, [".a: there is no such field, expected 1"]),
        ([1, 2], [1, 3], ["[1]: 2, expected 3"]),
        ([1], [1, 2], [": [1], expected [1, 2]"]),
        ({"a": 1}, 5, [": {'a': 1}, expected 5"]),
    ],
)
def test_differences(got: object, expected: object, lines: list[str]) -> None:
    assert list(value_differences(got, expected)) == lines
