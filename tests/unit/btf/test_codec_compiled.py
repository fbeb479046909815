"""Values by type against another who knows: clang, which laid tests/data/types/layouts.c out for both byte orders."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_ebpf.btf.codec import decode, encode
from pytest_ebpf.btf.values import EnumValue
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.data_maps import plan_data
from support.paths import TESTS
from support.plan_facts import facts

DATA = TESTS / "data" / "types"

# What the source says, but for the views of the union, whose numbers depend on the byte order.
WANT: dict[str, Any] = {
    "scalars": {
        "u8": 200, "s8": -100, "u16": 0xBEEF, "s16": -2, "u32": 0xDEADBEEF, "s32": -3, "u64": 0xFEDCBA9876543210,
        "s64": -4, "yes": True, "no": False, "letter": ord("x"), "f": 1.5, "d": -2.25, "huge": -5,
    },
    "bits": {
        "three": 5, "seven": 100, "minus": -17, "across": 0xABCDE, "long_one": 0x2AAAABBBBCCCC, "flag": True,
        "color": 6, "last": 21, "plain": 0x1234,
    },
    "tight": {"a": 1, "b": 0x01020304, "c": 257, "d": 65, "e": 0x0102030405060708},
    "nested": {
        "id": 7, "points": [{"x": 1, "y": -1}, {"x": 2, "y": -2}, {"x": 0, "y": 0}],
        "whole": 0x01020304, "parts": b"\1\2\3\4", "first": 0x0102, "second": 0x0304,
        "name": "eight ch", "names": ["ab", "cdef"], "where": 0,
    },
    "color": 5,
    "sign": 0xFFFFFFFE,  # before LLVM 15 the type does not say that it has a sign
    "tiny": 200,
    "wide": 0x123456789AB,
    "grid": [[1, 2, 3], [4, 5, 6]],
    "text": "hello",
    "mac": "01:02:03:04:05:06",
    "numbers": [0.5, -1e100],
    "tail": {"count": 3, "items": [10, 20, 30, 0]},
}  # fmt: skip
LITTLE = {"whole": 0x04030201, "first": 0x0201, "second": 0x0403}
OTHERWISE = {"sign": -2, "nested": {k: v for k, v in WANT["nested"].items() if k not in LITTLE}}
NAMED = {"color": "GREEN", "sign": "MINUS", "tiny": "HIGH"}


@pytest.fixture(scope="module", params=["little", "big"])
def obj(request: pytest.FixtureRequest) -> ObjectFile:
    name = f"layouts_{'el' if request.param == 'little' else 'eb'}.o"
    found = parse_object((DATA / name).read_bytes(), name=name)
    assert found.byteorder == request.param
    return found


def wanted(obj: ObjectFile) -> dict[str, Any]:
    if obj.byteorder == "big":
        return WANT
    return WANT | {"nested": WANT["nested"] | LITTLE}


def raw(obj: ObjectFile, name: str) -> tuple[int, bytes]:
    ((section, variable),) = ((s, v) for s in obj.data for v in s.variables if v.name == name)
    return variable.type_id, section.data[variable.offset : variable.offset + variable.size]


@pytest.mark.parametrize("name", WANT)
def test_what_the_compiler_wrote_is_what_the_source_says(obj: ObjectFile, name: str) -> None:
    type_id, data = raw(obj, name)
    assert obj.btf is not None
    value = decode(obj.btf, type_id, data=data)
    assert value == wanted(obj)[name]
    if isinstance(value, dict):
        assert list(value) == list(wanted(obj)[name]), "in the order of the source"


@pytest.mark.parametrize("name", WANT)
def test_the_source_encodes_to_what_the_compiler_wrote(obj: ObjectFile, name: str) -> None:
    type_id, data = raw(obj, name)
    assert obj.btf is not None
    assert encode(obj.btf, type_id, value=wanted(obj)[name]) == data
    if name in OTHERWISE:
        assert encode(obj.btf, type_id, value=OTHERWISE[name]) == data
    if name in NAMED:
        assert encode(obj.btf, type_id, value=NAMED[name]) == data
        value = decode(obj.btf, type_id, data=data)
        assert isinstance(value, EnumValue)
        assert value.name == NAMED[name]


def test_globals_given_for_a_load_are_encoded_alike(obj: ObjectFile) -> None:
    """All of them set to what they are anyway, and one to something else."""
    (before,) = plan_data(obj, facts(), values={})
    (after,) = plan_data(obj, facts(), values=wanted(obj))
    assert after.contents == before.contents
    (other,) = plan_data(obj, facts(), values={"bits": WANT["bits"] | {"minus": -1, "color": "RED"}})
    type_id, data = raw(obj, "bits")
    at = before.contents.index(data)
    changed = other.contents[at : at + len(data)]
    assert (other.contents[:at], other.contents[at + len(data) :]) == (
        before.contents[:at],
        before.contents[at + len(data) :],
    )
    assert obj.btf is not None
    assert decode(obj.btf, type_id, data=changed) == WANT["bits"] | {"minus": -1, "color": 0}
