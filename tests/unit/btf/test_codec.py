from __future__ import annotations

import math
import pickle
import struct
from typing import Any

import pytest

from pytest_ebpf.btf.codec import decode, describe, encode
from pytest_ebpf.btf.decode import decoder
from pytest_ebpf.btf.encode import encoder
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.values import EnumValue
from pytest_ebpf.errors import ObjectError
from support.btf_writer import BtfWriter

each_order = pytest.mark.parametrize("byteorder", ["little", "big"])


class Types:
    """A writer with the usual scalars."""

    def __init__(self, byteorder: str = "little") -> None:
        self.w = BtfWriter(byteorder=byteorder)
        self.u8 = self.w.int("unsigned char", 1)
        self.i8 = self.w.int("signed char", 1, signed=True)
        self.char = self.w.int("char", 1, signed=True)
        self.bool = self.w.int("_Bool", 1, bool_=True)
        self.u16 = self.w.int("unsigned short", 2)
        self.u32 = self.w.int("unsigned int", 4)
        self.i32 = self.w.int("int", 4, signed=True)
        self.u64 = self.w.int("unsigned long", 8)
        self.u128 = self.w.int("__int128", 16, signed=True)

    def btf(self) -> Btf:
        return parse_btf(self.w.build())


@pytest.mark.parametrize(
    ("name", "value", "little"),
    [
        ("u8", 200, b"\xc8"),
        ("i8", -2, b"\xfe"),
        ("char", 65, b"A"),
        ("bool", True, b"\1"),
        ("u16", 0x1234, b"\x34\x12"),
        ("u32", 0xDEADBEEF, b"\xef\xbe\xad\xde"),
        ("i32", -1, b"\xff" * 4),
        ("u64", 1 << 63, bytes(7) + b"\x80"),
        ("u128", -(1 << 100), (-(1 << 100)).to_bytes(16, "little", signed=True)),
    ],
)
@each_order
def test_numbers(name: str, value: int, little: bytes, byteorder: str) -> None:
    types = Types(byteorder)
    btf, type_id = types.btf(), getattr(types, name)
    raw = little if byteorder == "little" else little[::-1]
    got = decode(btf, type_id, data=raw)
    assert (got, type(got)) == (value, type(value))
    assert encode(btf, type_id, value=value) == raw


@each_order
def test_floats(byteorder: str) -> None:
    types = Types(byteorder)
    single, double, huge = types.w.float("float", 4), types.w.float("double", 8), types.w.float("long double", 16)
    btf = types.btf()
    code = "<" if byteorder == "little" else ">"
    assert encode(btf, double, value=1.5) == struct.pack(code + "d", 1.5)
    assert decode(btf, single, data=struct.pack(code + "f", -0.25)) == -0.25
    assert math.isnan(decode(btf, double, data=encode(btf, double, value=math.nan)))
    assert decode(btf, huge, data=bytes(range(16))) == bytes(range(16))
    assert encode(btf, huge, value=bytes(range(16))) == bytes(range(16))
    with pytest.raises(ValueError, match="does not fit float"):
        encode(btf, single, value=1e300)
    with pytest.raises(TypeError, match="takes 16 bytes"):
        encode(btf, huge, value=1.0)


def action(types: Types) -> int:
    return types.w.enum("xdp_action", [("XDP_ABORTED", 0), ("XDP_DROP", 1), ("XDP_ALIAS", 1), ("XDP_PASS", 2)])


def test_enums_are_numbers_with_a_name() -> None:
    types = Types()
    type_id = action(types)
    btf = types.btf()
    got = decode(btf, type_id, data=b"\2\0\0\0")
    assert got == 2
    assert isinstance(got, EnumValue)
    assert (got.name, str(got), repr(got)) == ("XDP_PASS", "XDP_PASS", "<XDP_PASS: 2>")
    assert {2: "x"}[got] == "x"
    assert decode(btf, type_id, data=b"\1\0\0\0").name == "XDP_DROP", "the first of two names"
    assert decode(btf, type_id, data=b"\7\0\0\0") == 7
    assert encode(btf, type_id, value="XDP_PASS") == encode(btf, type_id, value=got) == b"\2\0\0\0"
    with pytest.raises(ValueError, match="'XDP_TX' is none of XDP_ABORTED, XDP_DROP"):
        encode(btf, type_id, value="XDP_TX")


def test_enum_values_pickle() -> None:
    value = pickle.loads(pickle.dumps(EnumValue(2, "XDP_PASS")))
    assert (value, value.name) == (2, "XDP_PASS")


