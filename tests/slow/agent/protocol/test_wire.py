"""Frames of random messages: what goes in comes out, in any portions, and nothing odd gets through."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pytest_ebpf.agent import ops
from pytest_ebpf.agent.protocol.wire import Codec, Decoder, Hello, Reply, Request, WireError

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
    "Pieces": st.lists(BYTES, max_size=3).map(tuple),
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


@pytest.mark.parametrize("cls", [*OPS, *RESULTS], ids=lambda cls: cls.__name__)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_every_value_survives_the_trip(cls: type[Any], data: st.DataObject) -> None:
    value = data.draw(of_class(cls))
    message = Request(1, (value,)) if cls in OPS else Reply(1, (value,))
    assert same(decode(CODEC.encode(message)), message)


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


def test_values_without_a_place_in_a_frame_are_refused() -> None:
    with pytest.raises(WireError, match="cannot send this Request"):
        CODEC.encode(Request(1, (ops.ReadFile(object()),)))  # type: ignore[arg-type]
    nested: Any = ops.Describe()
    for _ in range(100_000):
        nested = ops.Try(nested)
    with pytest.raises(WireError):
        CODEC.encode(Request(1, (nested,)))
