"""Frozen dataclasses of our own: what holds for the standard module's holds for them."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import pprint
import sys
import types
import typing
from typing import Any, ClassVar

import pytest

from pytest_ebpf import frozen
from pytest_ebpf.frozen import asdict, dataclass, field, replace

SOURCE = """
from __future__ import annotations
from dataclasses import dataclass, field

@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2
    tags: tuple[str, ...] = field(default_factory=tuple)
    note: str = field(default="", compare=False)

    @property
    def sum(self) -> int:
        return self.x + self.y
"""


@pytest.fixture(params=[dataclasses, frozen], ids=["standard", "frozen"])
def points(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The class of SOURCE and the dataclasses module that made it. What holds for one has to hold for the other."""
    monkeypatch.setitem(sys.modules, "dataclasses", request.param)
    module = types.ModuleType("points")
    monkeypatch.setitem(sys.modules, "points", module)
    exec(SOURCE, vars(module))
    return vars(module)["Point"], request.param


def test_values_are_made_by_place_and_name(points: tuple[Any, Any]) -> None:
    point, _ = points
    value = point(1, tags=("a",))
    assert (value.x, value.y, value.tags, value.note, value.sum) == (1, 2, ("a",), "", 3)
    assert repr(value) == "Point(x=1, y=2, tags=('a',), note='')"


@pytest.mark.parametrize("args", [((), {}), ((1, 2, (), "", 5), {}), ((1,), {"x": 2}), ((1,), {"z": 2})])
def test_wrong_fields_are_type_errors(points: tuple[Any, Any], args: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    with pytest.raises(TypeError):
        points[0](*args[0], **args[1])


def test_values_are_frozen_and_slotted(points: tuple[Any, Any]) -> None:
    value = points[0](1)
    with pytest.raises(AttributeError):
        value.x = 2
    with pytest.raises(AttributeError):
        del value.x
    assert not hasattr(value, "__dict__")


def test_values_compare_and_hash_by_the_fields_that_count(points: tuple[Any, Any]) -> None:
    point, _ = points
    assert point(1, note="a") == point(1, note="b")
    assert hash(point(1, note="a")) == hash(point(1, note="b"))
    assert point(1) != point(2)
    assert point(1) != (1, 2)


def test_fields_and_replace_and_match(points: tuple[Any, Any]) -> None:
    point, module = points
    assert [(f.name, f.type) for f in module.fields(point)][:2] == [("x", "int"), ("y", "int")]
    assert module.fields(point)[0].default is module.MISSING
    assert module.fields(point(1))[1].default == 2
    assert module.is_dataclass(point)
    assert not module.is_dataclass(int)
    assert module.replace(point(1), y=5) == point(1, 5)
    match point(1, 2):
        case point(x, y):
            assert (x, y) == (1, 2)


@dataclass(frozen=True, slots=True)
class Place:
    """A value like those of the package."""

    kind: ClassVar[str] = "place"
    name: str
    at: tuple[int, int] = (0, 0)
    notes: dict[str, Any] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list, init=False, repr=False, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Standard:
    """The same, by the standard module."""

    kind: ClassVar[str] = "place"
    name: str
    at: tuple[int, int] = (0, 0)
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    seen: list[int] = dataclasses.field(default_factory=list, init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Checked:
    """Looks at its fields when it is made."""

    number: int
    double: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.number)


@dataclass(frozen=True, slots=True, eq=False)
class Same:
    """Equal to itself alone."""

    number: int


def test_the_standard_module_takes_our_values() -> None:
    value = Place("a", notes={"b": Place("c")})
    assert [one.name for one in dataclasses.fields(value)] == [one.name for one in dataclasses.fields(Standard)]
    assert [one.init for one in dataclasses.fields(Place)] == [one.init for one in dataclasses.fields(Standard)]
    assert dataclasses.is_dataclass(value)
    assert dataclasses.replace(value, at=(1, 2)) == replace(value, at=(1, 2)) == Place("a", (1, 2), {"b": Place("c")})
    assert dataclasses.asdict(value) == asdict(value)
    assert asdict(value)["notes"]["b"]["name"] == "c"
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.name = "z"  # type: ignore[misc]


def test_our_functions_take_values_of_the_standard_module() -> None:
    value = Standard("a")
    assert frozen.fields(value) == dataclasses.fields(value)
    assert replace(value, name="b").name == "b"
    assert frozen.is_dataclass(Standard)
    assert asdict(value) == dataclasses.asdict(value)


def test_signatures_are_those_of_the_standard_module() -> None:
    assert str(inspect.signature(Place)) == str(inspect.signature(Standard))
    assert Place.__match_args__ == Standard.__match_args__
    assert Place.__slots__ == Standard.__slots__
    assert Place.__init__.__qualname__ == "Place.__init__"
    assert typing.get_type_hints(Place.__init__) == typing.get_type_hints(Standard.__init__)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_values_can_be_copied_and_pickled(again: Any) -> None:
    value = Place("a", (1, 2), {"b": 3})
    made = again(value)
    assert made == value
    assert type(made) is Place
    assert made.seen == []


def test_defaults_that_are_made_are_not_shared() -> None:
    assert Place("a").notes is not Place("b").notes
    assert Place("a").seen is not Place("b").seen


def test_a_value_may_look_at_its_fields_when_it_is_made() -> None:
    assert type(Place("a")) is Place
    assert Checked(4).double == 8
    with pytest.raises(TypeError):
        replace(Checked(4), double=3)


def test_values_that_are_compared_by_identity() -> None:
    assert Same(1) != Same(1)
    assert len({Same(1), Same(1)}) == 2


def test_values_print_and_hash_like_those_of_the_standard_module() -> None:
    assert repr(Place("a")) == repr(Standard("a")).replace("Standard", "Place")
    with pytest.raises(TypeError, match="unhashable type: 'dict'"):
        hash(Place("a"))


def test_long_values_are_printed_field_by_field() -> None:
    ours, theirs = (kind("a" * 40, notes={"b" * 40: "c" * 40, "d": 1}) for kind in (Place, Standard))
    printed = pprint.pformat(ours, width=60)
    assert printed.replace("Place(", "Standard(").split() == pprint.pformat(theirs, width=60).split()
    assert len(printed.splitlines()) > 3
    assert pprint.pformat([ours, Same(3)], width=60).count("\n") > 3
    assert inspect.unwrap(Place.__repr__) is not None


def test_a_module_that_was_forgotten_still_makes_values() -> None:
    """pytester takes what an inner run imported out of sys.modules."""
    module = types.ModuleType("forgotten")
    source = "from pytest_ebpf.frozen import dataclass\n@dataclass(frozen=True, slots=True)\nclass Point:\n    x: int\n"
    sys.modules["forgotten"] = module
    try:
        exec(source, vars(module))
    finally:
        del sys.modules["forgotten"]
    assert module.Point(3).x == 3