def test_signed_and_64_bit_enums() -> None:
    types = Types()
    signed = types.w.enum("s", [("MINUS", -1)], signed=True)
    wide = types.w.enum64("w", [("BIG", 1 << 40)])
    btf = types.btf()
    assert decode(btf, signed, data=b"\xff" * 4).name == "MINUS"
    assert encode(btf, wide, value="BIG") == (1 << 40).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"true\0\0\0\0", "true"),
        (b"true\0old", "true"),
        (b"exactly8", "exactly8"),
        (bytes(8), ""),
        ("zö\n".encode().ljust(8, b"\0"), "zö\n"),
        (b"\xff\xfe\0\0\0\0\0\0", b"\xff\xfe\0\0\0\0\0\0"),
        (b"\0\1\2\3\4\5\6\7", b"\0\1\2\3\4\5\6\7"),
        (b"\1\0\0\0\0\0\0\0", b"\1\0\0\0\0\0\0\0"),
    ],
)
def test_char_arrays_are_text_when_they_are_text(raw: bytes, value: str | bytes) -> None:
    types = Types()
    comm = types.w.array(types.char, 8)
    assert decode(types.btf(), comm, data=raw) == value


def test_text_is_padded_and_may_not_be_too_long() -> None:
    types = Types()
    comm = types.w.array(types.w.modifier("const", types.char), 8)
    btf = types.btf()
    assert encode(btf, comm, value="true") == encode(btf, comm, value=b"true") == b"true\0\0\0\0"
    with pytest.raises(ValueError, match="9 bytes of text do not fit 8"):
        encode(btf, comm, value="123456789")


def test_byte_arrays_are_bytes() -> None:
    types = Types()
    key = types.w.array(types.w.typedef("__u8", types.u8), 7)
    btf = types.btf()
    raw = b"\0\1\2\3\4\5\6"
    assert decode(btf, key, data=raw) == raw
    assert encode(btf, key, value=[0, 1, 2, 3, 4, 5, 6]) == encode(btf, key, value=raw) == raw
    with pytest.raises(ValueError, match="takes 7 bytes, not 5"):
        encode(btf, key, value=b"12345")


def test_six_bytes_are_an_ethernet_address() -> None:
    types = Types()
    mac = types.w.array(types.w.typedef("__u8", types.u8), 6)
    btf = types.btf()
    raw = b"\0\1\2\3\4\x0a"
    assert decode(btf, mac, data=raw) == "00:01:02:03:04:0a"
    for value in ("00:01:02:03:04:0a", "0-1-2-3-4-A", raw, list(raw)):
        assert encode(btf, mac, value=value) == raw
    with pytest.raises(ValueError, match="takes 6 bytes, not 5"):
        encode(btf, mac, value=b"12345")


@each_order
def test_arrays_of_numbers_structs_and_arrays(byteorder: str) -> None:
    types = Types(byteorder)
    numbers = types.w.array(types.u16, 3)
    rows = types.w.array(numbers, 2)
    pairs = types.w.array(types.w.struct("pair", 4, [("a", types.u16, 0), ("b", types.u16, 16)]), 2)
    btf = types.btf()
    code = "<" if byteorder == "little" else ">"
    six = struct.pack(code + "6H", *range(1, 7))
    assert decode(btf, numbers, data=six) == [1, 2, 3]
    assert decode(btf, rows, data=six) == [[1, 2, 3], [4, 5, 6]]
    assert encode(btf, rows, value=[[1, 2, 3], [4, 5, 6]]) == six
    assert decode(btf, pairs, data=six) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert encode(btf, pairs, value=[{"b": 2}]) == struct.pack(code + "4H", 0, 2, 0, 0)
    with pytest.raises(ValueError, match=r"unsigned short\[3\]: takes 3 elements, not 4"):
        encode(btf, numbers, value=[1, 2, 3, 4])


def nested(types: Types) -> int:
    """struct event { u32 pid; _Bool ok; char comm[8]; struct { u64 a; union { u32 x; u8 y[4]; }; } in; void *p; }"""
    w = types.w
    union = w.struct("", 4, [("x", types.u32, 0), ("y", w.array(types.u8, 4), 0)], kind="union")
    inner = w.struct("inner", 16, [("a", types.u64, 0), ("", union, 64)])
    members = [("pid", types.u32, 0), ("ok", types.bool, 32), ("comm", w.array(types.char, 8), 40),
               ("in", inner, 128), ("p", w.ptr(0), 256)]  # fmt: skip
    return w.struct("event", 40, members)


VALUE: dict[str, Any] = {
    "pid": 7, "ok": True, "comm": "true", "in": {"a": 9, "x": 0x04030201, "y": b"\1\2\3\4"}, "p": 0xFFFF
}  # fmt: skip


