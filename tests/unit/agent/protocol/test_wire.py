"""Frames: what goes in comes out, in any portions, and nothing odd gets through."""

from __future__ import annotations

import json
import struct
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pytest_ebpf.agent import ops
from pytest_ebpf.agent.protocol.wire import MAX_BLOBS, MAX_HEAD, Codec, Decoder, Hello, Reply, Request, WireError

CODEC = Codec()
INTS = st.integers(-(2**63), 2**64 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
BYTES = st.binary(max_size=40)
HANDLES = st.builds(ops.Handle, INTS, TEXTS, TEXTS, TEXTS)
OBJS = HANDLES | st.builds(ops.Ref, INTS)
ATOMS: dict[str, st.SearchStrategy[Any]] = {
    "int": INTS,
    "str": TEXTS,
    "bool": st.booleans(),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bytes": BYTES,
    "None": st.none(),
    "Obj": OBJS,
    "Handle": HANDLES,
}


def of_annotation(annotation: str) -> st.SearchStrategy[Any]:
    """Values of a field declared so."""
    if annotation.startswith("tuple[tuple"):
        return st.none() | st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple)
    if annotation.startswith("tuple["):
        inner = annotation.removeprefix("tuple[").removesuffix(", ...]")
        return st.lists(of_annotation(inner), max_size=3).map(tuple)
    if annotation == "Op":
        return st.deferred(lambda: ANY_OP)
    strategies = [ATOMS[a] if a in ATOMS else of_class(getattr(ops, a)) for a in annotation.split(" | ")]
    return st.one_of(strategies)


def of_class(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Values of a dataclass, defaults included."""
    if cls is ops.Try:
        return st.deferred(lambda: ANY_OP).map(ops.Try)
    return st.builds(cls, **{f.name: of_annotation(str(f.type)) for f in fields(cls)})


OPS = [cls for cls in get_args(ops.Op) if cls is not ops.Try]
RESULTS = list(get_args(ops.Result))
ANY_OP = st.one_of([of_class(cls) for cls in OPS])
ANY_RESULT = st.one_of([of_class(cls) for cls in RESULTS])
MESSAGES = st.one_of(
    st.builds(Request, INTS, st.lists(ANY_OP | ANY_OP.map(ops.Try), max_size=4).map(tuple), st.none() | HANDLES),
    st.builds(Reply, INTS, st.lists(ANY_RESULT, max_size=4).map(tuple), TEXTS),
    st.builds(Hello, TEXTS, TEXTS, INTS),
)


def decode(frame: bytes) -> Any:
    (message,) = Decoder(CODEC).feed(frame)
    return message


def same(one: Any, other: Any) -> bool:
    """Equal with the fields that comparison leaves out (a handle's kind and name)."""
    return repr(one) == repr(other)


@pytest.mark.slow
@pytest.mark.parametrize("cls", [*OPS, *RESULTS], ids=lambda cls: cls.__name__)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_every_value_survives_the_trip(cls: type[Any], data: st.DataObject) -> None:
    value = data.draw(of_class(cls))
    message = Request(1, (value,)) if cls in OPS else Reply(1, (value,))
    assert same(decode(CODEC.encode(message)), message)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages=st.lists(MESSAGES, min_size=1, max_size=3), data=st.data())
def test_frames_may_come_in_any_portions(messages: list[Any], data: st.DataObject) -> None:
    stream = b"".join(map(CODEC.encode, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    decoder = Decoder(CODEC)
    received = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += decoder.feed(stream[start:end])
    assert same(received, messages)
    assert decoder.missing == 8


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(message=MESSAGES, data=st.data())
def test_damaged_frames_are_refused_or_another_message(message: Any, data: st.DataObject) -> None:
    """Never another exception, never a hang."""
    frame = bytearray(CODEC.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    decoder = Decoder(CODEC)
    try:
        received = decoder.feed(bytes(frame))
    except WireError:
        return
    assert all(isinstance(item, Hello | Request | Reply) for item in received)


@given(noise=st.binary(min_size=8, max_size=200))
def test_noise_is_no_message(noise: bytes) -> None:
    decoder = Decoder(CODEC)
    try:
        assert decoder.feed(noise) == []
    except WireError:
        return
    assert decoder.missing > 0


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


@pytest.mark.slow
def test_values_without_a_place_in_a_frame_are_refused() -> None:
    with pytest.raises(WireError, match="cannot send this Request"):
        CODEC.encode(Request(1, (ops.ReadFile(object()),)))  # type: ignore[arg-type]
    nested: Any = ops.Describe()
    for _ in range(100_000):
        nested = ops.Try(nested)
    with pytest.raises(WireError):
        CODEC.encode(Request(1, (nested,)))


def test_many_pieces_of_bytes_are_one_blob() -> None:
    packets = tuple(bytes([i]) * 60 for i in range(200))
    frame = CODEC.encode(Request(1, (ops.ProgRunMany(ops.Ref(0), packets),)))
    head, blobs = struct.unpack_from("<II", frame)
    assert blobs == 60 * 200 + 8 * 200  # and their lengths
    assert head < 5 * 200
    assert same(decode(frame), Request(1, (ops.ProgRunMany(ops.Ref(0), packets),)))


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
