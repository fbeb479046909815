"""Frames: what goes in comes out, in any portions, and nothing odd gets through."""

from __future__ import annotations

import json
import struct
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import pytest

from pytest_ebpf.agent import ops
from pytest_ebpf.agent.protocol.wire import MAX_BLOBS, MAX_HEAD, Codec, Decoder, Hello, Reply, Request, WireError

CODEC = Codec()


def decode(frame: bytes) -> Any:
    (message,) = Decoder(CODEC).feed(frame)
    return message


def same(one: Any, other: Any) -> bool:
    """Equal with the fields that comparison leaves out (a handle's kind and name)."""
    return repr(one) == repr(other)


def test_a_truncated_frame_is_waited_for() -> None:
    frame = CODEC.encode(Hello("boot", "3.11", 1))
    for length in range(len(frame)):
        decoder = Decoder(CODEC)
        assert decoder.feed(frame[:length]) == []
        assert 1 <= decoder.missing <= len(frame) - length


def raw(head: object, blobs: bytes = b"") -> bytes:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("<II", len(text), len(blobs)) + text + blobs


@pytest.mark.parametrize(
    "frame",
    [
        raw(b"{"),
        raw(b"\xff\xfe"),
        raw({}),
        raw([]),
        raw(None),
        raw(["Close", 1]),
        raw(["Nonsense", 1]),
        raw(["Hello"]),
        raw(["Hello", "b", "3.11", 1, 2]),
        raw(["Hello", "b", "3.11", "1"]),
        raw(["Hello", "b", "3.11", True]),
        raw(b'["Hello","b","3.11",NaN]'),
        raw(["Request", 1, [["Done"]]]),
        raw(["Request", 1, [["Try", ["Try"]]]]),
        raw(["Request", 1, [[]]]),
        raw(["Request", 1, [[["MapGet"], 1]]]),
        raw(["Request", 1, [["ReadFile", {"path": "x"}]]]),
        raw(["Request", 1, [["MapGet", ["Ref", 0], [0, 5]]]], b"1234"),
        raw(["Request", 1, [["MapGet", ["Ref", 0], [-1, 2]]]], b"1234"),
        raw(["Request", 1, [["MapGet", ["Ref", 0], [2, -1]]]], b"1234"),
        raw(["Request", 1, [["MapGet", ["Ref", 0], [0.0, 2]]]], b"1234"),
        raw(["Request", 1, [["MapGet", ["Ref", 0], [True, 2]]]], b"1234"),
        raw(["Request", 1, [["MapGet", ["Close", 0], [0, 2]]]], b"1234"),
        raw(["Request", 1, [["ProgRunMany", ["Ref", 0], [0, [3, 2]]]]], b"1234"),
        raw(["Request", 1, [["ProgRunMany", ["Ref", 0], [0, [3, "2"]]]]], b"1234"),
        raw(["Request", 1, [["ProgRunMany", ["Ref", 0], [-4, [3]]]]], b"1234"),
        raw(["Request", 1, [["ProgRunMany", ["Ref", 0], [0, {"i64": [0, 16]}]]]], b"12345678"),
        raw(["Request", 1, [["ProgRunMany", ["Ref", 0], [0, {"i64": [0, 7]}]]]], b"12345678"),
        raw(["Request", 1, [["ProgRunMany", ["Ref", 0], [0, {"i32": [0, 8]}]]]], b"12345678"),
        raw(["Request", 1, [["ProgRunMany", ["Ref", 0], {"i64": [0, 8]}]]], b"12345678"),
        raw(["Request", 1, [["ProgRunMany", ["Ref", 0], [0, {"i64": [0, 8]}]]]], b"\xff" * 8),
        raw(["Request", 1, [["Spawn", ["a"], [0, 0], 1.0, [["only one"]]]]]),
        raw(["Request", 1, [], ["Ref", 0]]),
        raw(b"[" * 100_000),
        raw(b'["Request",1,' + b'[["Try",' * 20_000),
        struct.pack("<II", MAX_HEAD + 1, 0),
        struct.pack("<II", 2, MAX_BLOBS + 1),
        b"HTTP/1.1 400 Bad Request\r\n",
        b"[    0.000000] Linux version 6.1.0",
    ],
)
def test_what_is_no_message_is_refused(frame: bytes) -> None:
    with pytest.raises(WireError):
        Decoder(CODEC).feed(frame)


def test_many_pieces_of_bytes_are_one_blob() -> None:
    packets = tuple(bytes([i]) * 60 for i in range(200))
    frame = CODEC.encode(Request(1, (ops.ProgRunMany(ops.Ref(0), packets),)))
    head, blobs = struct.unpack_from("<II", frame)
    assert blobs == 60 * 200 + 8 * 200  # and their lengths
    assert head < 5 * 200
    assert same(decode(frame), Request(1, (ops.ProgRunMany(ops.Ref(0), packets),)))


def test_15_an_agent_gets_packets_as_they_came() -> None:
    packets = tuple(bytes([number]) * number for number in range(40))
    message = decode(CODEC.encode(Request(1, (ops.ProgRunMany(ops.Ref(0), packets),))))
    packed = message.ops[0].data
    assert isinstance(packed, ops.Packed)
    assert (packed.data, list(packed.lengths)) == (b"".join(packets), list(range(40)))
    assert packed == packets
    assert packets == packed
    assert packed != packets[1:]
    assert packed != list(packets)
    assert hash(packed) == hash(packets)
    assert len(packed) == len(packets)


def test_15_many_integers_are_one_blob() -> None:
    """Not those of more than 63 bits, which stay in the head."""
    many, large = tuple(range(-500, 500)), (*range(20), 1 << 64)
    for retvals, size in ((many, 3 * 8000), (large, 2 * 8 * 21)):
        data, durations = (b"",) * len(retvals), tuple(range(len(retvals)))
        reply = Reply(1, (ops.RanMany(retvals, data, durations),))
        frame = CODEC.encode(reply)
        assert struct.unpack_from("<II", frame)[1] == size
        assert same(decode(frame), reply)


def test_defaults_at_the_end_cost_nothing() -> None:
    frame = CODEC.encode(Request(1, (ops.ProgRun(ops.Ref(0)),)))
    assert frame[8:] == b'["Request",1,[["ProgRun",["Ref",0]]]]'


def test_every_field_has_a_type_that_the_wire_knows() -> None:
    for name in ops.__all__:
        cls = getattr(ops, name)
        if isinstance(cls, type) and is_dataclass(cls):
            for field in fields(cls):
                assert CODEC.readers(str(field.type)), f"{name}.{field.name}"
                assert field.default is not MISSING or field.default_factory is MISSING, f"{name}.{field.name}"