def test_structs_keep_the_order_of_their_fields() -> None:
    types = Types()
    type_id = nested(types)
    btf = types.btf()
    raw = struct.pack("<I?8s3xQ4s4xQ", 7, True, b"true", 9, b"\1\2\3\4", 0xFFFF)
    got = decode(btf, type_id, data=raw)
    assert got == VALUE
    assert (list(got), list(got["in"])) == (list(VALUE), ["a", "x", "y"])
    assert encode(btf, type_id, value=VALUE) == raw


def test_fields_left_out_are_zero() -> None:
    types = Types()
    type_id = nested(types)
    btf = types.btf()
    assert encode(btf, type_id, value={}) == bytes(40)
    assert encode(btf, type_id, value={"in": {"y": [0, 0, 0, 1]}}) == bytes(27) + b"\1" + bytes(12)


def test_views_of_the_same_bytes_must_agree() -> None:
    types = Types()
    type_id = nested(types)
    with pytest.raises(ValueError, match=r"struct event: in\.y: it shares its bytes"):
        encode(types.btf(), type_id, value={"in": {"x": 1, "y": b"\2\0\0\0"}})


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        ({"pid": -1}, ValueError, r"struct event: pid: -1 does not fit unsigned int \(0 to 4294967295\)"),
        ({"pid": "7"}, TypeError, "pid: takes a number, not '7'"),
        ({"pid": 1.5}, TypeError, "pid: takes a number, not 1.5"),
        ({"ok": 2}, ValueError, "ok: 2 is neither true nor false"),
        ({"in": {"y": [1, 256]}}, ValueError, r"in\.y\[1\]: 256 does not fit unsigned char \(0 to 255\)"),
        ({"in": {"z": 1}}, ValueError, "in: struct inner has no field 'z'; it has a, x, y"),
        ({"pidd": 1}, ValueError, r"struct event has no field 'pidd'; did you mean pid\?"),
        ({"in": 3}, TypeError, "in: takes a dict of fields, not 3"),
        ({"in": b"short"}, ValueError, "in: takes 16 bytes, not 5"),
        ({"in": {"y": 3}}, TypeError, r"in\.y: takes a list of 4, not 3"),
        ("text", TypeError, "takes a dict of fields"),
    ],
)
def test_what_does_not_fit_names_the_field(value: object, error: type[Exception], says: str) -> None:
    types = Types()
    type_id = nested(types)
    with pytest.raises(error, match=says):
        encode(types.btf(), type_id, value=value)


def test_bytes_are_taken_as_they_are() -> None:
    types = Types()
    type_id = nested(types)
    btf = types.btf()
    assert encode(btf, type_id, value=bytes(range(40))) == bytes(range(40))
    assert encode(btf, type_id, value={"in": bytes(range(16))})[16:32] == bytes(range(16))


@pytest.mark.parametrize(
    ("byteorder", "raw"),
    # as clang lays out: unsigned low:3, mid:7; int high:6; unsigned last:16
    [("little", bytes((0b00101_101, 0b111110_00, 0x34, 0x12))), ("big", bytes((0b101_00001, 0b01_111110, 0x12, 0x34)))],
)
def test_bitfields_on_both_byte_orders(byteorder: str, raw: bytes) -> None:
    types = Types(byteorder)
    members = [
        ("low", types.u32, 0, 3),
        ("mid", types.u32, 3, 7),
        ("high", types.i32, 10, 6),
        ("last", types.u32, 16, 16),
    ]
    type_id = types.w.bitfields("bits", 4, members)
    btf = types.btf()
    value = {"low": 5, "mid": 5, "high": -2, "last": 0x1234}
    assert decode(btf, type_id, data=raw) == value
    assert encode(btf, type_id, value=value) == raw
    with pytest.raises(ValueError, match=r"high: 32 does not fit 6 bits \(-32 to 31\)"):
        encode(btf, type_id, value={"high": 32})


def test_bitfields_of_enums_and_bools() -> None:
    types = Types()
    type_id = types.w.bitfields("bits", 4, [("act", action(types), 0, 3), ("on", types.bool, 3, 1)])
    btf = types.btf()
    got = decode(btf, type_id, data=b"\x0a\0\0\0")
    assert (got["act"].name, got["on"]) == ("XDP_PASS", True)
    assert encode(btf, type_id, value={"act": "XDP_PASS", "on": True}) == b"\x0a\0\0\0"


