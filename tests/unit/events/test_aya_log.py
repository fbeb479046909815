"""Records of aya-log. The first two are what aya-log-ebpf wrote on a kernel; the rest is written field by field."""

from __future__ import annotations

import struct

import pytest

from pytest_ebpf.events.aya_log import parse_aya_record, render_aya_line, render_aya_record
from pytest_ebpf.events.levels import LOG_LEVELS

SEEN = bytes.fromhex(
    "6700000400656270660101000302040065627066030b007372632f6d61696e2e72730404000e00000005040006000000"
    "140a007061636b6574206f66200001000108040046000000140d002062797465732c207365656e200001000109080001"
    "00000000000000"
)
HEX_AND_IP = bytes.fromhex(
    "8c000007007864705f6c6f67010100030207007864705f6c6f6703120073"
    "72632f62696e2f7864705f6c6f672e7273040400150000000504000c000000"
    "1404006c656e20000100010804004000000014070020"
    "70726f746f2000010002070200000814060020736565"
    "6e200001000109080001000000000000001404002069702000010004080400"
    "0100007f"
)

INTEGERS = ("i8", "i16", "i32", "i64", "isize", "u8", "u16", "u32", "u64", "usize")
KINDS = (
    "hint", *INTEGERS, "f32", "f64", "ipv4", "ipv6", "arr4", "arr6", "arr16", "arr8x2", "bytes", "str", "pointer",
)  # fmt: skip
TAGS = {name: tag for tag, name in enumerate(KINDS)}
OLD_TAGS = {name: tag for tag, name in enumerate(kind for kind in KINDS if kind not in ("ipv4", "ipv6", "arr4"))}
HINTS = {"": 1, "x": 2, "X": 3, "i": 4, "mac": 5, "MAC": 6, "p": 7}


def field(tag: int, value: bytes, *, order: str = "<") -> bytes:
    return struct.pack(f"{order}BH", tag, len(value)) + value


def record(
    *arguments: tuple[str, bytes], level: int = 3, order: str = "<", first: int = 0, tags: dict[str, int] = TAGS
) -> bytes:
    values = (b"target", bytes([level]), b"module", b"a.rs", struct.pack(f"{order}I", 7))
    header = b"".join(field(first + tag, value, order=order) for tag, value in enumerate(values))
    header += field(first + 5, struct.pack(f"{order}Q" if first else f"{order}I", len(arguments)), order=order)
    body = header + b"".join(field(tags[kind], value, order=order) for kind, value in arguments)
    if first:
        return body
    whole = struct.pack(f"{order}H", len(body) + 2) + body
    return whole.ljust(max(64, 1 << (len(whole) - 1).bit_length()), b"\0")


def shown(kind: str, value: bytes, *, hint: str = "", order: str = "<") -> tuple[str, object]:
    raw = record(("hint", bytes([HINTS[hint]])), (kind, value), order=order)
    found = parse_aya_record(raw, byteorder="little" if order == "<" else "big")
    return found["message"], found["args"][0]


def test_a_record_as_a_program_wrote_it() -> None:
    assert parse_aya_record(SEEN) == {
        "level": "info", "target": "ebpf", "module": "ebpf", "file": "src/main.rs", "line": 14,
        "message": "packet of 70 bytes, seen 1", "args": (70, 1),
    }  # fmt: skip
    assert render_aya_record(parse_aya_record(SEEN)) == "[INFO  ebpf] packet of 70 bytes, seen 1 (src/main.rs:14)"


def test_numbers_are_shown_as_their_hints_say() -> None:
    found = parse_aya_record(HEX_AND_IP)
    assert (found["target"], found["file"], found["line"]) == ("xdp_log", "src/bin/xdp_log.rs", 21)
    assert found["message"] == "len 64 proto 800 seen 1 ip 127.0.0.1"
    assert found["args"] == (64, 0x800, 1, "127.0.0.1")


def test_a_record_as_a_program_of_aya_log_ebpf_0_1_wrote_it() -> None:
    raw = bytes.fromhex(
        "0103006c6f6702010003030300 6c6f67040e007372632f62696e2f6c6f672e72730504001000000006080004000000"
        "00000000140a007061636b6574206f662000010001080400460000001406002062797465730000"
    )
    found = parse_aya_record(raw, from_perf=True)
    assert (found["level"], found["line"], found["message"], found["args"]) == ("info", 16, "packet of 70 bytes", (70,))


def test_further_lines_are_indented_as_env_logger_does_it() -> None:
    found = parse_aya_record(record(("str", b"one\ntwo\n")))
    assert found["message"] == "one\ntwo\n"
    assert render_aya_line(found) == "[INFO  target] one\n    two\n    "


def test_padding_is_no_part_of_it() -> None:
    assert parse_aya_record(SEEN.ljust(128, b"\xff")) == parse_aya_record(SEEN)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "code"), list(zip(INTEGERS, "bhiqqBHIQQ", strict=True)))
