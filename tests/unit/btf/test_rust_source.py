"""Rust made from BTF: laid out by the rules of ``repr(C)``, and compiled where a compiler is."""

from __future__ import annotations

from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.btf.rust_source import render_rust
from support.btf_writer import BtfWriter


def text_of(w: BtfWriter, *names: str) -> str:
    btf = parse_btf(w.build())
    return render_rust(btf, [type_id for name in names for type_id in btf.find(name)])


def test_names_are_those_that_bindgen_gives() -> None:
    w = BtfWriter()
    u32 = w.int("unsigned int", 4)
    inner = w.struct("", 4, [("a", u32, 0)])
    w.struct("outer", 12, [("type", u32, 0), ("", inner, 32), ("named", inner, 64)])
    text = text_of(w, "outer")
    assert (
        "    pub type_: u32,\n    pub __bindgen_anon_1: outer__bindgen_ty_2,\n    pub named: outer__bindgen_ty_2,\n"
        in text
    )
    assert "assert!(::core::mem::offset_of!(outer, named) == 8);" in text


def test_an_enum_is_a_module_of_constants() -> None:
    w = BtfWriter()
    verdict = w.enum("verdict", [("PASS", 0), ("DROP", 1)])
    w.struct("answer", 4, [("it", verdict, 0)])
    text = text_of(w, "answer")
    assert "    pub it: verdict::Type," in text
    assert "pub mod verdict {\n    pub type Type = u32;\n    pub const PASS: Type = 0;\n" in text


def test_the_target_of_a_pointer_is_declared_and_written_when_asked_for() -> None:
    w = BtfWriter()
    u32 = w.int("unsigned int", 4)
    far = w.struct("far", 4, [("a", u32, 0)])
    w.struct("near", 16, [("it", w.ptr(far), 0), ("any", w.ptr(0), 64)])
    alone = text_of(w, "near")
    assert "pub it: *mut far,\n    pub any: *mut ::core::ffi::c_void,\n" in alone
    assert "pub struct far {\n    _unknown: [u8; 0],\n}" in alone
    both = text_of(w, "near", "far")
    assert "_unknown" not in both
    assert both.count("pub struct far {") == 1


def test_structs_that_point_to_each_other_end() -> None:
    w = BtfWriter()
    first = w.struct("first", 8, [("next", 3, 0)])  # the pointer that comes third
    w.struct("second", 8, [("back", 4, 0)])
    w.ptr(2)
    w.ptr(first)
    text = text_of(w, "first", "second")
    assert "pub next: *mut second," in text
    assert "pub back: *mut first," in text


def test_bitfields_have_methods() -> None:
    w = BtfWriter()
    s32 = w.int("int", 4, signed=True)
    w.bitfields("flags", 4, [("low", s32, 0, 3), ("high", s32, 3, 7)])
    text = text_of(w, "flags")
    assert "pub _bitfield_0: [u8; 2],\n    pub _pad_2: [u8; 2],\n" in text
    assert "pub fn low(&self) -> i32" in text
    assert "pub fn set_high(&mut self, value: i32)" in text


def test_overlapping_fields_are_bytes() -> None:
    w = BtfWriter()
    u32 = w.int("unsigned int", 4)
    w.struct("either", 4, [("a", u32, 0), ("b", u32, 0)])
    assert "pub struct either {\n    pub _pad_0: [u8; 4],\n}" in text_of(w, "either")


def test_marks_of_no_bytes_among_bitfields_hide_no_field() -> None:
    """struct sk_buff has ``__u8 __pkt_type_offset[0]`` between two bitfields: all of it was bytes without names."""
    w = BtfWriter()
    u8 = w.int("unsigned char", 1)
    mark = w.array(u8, 0)
    fields = [
        ("first", u8, 0, 4),
        ("second", u8, 8, 4),
        ("mark", mark, 8, 0),
        ("third", u8, 16, 3),
        ("whole", u8, 24, 0),
    ]
    w.bitfields("marked", 4, fields)
    text = text_of(w, "marked")
    for field in ("mark", "whole"):
        assert f"pub {field}: " in text
    for field in ("first", "second", "third"):
        assert f"pub fn {field}(&self)" in text


def test_a_mark_inside_a_bitfield_is_left_out() -> None:
    w = BtfWriter()
    u8, u32 = w.int("unsigned char", 1), w.int("unsigned int", 4)
    w.bitfields("marked", 4, [("wide", u32, 0, 20), ("mark", w.array(u8, 0), 8, 0)])
    text = text_of(w, "marked")
    assert "pub _bitfield_0: [u8; 3],\n    pub _pad_3: [u8; 1],\n" in text
    assert "mark:" not in text
