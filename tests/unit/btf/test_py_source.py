"""Python classes made from BTF, run and compared with what the decoder makes of the same bytes."""

from __future__ import annotations

import ctypes

import pytest

from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.btf.py_source import render_python
from support.btf_writer import BtfWriter
from support.every_kind import every_kind
from support.made_classes import run_classes

each_order = pytest.mark.parametrize("byteorder", ["little", "big"])


@each_order
def test_every_kind(byteorder: str) -> None:
    btf = parse_btf(every_kind(byteorder)[0].build())
    made = run_classes(btf)
    assert made["flags"].from_buffer_copy((5).to_bytes(4, byteorder)) is not None  # type: ignore[arg-type]
    assert ctypes.sizeof(made["pair"]) == 16
    assert made["e"].TOP == 0xFFFFFFFF
    assert made["s64"](-(1 << 40)).name == "LOW"


def test_a_signed_bitfield_and_what_does_not_fit() -> None:
    w = BtfWriter()
    signed, unsigned = w.int("int", 4, signed=True), w.int("unsigned int", 4)
    w.bitfields("b", 4, [("s", signed, 0, 3), ("u", unsigned, 3, 5), ("__hidden", unsigned, 8, 4)])
    value = run_classes(parse_btf(w.build()))["b"]()
    value.s, value.u = -4, 31
    setattr(value, "__hidden", 9)
    assert (value.s, value.u, bytes(value)) == (-4, 31, bytes((0xFC, 0x09, 0, 0)))
    with pytest.raises(ValueError, match="32 does not fit into 5 bits"):
        value.u = 32
    with pytest.raises(ValueError, match="4 does not fit into 3 bits"):
        value.s = 4


def test_text_nested_and_anonymous_members() -> None:
    w = BtfWriter()
    char, u32 = w.int("char", 1, signed=True), w.int("unsigned int", 4)
    inner = w.struct("", 8, [("x", u32, 0), ("y", u32, 32)])
    union = w.struct("", 8, [("both", w.typedef("u64", w.int("long", 8)), 0), ("", inner, 0)], kind="union")
    rows = w.array(w.struct("row", 4, [("a", u32, 0)]), 2)
    w.struct("event", 32, [("comm", w.array(char, 8), 0), ("", union, 64), ("pair", inner, 128), ("rows", rows, 192)])
    event = run_classes(parse_btf(w.build()))["event"].from_buffer_copy(
        b"true\0\0\0\0" + bytes((1, 0, 0, 0, 2, 0, 0, 0)) + bytes((3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0))
    )
    assert event.comm == b"true"
    assert (event.both, event.x, event.y) == (0x200000001, 1, 2)
    assert (event.pair.x, event.pair.y, event.rows[1].a) == (3, 4, 6)


def test_names_that_python_needs_for_itself() -> None:
    w = BtfWriter()
    u32 = w.int("unsigned int", 4)
    w.struct("int", 4, [("from", u32, 0)])
    inner = w.struct("__inner", 4, [("__x", u32, 0)])
    w.struct("__outer", 4, [("__in", inner, 0)])
    w.bitfields("property", 4, [("class", u32, 0, 3)])
    w.enum("e", [("None", 1), ("_x_", 2), ("__y__", 3), ("mro", 4), ("__TCA_MAX", 5)])
    w.struct("e", 4, [("a", u32, 0)])
    made = run_classes(parse_btf(w.build()))
    assert made["int___2"](7).from_ == 7
    assert getattr(getattr(made["__outer"].from_buffer_copy(bytes((9, 0, 0, 0))), "__in"), "__x") == 9
    assert made["property___2"].from_buffer_copy(bytes((5, 0, 0, 0))).class_ == 5
    assert [member.value for member in made["e"]] == [1, 2, 3, 4, 5]
    assert made["e"]["__TCA_MAX"] == 5
    assert made["e___2"](3).a == 3


def test_only_what_is_asked_for() -> None:
    w = BtfWriter()
    u32 = w.int("unsigned int", 4)
    w.struct("unrelated", 4, [("a", u32, 0)])
    inner = w.struct("inner", 4, [("a", u32, 0)])
    outer = w.typedef("outer_t", w.struct("", 4, [("in", inner, 0)]))
    text = render_python(parse_btf(w.build()), [outer])
    assert [line for line in text.split("\n") if line.startswith("class ")] == [
        "class inner(ctypes.LittleEndianStructure):",
        "class outer_t(ctypes.LittleEndianStructure):",
    ]
    assert "    in_: inner  # offset 0, 4 bytes" in text
    assert "_bits" not in text