def test_integers(kind: str, code: str, order: str) -> None:
    number = -5 if code.islower() else 250
    value = struct.pack(order + code, number)
    assert shown(kind, value, order=order) == (str(number), number)
    mask = (1 << 8 * len(value)) - 1
    assert shown(kind, value, hint="x", order=order) == (f"{number & mask:x}", number)
    assert shown(kind, value, hint="X", order=order) == (f"{number & mask:X}", number)


@pytest.mark.parametrize(
    ("kind", "number", "text"),
    [
        ("f32", 0.1, "0.1"),
        ("f32", 16777216.0, "16777216"),
        ("f64", 0.1, "0.1"),
        ("f64", 1.0, "1"),
        ("f64", 1e21, "1000000000000000000000"),
        ("f64", 1e-7, "0.0000001"),
        ("f64", 70368744177664.625, "70368744177664.63"),
        ("f64", -0.0, "-0"),
        ("f64", 5e-324, f"0.{'0' * 323}5"),
        ("f32", -151938.625, "-151938.63"),
        ("f32", 3.4028234663852886e38, f"34028235{'0' * 31}"),
        ("f64", float("inf"), "inf"),
        ("f64", float("-inf"), "-inf"),
        ("f64", float("nan"), "NaN"),
    ],
)
def test_floats_as_rust_shows_them(kind: str, number: float, text: str) -> None:
    assert shown(kind, struct.pack("<f" if kind == "f32" else "<d", number))[0] == text


@pytest.mark.parametrize(
    ("kind", "value", "hint", "text"),
    [
        ("ipv4", bytes([10, 0, 0, 1]), "", "10.0.0.1"),
        ("ipv4", bytes([10, 0, 0, 1]), "i", "10.0.0.1"),
        ("arr4", bytes([10, 0, 0, 1]), "i", "10.0.0.1"),
        ("u32", struct.pack("<I", 0x0A000001), "i", "10.0.0.1"),
        ("ipv6", bytes(15) + b"\1", "", "::1"),
        ("arr16", bytes.fromhex("fe80" + "00" * 13 + "01"), "i", "fe80::1"),
        ("arr16", bytes(10) + b"\xff\xff\1\2\3\4", "i", "::ffff:1.2.3.4"),
        ("arr8x2", struct.pack("<8H", 0xFE80, 0, 0, 0, 0, 0, 0, 1), "i", "fe80::1"),
        ("arr6", bytes.fromhex("0102030aab0c"), "mac", "01:02:03:0a:ab:0c"),
        ("arr6", bytes.fromhex("0102030aab0c"), "MAC", "01:02:03:0A:AB:0C"),
        ("str", b"word", "", "word"),
    ],
)
def test_what_is_text_as_a_value_too(kind: str, value: bytes, hint: str, text: str) -> None:
    assert shown(kind, value, hint=hint) == (text, text)


def test_bytes_and_pointers() -> None:
    assert shown("bytes", b"\xde\xad", hint="x") == ("dead", b"\xde\xad")
    assert shown("bytes", b"\xde\xad", hint="X") == ("DEAD", b"\xde\xad")
    assert shown("pointer", struct.pack("<Q", 0xDEAD), hint="p") == ("0xdead", 0xDEAD)


@pytest.mark.parametrize(("name", "number"), list(LOG_LEVELS.items()))
def test_levels(name: str, number: int) -> None:
    assert parse_aya_record(record(("str", b"x"), level=number))["level"] == name


@pytest.mark.parametrize("tags", [TAGS, OLD_TAGS])
def test_records_of_perf_arrays(tags: dict[str, int]) -> None:
    """aya-log-ebpf 0.1: no length, header from 1; its first versions had no addresses, so later kinds are others."""
    pieces = ("str", b"at "), ("hint", b"\5"), ("arr6", bytes(6))
    found = parse_aya_record(record(*pieces, first=1, tags=tags), from_perf=True)
    assert found["message"] == "at 00:00:00:00:00:00"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a record of aya-log"),
        (b"\xff\xff" + bytes(62), "says that it has 65535 bytes, and has 64"),
        (record(("u32", b"\0")), "argument of kind u32 has 1 bytes"),
        (record(("str", b"x"), level=9), "field 8 is none"),
        (record(("hint", b"\x09"), ("u8", b"\0")), "field 9 is none"),
        (record(("hint", b"\2"), ("f32", bytes(4))), "kind f32 has no form 'x'"),
        (record(("hint", b"\7"), ("ipv4", bytes(4))), "kind ipv4 has no form 'pointer'"),
        (SEEN[:1] + b"\0" + SEEN[2:40], "not a record of aya-log"),
        (b"\x08\0" + field(0, b"abc") + bytes(8), "ends after 1 of 6 fields"),
        (b"\x0a\0" + field(0, b"a") + field(0, b"b"), "target is in it twice"),
    ],
)
def test_what_is_no_record(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_aya_record(data)
