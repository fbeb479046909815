"""Values by type against another who knows: ctypes, over types and bytes from Hypothesis, in both byte orders."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from pytest_ebpf.btf.codec import decode, encode
from pytest_ebpf.btf.parse import Btf, parse_btf
from support.ctypes_types import Made, Universe

each_order = pytest.mark.parametrize("byteorder", ["little", "big"])
unhurried = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def drawn(data: st.DataObject, byteorder: str) -> tuple[Btf, Made, bytes]:
    """A type, and bytes for it."""
    universe = Universe(byteorder)
    made = universe.compound(data.draw, depth=3)
    size = ctypes.sizeof(made.c)
    return parse_btf(universe.w.build()), made, data.draw(st.binary(min_size=size, max_size=size))


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[name], theirs[name]) for name in theirs)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, float):
        return type(ours) is float and (ours == theirs or (math.isnan(ours) and math.isnan(theirs)))
    if isinstance(theirs, bytes):  # ctypes ends text at the first NUL, as the codec does where it is text
        return (ours.encode() if isinstance(ours, str) else bytes(ours).split(b"\0")[0]) == theirs.split(b"\0")[0]
    return type(ours) is type(theirs) and bool(ours == theirs)


@each_order
@unhurried
@given(data=st.data())
def test_decoding_gives_what_ctypes_reads(byteorder: str, data: st.DataObject) -> None:
    btf, made, raw = drawn(data, byteorder)
    ours, theirs = decode(btf, made.id, data=raw), made.read(made.c.from_buffer_copy(raw))
    assert same(ours, theirs), (ours, theirs)


@each_order
@unhurried
@given(data=st.data())
def test_what_was_decoded_encodes_to_the_same_value(byteorder: str, data: st.DataObject) -> None:
    btf, made, raw = drawn(data, byteorder)
    value = decode(btf, made.id, data=raw)
    try:
        again = encode(btf, made.id, value=value)
    except ValueError:  # views of a union disagree once a truth that was 7 is a truth
        assume(False)
    assert len(again) == len(raw)
    assert same(decode(btf, made.id, data=again), made.read(made.c.from_buffer_copy(again)))
    assert same(decode(btf, made.id, data=again), made.read(made.c.from_buffer_copy(raw)))


@each_order
@unhurried
@given(data=st.data(), name=st.sampled_from(["m0", "m1", "m2"]))
def test_one_field_changes_nothing_else(byteorder: str, data: st.DataObject, name: str) -> None:
    """A bitfield lies between others."""
    universe = Universe(byteorder)
    unit, bits = ctypes.c_uint32, [data.draw(st.integers(1, 10)) for _ in range(3)]
    base = universe.struct
    c = type("b", (base,), {"_fields_": [(f"m{at}", unit, width) for at, width in enumerate(bits)]})
    id_ = universe.w.int("unsigned int", 4)
    at = [sum(bits[:index]) for index in range(3)]
    type_id = universe.w.bitfields("b", 4, [(f"m{i}", id_, at[i], bits[i]) for i in range(3)])
    value = data.draw(st.integers(0, (1 << bits[int(name[1])]) - 1))
    raw = encode(parse_btf(universe.w.build()), type_id, value={name: value})
    theirs = c()
    setattr(theirs, name, value)
    assert raw == bytes(theirs)