def test_an_array_without_a_size_takes_what_is_there() -> None:
    types = Types()
    w = types.w
    text = w.struct("text", 4, [("len", types.u32, 0), ("data", w.array(types.char, 0), 32)])
    words = w.struct("words", 4, [("len", types.u32, 0), ("data", w.array(types.u16, 0), 32)])
    btf = types.btf()
    assert decode(btf, text, data=b"\5\0\0\0hello\0\0") == {"len": 5, "data": "hello"}
    assert decode(btf, words, data=b"\2\0\0\0\1\0\2\0\3") == {"len": 2, "data": [1, 2]}
    assert encode(btf, words, value={"len": 2, "data": [1, 2]}) == b"\2\0\0\0\1\0\2\0"
    assert encode(btf, words, value={"len": 2}) == b"\2\0\0\0"


def test_sections_decode_by_variable() -> None:
    types = Types()
    first, second = types.w.var("first", types.u32), types.w.var("second", types.u16)
    section = types.w.datasec(".data", [(first, 0, 4), (second, 6, 2)], size=8)
    btf = types.btf()
    assert decode(btf, section, data=b"\1\0\0\0\0\0\2\0") == {"first": 1, "second": 2}
    assert decode(btf, first, data=b"\1\0\0\0") == 1


def test_too_few_bytes_and_too_many() -> None:
    types = Types()
    type_id = nested(types)
    btf = types.btf()
    with pytest.raises(ValueError, match="struct event takes 40 bytes, not 39"):
        decode(btf, type_id, data=bytes(39))
    assert decode(btf, type_id, data=bytes(64))["pid"] == 0


def test_decoders_and_encoders_are_made_once() -> None:
    types = Types()
    btf = types.btf()
    assert decoder(btf, types.u32) is decoder(btf, types.u32)
    assert encoder(btf, types.u32) is encoder(btf, types.u32)


def hostile(kind: str) -> tuple[Btf, int]:
    types = Types()
    w = types.w
    if kind == "itself by value":
        type_id = len(w.records) + 1
        w.struct("s", 8, [("s", type_id, 0)])
    elif kind == "itself anonymously":
        type_id = len(w.records) + 1
        w.struct("s", 8, [("", type_id, 0)])
    elif kind == "deep":
        type_id = types.u8
        for _ in range(200):
            type_id = w.struct("s", 1, [("in", type_id, 0)])
    elif kind == "huge":
        type_id = w.array(w.array(types.u64, 0xFFFFFFFF), 0xFFFFFFFF)
    elif kind == "outside":
        type_id = w.struct("s", 4, [("far", types.u32, 64)])
    elif kind == "no value":
        type_id = w.struct("s", 8, [("later", w.fwd("later"), 0)])
    else:
        type_id = w.struct("s", 4, [("missing", 9999, 0)])
    return types.btf(), type_id


@pytest.mark.parametrize(
    "kind", ["itself by value", "itself anonymously", "deep", "huge", "outside", "no value", "missing"]
)
def test_hostile_types_are_object_errors(kind: str) -> None:
    btf, type_id = hostile(kind)
    for use in (lambda: decode(btf, type_id, data=bytes(64)), lambda: encode(btf, type_id, value={})):
        with pytest.raises(ObjectError):
            use()


def test_an_array_of_nothing_is_not_counted_out() -> None:
    types = Types()
    array = types.w.array(types.w.struct("empty", 0, []), 0xFFFFFFFF)
    assert decode(types.btf(), array, data=b"") == []


def test_names_as_c_writes_them() -> None:
    types = Types()
    w = types.w
    task = w.fwd("task_struct")
    cases = {
        types.u32: "unsigned int",
        w.ptr(0): "void *",
        w.ptr(task): "struct task_struct *",
        w.ptr(w.modifier("const", types.char)): "const char *",
        w.modifier("const", w.ptr(types.char)): "char * const",
        w.array(w.array(types.u8, 3), 2): "unsigned char[2][3]",
        w.ptr(w.array(types.u8, 3)): "unsigned char (*)[3]",
        w.array(w.ptr(types.u8), 4): "unsigned char *[4]",
        w.ptr(w.func_proto(types.i32, [("a", w.ptr(0)), ("b", types.i32), ("", 0)])): "int (*)(void *, int, ...)",
        w.ptr(w.modifier("type_tag", task, name="kptr")): "struct task_struct *",
        w.struct("", 4, [("a", types.u32, 0)], kind="union"): "union (anonymous)",
        action(types): "enum xdp_action",
        w.typedef("__u32", types.u32): "__u32",
        0: "void",
    }
    btf = types.btf()
    assert {type_id: describe(btf, type_id) for type_id in cases} == cases


def test_a_pointer_to_itself_has_a_name() -> None:
    w = BtfWriter()
    w.ptr(1)
    assert "…" in describe(parse_btf(w.build()), 1)
