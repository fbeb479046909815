"""When two types are the same for CO-RE. The pairs are in one BTF: that they are of two makes no difference."""

from __future__ import annotations

import pytest

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.types import BtfType, Kind
from pytest_ebpf.plan.core_match import compatible_fields, compatible_types, matching_types
from support.plan_facts import types

INT = t.Int("int", 4, 32, signed=True)
LONG = t.Int("long unsigned int", 8, 64)
S = t.Struct("s", 4, (t.Member("a", 1, 0),))
EMPTY_S = t.Struct("s", 0, ())


def asks(*values: BtfType) -> tuple[bool, bool, bool]:
    """(fields, types, matching) for the last two of ``values``."""
    btf = types(INT, *values)
    ours, theirs = (btf, len(btf) - 2), (btf, len(btf) - 1)
    return compatible_fields(ours, theirs), compatible_types(ours, theirs), matching_types(ours, theirs)


CASES = {
    "the same integer": ((INT, INT), (True, True, True)),
    "an integer of another size and sign": ((INT, LONG), (True, True, False)),
    "an integer of old that starts in the middle": ((t.Int("int", 4, 8, offset=4), INT), (False, False, False)),
    "an integer and a struct": ((INT, S), (False, False, False)),
    "structs of other names": ((S, t.Struct("z", 4, (t.Member("a", 1, 0),))), (True, True, False)),
    "flavours of a struct": ((S, t.Struct("s___old", 4, (t.Member("a", 1, 0),))), (True, True, True)),
    "a struct with fewer members": ((EMPTY_S, S), (True, True, True)),
    "a struct with more members": ((S, EMPTY_S), (True, True, False)),
    "a member of another name": ((S, t.Struct("s", 4, (t.Member("b", 1, 0),))), (True, True, False)),
    "struct and union": ((S, t.Struct("s", 4, (t.Member("a", 1, 0),), is_union=True)), (True, False, False)),
    "declarations": ((t.Fwd("f"), t.Fwd("f")), (True, True, True)),
    "declarations of other names": ((t.Fwd("f"), t.Fwd("g")), (False, True, False)),
    "declaration of a union": ((t.Fwd("f"), t.Fwd("f", is_union=True)), (True, True, False)),
    "a declaration and its definition": ((t.Fwd("s"), S), (False, False, True)),
    "enums": ((t.Enum("e", 4, (("A", 1),)), t.Enum("e", 4, (("B", 2), ("A", 9)))), (True, True, True)),
    "enums of other names": ((t.Enum("e", 4, ()), t.Enum("f", 4, ())), (False, True, False)),
    "an anonymous enum": ((t.Enum("", 4, ()), t.Enum("f", 4, ())), (True, True, False)),
    "enum and enum64": ((t.Enum("e", 4, ()), t.Enum("e", 8, (), is_64=True)), (True, True, False)),
    "an enumerator is gone": ((t.Enum("e", 4, (("A", 1),)), t.Enum("e", 4, (("B", 1),))), (True, True, False)),
    "pointers to other things": ((t.Ptr(1), t.Ptr(0)), (True, False, False)),
    "arrays of other lengths": ((t.Array(1, 1, 3), t.Array(1, 1, 4)), (True, True, False)),
    "floats": ((t.Float("f", 4), t.Float("f", 8)), (True, False, False)),
    "functions": ((t.FuncProto(1, (t.Param("a", 1),)), t.FuncProto(1, (t.Param("b", 1),))), (False, True, True)),
    "functions of other arity": ((t.FuncProto(1), t.FuncProto(1, (t.Param("b", 1),))), (False, False, False)),
    "typedef of the same": ((INT, t.Typedef("u", 1)), (True, True, True)),
    "const of the same": ((INT, t.Modifier(Kind.CONST, 1)), (True, True, True)),
}


@pytest.mark.parametrize(("values", "expected"), CASES.values(), ids=CASES)
def test_pairs(values: tuple[BtfType, ...], expected: tuple[bool, bool, bool]) -> None:
    assert asks(*values) == expected


def test_behind_a_pointer_a_struct_is_its_name() -> None:
    btf = types(INT, S, EMPTY_S, t.Fwd("s"), t.Fwd("s", is_union=True), t.Ptr(2), t.Ptr(3), t.Ptr(4), t.Ptr(5))
    assert not matching_types((btf, 2), (btf, 3))
    assert matching_types((btf, 6), (btf, 7))
    assert matching_types((btf, 6), (btf, 8))
    assert not matching_types((btf, 6), (btf, 9))


def test_void_is_void() -> None:
    btf = types(t.Ptr(0), t.Ptr(0))
    assert compatible_types((btf, 1), (btf, 2))
    assert matching_types((btf, 1), (btf, 2))


def test_a_type_that_points_at_itself_ends() -> None:
    btf = types(t.Struct("node", 8, (t.Member("next", 2, 0),)), t.Ptr(1))
    assert matching_types((btf, 1), (btf, 1))
    assert compatible_types((btf, 2), (btf, 2))
