"""Types made to hurt: few bytes that stand for a lot. Each question is answered soon, by a value or an ObjectError."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.codec import decode, describe, encode
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import BtfType
from pytest_ebpf.errors import ObjectError
from support.fuzz_cases import time_limit, walk
from support.plan_facts import types

INT = t.Int("int", 4, 32, signed=True)
LEVELS = 30


def tower(make: Callable[[int, int], list[BtfType]], *, levels: int = LEVELS) -> Btf:
    """An int, and ``levels`` times what ``make`` puts on the type below; the last type is the top."""
    found: list[BtfType] = [INT]
    for level in range(levels):
        found += make(len(found), level)
    return types(*found)


def pair(below: int, level: int) -> list[BtfType]:
    return [t.Struct(f"u{level}", 4, (t.Member("a", below, 0), t.Member("b", below, 0)), is_union=True)]


def anonymous_pair(below: int, level: int) -> list[BtfType]:
    return [t.Struct("", 4, (t.Member("", below, 0), t.Member("", below, 0)), is_union=True)]


def empty_pair(below: int, level: int) -> list[BtfType]:
    """As ``pair``, of structs that take no bytes."""
    members = (t.Member("a", below, 0), t.Member("b", below, 0)) if level else ()
    return [t.Struct(f"e{level}", 0, members)]


def signature(below: int, level: int) -> list[BtfType]:
    params = tuple(t.Param(f"p{at}", below) for at in range(40))
    return [t.FuncProto(1, params), t.Ptr(below + 1)]


def short_arrays(below: int, level: int) -> list[BtfType]:
    """2 ** 30 elements of no bytes."""
    return [t.Array(below, 1, 2)] if level else [t.Struct("none", 0, ())]


@pytest.mark.parametrize("make", [pair, anonymous_pair, empty_pair, short_arrays])
def test_values_with_too_many_parts(make: Callable[[int, int], list[BtfType]]) -> None:
    btf = tower(make)
    top = len(btf) - 1
    with time_limit(), suppress(ObjectError):
        decode(btf, top, data=bytes(4))
    with time_limit(), suppress(ObjectError):
        assert len(encode(btf, top, value={} if make is not short_arrays else [])) == btf.size(top)


def test_types_shared_by_many_are_read_as_ever() -> None:
    """What bounds the hostile must not bound this: a union of some hundred structs, as the kernel's bpf_attr is."""
    inner = t.Struct("s", 8, tuple(t.Member(f"m{at}", 1, 32 * at) for at in range(2)))
    btf = types(INT, inner, t.Struct("u", 8, tuple(t.Member(f"v{at}", 2, 0) for at in range(300)), is_union=True))
    value = decode(btf, 3, data=bytes((7, 0, 0, 0, 9, 0, 0, 0)))
    assert len(value) == 300
    assert value["v299"] == {"m0": 7, "m1": 9}
    assert encode(btf, 3, value=value) == bytes((7, 0, 0, 0, 9, 0, 0, 0))


@pytest.mark.parametrize("offset", [0, 3, 31, 200])
@pytest.mark.parametrize("bits", [0, 1, 255])
def test_numbers_of_odd_bits(bits: int, offset: int) -> None:
    """Found by benchmarks/fuzz.py: a signed number of no bits, away from the start."""
    btf = types(t.Int("int", 4, bits, signed=True, offset=offset))
    assert decode(btf, 1, data=bytes(4)) == 0
    assert encode(btf, 1, value=0) == bytes(4)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_two_fields_of_one_name(order: tuple[int, int]) -> None:
    """Found by benchmarks/fuzz.py: a number and a text."""
    members = (t.Member("a", order[0], 0), t.Member("b", 1, 32), t.Member("a", order[1], 64))
    btf = types(INT, t.Array(3, 1, 4), t.Int("char", 1, 8), t.Struct("s", 12, members))
    value = decode(btf, 4, data=b"abcd\1\0\0\0wxyz")
    assert value == {"a": "abcd" if order[0] == 2 else int.from_bytes(b"abcd", "little"), "b": 1}
    assert encode(btf, 4, value=value) == b"abcd\1\0\0\0\0\0\0\0"


def test_names_of_signatures_within_signatures() -> None:
    btf = tower(signature)
    with time_limit():
        name = describe(btf, len(btf) - 1)
    assert len(name) < 100_000
    assert "…" in name


def test_a_signature_of_a_million() -> None:
    btf = types(INT, t.FuncProto(1, (t.Param("a", 1),) * 65_535), t.Ptr(2))
    with time_limit():
        assert len(describe(btf, 3)) < 1000


@pytest.mark.parametrize("make", [pair, anonymous_pair, empty_pair, signature, short_arrays])
def test_every_question_of_every_type(make: Callable[[int, int], list[BtfType]]) -> None:
    with time_limit():
        walk(tower(make))


@pytest.mark.parametrize(
    "loop",
    [
        [t.Typedef("a", 2), t.Typedef("b", 1)],
        [t.Modifier(t.Kind.CONST, 1)],
        [t.Array(1, 1, 2)],
        [t.Var("v", 1)],
        [t.Struct("s", 8, (t.Member("s", 1, 0),))],
        [t.Struct("s", 8, (t.Member("", 1, 0),))],
        [t.Struct("s", 8, (t.Member("a", 2, 0),)), t.Array(1, 1, 1)],
        [t.FuncProto(1, (t.Param("a", 1),))],
        [t.Func("f", 1)],
        [t.DeclTag("d", 1)],
        [t.DataSec("d", 8, (t.SecVar(1, 0, 8),))],
    ],
    ids=lambda loop: type(loop[0]).__name__,
)
def test_loops(loop: list[BtfType]) -> None:
    with time_limit():
        walk(types(*loop))
    with pytest.raises(ObjectError):
        decode(types(*loop), 1, data=bytes(64))
